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

from benchmarks.base.errors import SuiteError
from results.format import limits
from results.format.layout import MODULES
from results.format.layout import POOLING as FILE
from results.format.untrusted import load, read_bytes, text

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


def check_parts(folder: Path) -> None:
    """Raises `SuiteError` for a sentence-transformers folder with parts that are not known here, such as a dense layer:
    without them its vectors would be another model's."""
    if odd := unusual_part(folder):
        raise SuiteError(
            f"{folder.name}: {MODULES} lists {odd}, and only a transformer, a pooling in {FILE} and a normalisation "
            "are known: save a model without it"
        )


def unusual_part(folder: Path) -> str:
    """The first part of a folder that is not a usual one; empty if there is none."""
    if not (folder / MODULES).is_file():
        return ""
    try:
        listed = json.loads(read_bytes(folder / MODULES, limits.MODEL_CONFIG))
        named = [(str(part["type"]).rpartition(".")[2], part["path"]) for part in listed]
    except (ValueError, RecursionError, KeyError, TypeError):
        return "what is not a list of parts"
    return next((text(name, 60) for name, path in named if (path, name) not in PARTS and name != "Normalize"), "")


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
