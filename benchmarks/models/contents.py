"""The files of a model folder that a run reads, and the hash that identifies them.

    hash_of(folder, sha256_of_its_weights)

A folder may hold other files: a README, notes, most parts of a sentence encoder. They are not hashed, so that adding
one changes no run's id. A run reads a private copy of exactly these files (`benchmarks/runs/inputs.py`), so that
nothing that is not hashed can be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from benchmarks.models.source import WEIGHTS
from benchmarks.tasks.pooling import MEAN, pooling_of, unusual_part
from results.format import layout
from results.format.untrusted import file_digest

# The names that transformers' config and tokenizer classes ask for.
TEXTS = (
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "bpe.codes", "dict.txt", "tokenizer.model", "spiece.model", "spm.model",
    "sentencepiece.model", "sentencepiece.bpe.model", "emoji.json", "entity_vocab.json",
)  # fmt: skip


def names(folder: Path) -> list[str]:
    """The files that are read, in a fixed order."""
    return [name for name in (WEIGHTS, *sorted(TEXTS)) if (folder / name).is_file()] + own_files(folder)


def own_files(folder: Path) -> list[str]:
    """The files that a run reads beside the model's: that of the pooling, unless it is the mean, and the list of parts,
    where it is not a usual one."""
    return ([] if pooling_of(folder) == MEAN else [layout.POOLING]) + ([layout.MODULES] if unusual_part(folder) else [])


def hash_of(folder: Path, weights: str) -> str:
    """One sha256 over the files of a folder whose weights have the sha256 `weights`."""
    return whole({WEIGHTS: weights} | {name: file_digest(folder / name) for name in names(folder) if name != WEIGHTS})


def whole(digests: Mapping[str, str]) -> str:
    """The same from the sha256 of each file by name, in hexadecimal digits and in the order of `names`."""
    found = hashlib.sha256(digests[WEIGHTS].encode())
    for name, digest in digests.items():
        if name != WEIGHTS:
            found.update(name.encode() + bytes.fromhex(digest))
    return found.hexdigest()
