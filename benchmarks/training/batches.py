"""Tokenised splits, and the batches of the steps.

A split is tokenised once per process and kept flat: the token ids of all examples lie end to end, and `offsets` says
where each example begins. So a split holds no padding, and one indexing takes any examples out of it. The run's data
stream alone decides the members of a batch. Inside a batch the examples are sorted by length, cut into micro-batches
where memory is short, and those into length groups (benchmarks/training/length_groups.py). Members and gradient stay
the same (to rounding); only padding becomes less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from baselines.method import Batch, Output
from benchmarks.tasks.table import Task
from benchmarks.training.length_groups import Layout, LengthGroups, onto
from benchmarks.training.randomness import epoch_order

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Tokens:
    """One tokenised split; example i has the tokens `ids[offsets[i]:offsets[i + 1]]`.

    `ids` (tokens,) int32, `types` (tokens,) uint8, `offsets` (examples + 1,), `labels` and `idx` (examples,)."""

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

    def places(self, rows: torch.Tensor) -> torch.Tensor:
        """The indices into `ids` of the tokens of `rows` (n,), example after example (tokens of these rows,)."""
        lengths = self.lengths[rows]
        # An example's first token has index offset in `ids` and position p in the result; both count up in step inside
        # the example, so that index = position + (offset - p) for each of its tokens.
        starts = self.offsets[rows] - (lengths.cumsum(0) - lengths)
        return torch.repeat_interleave(starts, lengths) + torch.arange(int(lengths.sum()))

    def select(self, rows: torch.Tensor) -> Tokens:
        """Some of the examples, in the order of `rows` (n,)."""
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths[rows].cumsum(0)])
        flat = self.places(rows)
        types = None if self.types is None else self.types[flat]
        return Tokens(self.ids[flat], types, offsets, self.labels[rows], self.idx[rows], self.pad_id)

    def collate(self, rows: torch.Tensor, device: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Inputs padded to the longest of `rows` (n,), and labels, on `device`."""
        # `flat` (n, longest) runs past the end of a shorter example into the next one; `mask` replaces those by padding
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
    """The tokenizer of a random encoder, for dry runs only: one id per word, [CLS] 1, [SEP] 2."""

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


def tokenise_split(tokenizer: Any, task: Task, rows: Any, max_length: int) -> Tokens:
    """Tokenise one split, and cut its examples at `max_length` tokens."""
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
    outputs: dict[Output, torch.Tensor],
    groups: LengthGroups | None = None,
) -> Iterator[tuple[Batch, Layout | None]]:
    """Sort `rows` by length and cut them into `parts` micro-batches of near-equal size. Yields each with the
    predecessor's `outputs` for its examples, and with its layout in length groups (None: padded)."""
    rows = rows[tokens.lengths[rows].argsort(stable=True)]
    for part in rows.tensor_split(min(parts, len(rows))):
        inputs, labels = tokens.collate(part, device)
        layout = groups.layout(tokens.lengths[part], device) if groups else None
        own = {
            output: onto(values[tokens.places(part) if output.tokens == "all" else part], device)
            for output, values in outputs.items()
        }
        yield Batch(inputs, labels, own, None if layout is None else layout.first), layout


def evaluation_batches(tokens: Tokens, device: str) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """(rows, inputs) over a whole split, sorted by length to save padding; the order never depends on a seed."""
    for rows in tokens.lengths.argsort(stable=True).split(EVALUATION_BATCH):
        yield rows, tokens.collate(rows, device)[0]
