"""Tokenised data, cached once for all workers of a results folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.base.code_hash import hash_of
from benchmarks.base.identity import packages
from benchmarks.models.loading import load_tokenizer
from benchmarks.models.source import EncoderSource
from benchmarks.runs.tensor_cache import stored
from benchmarks.tasks.data import Source, load_splits
from benchmarks.training.batches import Tokens, WordHash, tokenise_split
from benchmarks.training.state import Create


@lru_cache(maxsize=8)
def tokenise(encoder: EncoderSource, source: Source, max_length: int, cache: Path | None = None) -> dict[str, Tokens]:
    """Train and dev splits of a task under the encoder's tokenizer, truncated to `max_length` tokens.

    `cache`: a folder that keeps them for all workers.
    """
    if encoder.random or cache is None:
        return {
            split: tokenise_split(tokenizer_of(encoder), source.task, rows, max_length)
            for split, rows in load_splits(source).items()
        }
    key = tokens_key(encoder, source, max_length)
    arrays = stored(cache, "tokens", key, lambda create: _keep(tokenise(encoder, source, max_length), create)).arrays
    splits = sorted({name.rpartition("-")[0] for name in arrays})
    return {split: _kept(split, arrays) for split in splits}


def tokens_key(encoder: EncoderSource, source: Source, max_length: int) -> dict[str, Any]:
    """Everything that a task's tokens depend on."""
    return {
        "encoder": encoder.hash,
        "data": source.fingerprint,
        "columns": source.task.columns,
        "length": max_length,
        "regression": source.task.regression,
        "code": hash_of("benchmarks.training.batches:tokenise_split", "benchmarks.models.loading:load_tokenizer"),
        "packages": packages(("tokenizers", "transformers")),
    }


_ARRAYS = ("ids", "types", "offsets", "labels", "idx")


def _kept(split: str, arrays: dict[str, torch.Tensor]) -> Tokens:
    own: dict[str, Any] = {name: arrays.get(f"{split}-{name}") for name in _ARRAYS}
    return Tokens(**own, pad_id=int(arrays[f"{split}-pad_id"]))


def _keep(splits: dict[str, Tokens], create: Create) -> None:
    for split, tokens in splits.items():
        for name in _ARRAYS:
            values = getattr(tokens, name)
            if values is not None:
                create(f"{split}-{name}", tuple(values.shape), values.dtype).copy_(values)
        create(f"{split}-pad_id", (1,), torch.int64).fill_(tokens.pad_id)


def tokenizer_of(encoder: EncoderSource) -> Any:
    """The encoder's tokenizer; random weights get one that hashes words."""
    return WordHash(dict(encoder.shape)["vocab_size"]) if encoder.random else load_tokenizer(encoder)
