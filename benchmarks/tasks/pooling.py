"""How a folder makes one vector of a sentence's tokens: the pooling in a sentence-transformers folder.

A folder without one (a plain transformers model) pools by the mean. Only another pooling counts as a file that a run
reads: one that says what is assumed anyway changes no number, and no run's id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.format.layout import MODULES
from results.format.layout import POOLING as FILE
from results.format.untrusted import load

MEAN = "mean"
OLD = re.compile("pooling_mode_(.*?)(_tokens?)?")  # keys of older sentence-transformers, true or false
PARTS = (("", "Transformer"), ("1_Pooling", "Pooling"))


def pooling_of(folder: Path) -> str:
    """The name of the folder's pooling; names with "+" between them if it joins several vectors."""
    if not (folder / FILE).is_file():
        return MEAN
    settings = load(folder / FILE)
    old = [found[1] for key, on in settings.items() if on is True and (found := OLD.fullmatch(key))]
    named = settings.get("pooling_mode") or old or MEAN
    return "+".join(map(str, named)) if isinstance(named, list) else str(named)


def own_files(folder: Path) -> list[str]:
    """The files that a run reads beside the model's: that of the pooling, unless it is the mean."""
    return [] if pooling_of(folder) == MEAN else [FILE]


def write(folder: Path, pooling: str, width: int) -> None:
    """Make a folder with a saved transformers model one that sentence-transformers reads with this pooling. It takes
    the mean of a folder that says nothing."""
    if pooling == MEAN:
        return
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(PARTS)
    ]
    modes = {"cls_token": "cls", "mean_tokens": MEAN, "lasttoken": "lasttoken"}
    chosen = {f"pooling_mode_{key}": name == pooling for key, name in modes.items()}
    _write(folder / MODULES, modules)
    _write(folder / FILE, {"word_embedding_dimension": width, **chosen})


def _write(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
