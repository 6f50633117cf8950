"""Model folders of other forms, in the form that runs read: one file of weights, and a tokenizer that can pad.

    folder = merged(Path("my-encoder"), "encoder mine")     # the folder itself, where it has model.safetensors

The other form is made once per machine, in the cache. Its hash is that of its content, so every shard decides a run's
id.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.models import contents
from benchmarks.models.safety import CONFIG, TOKENIZER_CONFIG, check_shards, read_json
from benchmarks.models.source import WEIGHTS
from results.format.untrusted import file_digest, text

INDEX = f"{WEIGHTS}.index.json"


def merged(folder: Path, place: str) -> Path:
    """A folder whose weights are one file. Raises `SuiteError` for shards that are missing or not readable."""
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return folder
    shards = check_shards(folder, read_json(folder / INDEX, place), place)
    texts = contents.names(folder)
    digests = {name: file_digest(folder / name) for name in (*sorted(shards), *texts)}

    def make(target: Path) -> None:
        _copy(folder, texts, target)
        weights: dict[str, Any] = {}
        for shard, names in shards.items():
            try:
                found = load_file(folder / shard)
                weights |= {name: found[name] for name in names}
            except (SafetensorError, KeyError) as error:
                why = text(error, 120)
                raise SuiteError(f"{place}: {folder / shard} lacks weights that {INDEX} promises ({why})") from None
        save_file(weights, target / WEIGHTS, {"format": "pt"})

    return machine_cache.made("merged", [shards, digests, hash_of("benchmarks.models.standard")], make)


def padded(folder: Path, end: Mapping[str, int]) -> Path:
    """The folder with a tokenizer that pads with its end token (`end`: the token and its id), as a GPT-2 needs."""
    ((token, token_id),) = end.items()
    texts = contents.names(folder)
    digests = {name: file_digest(folder / name) for name in texts}

    def make(target: Path) -> None:
        _copy(folder, texts, target)
        for name, changes in ((CONFIG, {"pad_token_id": token_id}), (TOKENIZER_CONFIG, {"pad_token": token})):
            old = read_json(folder / name, str(folder)) if (folder / name).is_file() else {}
            (target / name).write_text(json.dumps(old | changes, indent=1) + "\n", encoding="utf-8")

    return machine_cache.made("padded", [digests, token, token_id, hash_of("benchmarks.models.standard")], make)


def _copy(folder: Path, names: list[str], target: Path) -> None:
    for name in names:
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / name, target / name)
