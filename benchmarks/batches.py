"""Tokenised splits, and the batches a step sees.

A split is tokenised once per process and kept flat: token ids end to end with offsets. A batch's members come
from the run's data stream alone. Inside a batch the examples are sorted by length, cut into micro-batches where memory
is short, and those into length groups (benchmarks/groups.py): same members, same gradient (to rounding), less padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.method import Batch
from benchmarks.arrays import Create, stored
from benchmarks.data import Source, load_splits
from benchmarks.encoder import EncoderSource
from benchmarks.groups import Layout, LengthGroups, onto
from benchmarks.identity import hash_of, packages
from benchmarks.loading import load_tokenizer
from benchmarks.streams import epoch_order
from benchmarks.tasks import Task

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Tokens:
    """One tokenised split: flat `ids` (tokens,) int32, `types` (tokens,) uint8, `offsets` (examples + 1,), `labels`,
    `idx` (examples,)."""

    ids: torch.Tensor
    types: torch.Tensor | None
    offsets: torch.Tensor
    labels: torch.Tensor
    idx: torch.Tensor
    pad_id: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> torch.Tensor:
        return self.offsets.diff()

    def select(self, rows: torch.Tensor) -> Tokens:
        """Some of the examples, in the order of `rows` (n,)."""
        lengths = self.lengths[rows]
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        flat = torch.repeat_interleave(self.offsets[rows] - offsets[:-1], lengths) + torch.arange(int(offsets[-1]))
        types = None if self.types is None else self.types[flat]
        return Tokens(self.ids[flat], types, offsets, self.labels[rows], self.idx[rows], self.pad_id)

    def collate(self, rows: torch.Tensor, device: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Inputs padded to the longest of `rows` (n,), and labels, on `device`."""
        lengths = self.lengths[rows]
        position = torch.arange(int(lengths.max()))
        mask = position < lengths[:, None]
        flat = self.offsets[rows][:, None] + position
        flat = flat.clamp(max=len(self.ids) - 1)
        inputs = {"input_ids": self.ids[flat].long().masked_fill(~mask, self.pad_id), "attention_mask": mask.long()}
        if self.types is not None:
            inputs["token_type_ids"] = self.types[flat].long().masked_fill(~mask, 0)
        return {name: onto(tensor, device) for name, tensor in inputs.items()}, onto(self.labels[rows], device)


class WordHash:
    """Stands in for the tokenizer of a random encoder, in dry runs only: one id per word, [CLS] 1, [SEP] 2."""

    pad_token_id = 0

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __call__(self, *texts: list[str], max_length: int, **_: Any) -> dict[str, list[list[int]]]:
        ids, types = [], []
        for parts in zip(*texts, strict=True):
            row, kind = [1], [0]
            for segment, part in enumerate(parts):
                words = [3 + sum(word.encode()) % (self.vocabulary - 3) for word in part.split()] + [2]
                row, kind = row + words, kind + [segment] * len(words)
            ids.append(row[:max_length])
            types.append(kind[:max_length])
        return {"input_ids": ids, "token_type_ids": types}


@lru_cache(maxsize=8)
def tokenise(encoder: EncoderSource, source: Source, max_length: int, cache: Path | None = None) -> dict[str, Tokens]:
    """Train and dev splits of a task under the encoder's tokenizer, truncated to `max_length` tokens.

    `cache`: a folder where they are kept, once for all workers.
    """
    if encoder.random or cache is None:
        return {
            split: tokenise_split(_tokenizer(encoder), source.task, rows, max_length)
            for split, rows in load_splits(source).items()
        }
    key = tokens_key(encoder, source, max_length)
    arrays = stored(cache, "tokens", key, lambda create: _keep(tokenise(encoder, source, max_length), create)).arrays
    splits = sorted({name.rpartition("-")[0] for name in arrays})
    return {split: _kept(split, arrays) for split in splits}


def tokens_key(encoder: EncoderSource, source: Source, max_length: int) -> dict[str, Any]:
    """All that a task's tokens depend on."""
    return {"encoder": encoder.hash, "data": source.fingerprint, "columns": source.task.columns, "length": max_length,
            "regression": source.task.regression, "code": hash_of("benchmarks.batches"),
            "packages": packages(("tokenizers", "transformers"))}  # fmt: skip


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


def _tokenizer(encoder: EncoderSource) -> Any:
    return WordHash(dict(encoder.shape)["vocab_size"]) if encoder.random else load_tokenizer(encoder)


def tokenise_split(tokenizer: Any, task: Task, rows: Any, max_length: int) -> Tokens:
    """One split under a tokenizer, truncated to `max_length` tokens."""
    texts = [rows.data[column].to_pylist() for column in task.columns]
    encoded = tokenizer(*texts, max_length=max_length, truncation=True, padding=False, return_attention_mask=False)
    ids = encoded["input_ids"]
    types = encoded.get("token_type_ids")
    labels = torch.tensor(rows.data["label"].to_pylist(), dtype=torch.float32 if task.regression else torch.int64)
    return Tokens(
        ids=torch.tensor([i for row in ids for i in row], dtype=torch.int32),
        types=None if types is None else torch.tensor([i for row in types for i in row], dtype=torch.uint8),
        offsets=torch.tensor([0, *np.cumsum([len(row) for row in ids])]),
        labels=labels,
        idx=torch.tensor(rows.data["idx"].to_pylist(), dtype=torch.int64),
        pad_id=tokenizer.pad_token_id,
    )


def training_rows(seed: int, examples: int, batch_size: int, steps: int, start: int = 0) -> Iterator[torch.Tensor]:
    """The members of each batch from step `start` on, one (n,) tensor a step; an epoch's last batch may be smaller."""
    per_epoch = -(-examples // batch_size)
    for step in range(start, steps):
        epoch, place = divmod(step, per_epoch)
        if step == start or place == 0:
            batches = epoch_order(seed, epoch, examples).split(batch_size)
        yield batches[place]


def micro_batches(
    tokens: Tokens,
    rows: torch.Tensor,
    parts: int,
    device: str,
    outputs: dict[str, torch.Tensor],
    groups: LengthGroups | None = None,
) -> Iterator[tuple[Batch, Layout | None]]:
    """`rows` as `parts` micro-batches of near-equal size, by length, with the predecessor's `outputs` for them and how
    each lies in length groups (None: padded)."""
    rows = rows[tokens.lengths[rows].argsort(stable=True)]
    for part in rows.tensor_split(min(parts, len(rows))):
        inputs, labels = tokens.collate(part, device)
        layout = groups.layout(tokens.lengths[part], device) if groups else None
        own = {name: onto(tensor[part], device) for name, tensor in outputs.items()}
        yield Batch(inputs, labels, own, None if layout is None else layout.first), layout


def evaluation_batches(tokens: Tokens, device: str) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """(rows, inputs) over a whole split by length, so that little is padding; the order never depends on a seed."""
    for rows in tokens.lengths.argsort(stable=True).split(EVALUATION_BATCH):
        yield rows, tokens.collate(rows, device)[0]
