"""A share of the training set that no run trains on, to choose checkpoints and trials without looking at dev.

The number of examples and the share alone decide the rows, not a run's seed, so every arm, seed and trial, and the
predecessor too, leaves out the same rows.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from benchmarks.tasks.table import Task

if TYPE_CHECKING:
    from benchmarks.tasks.tokens import Tokens


def training_examples(task: Task, share: float) -> int:
    """The number of a task's examples that runs train on."""
    return task.train_rows - round(share * task.train_rows)


def split_rows(examples: int, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows to train on and rows held out, both ascending."""
    seed = int.from_bytes(hashlib.sha256(f"held out/{examples}".encode()).digest()[:8], "big") >> 1
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    count = round(share * examples)
    return order[count:].sort().values, order[:count].sort().values


def split(tokens: Tokens, share: float) -> tuple[Tokens, Tokens | None]:
    """The examples to train on, and those held out (None at share 0)."""
    if not share:
        return tokens, None
    train, held_out = split_rows(len(tokens), share)
    return tokens.select(train), tokens.select(held_out)
