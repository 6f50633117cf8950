"""A share of the training set that nobody trains on, to choose checkpoints and trials without looking at dev.

Which rows is decided by their number and the share alone, not by a run's seed: every arm, seed and trial leaves
out the same ones, the predecessor too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from benchmarks.tasks import Task

if TYPE_CHECKING:
    from benchmarks.batches import Tokens


def training_examples(task: Task, share: float) -> int:
    """How many examples of a task are trained on."""
    return task.train_rows - round(share * task.train_rows)


def split_rows(examples: int, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows to train on and rows held out, both ascending."""
    seed = int.from_bytes(hashlib.sha256(f"held out/{examples}".encode()).digest()[:8], "big") >> 1
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    count = round(share * examples)
    return order[count:].sort().values, order[:count].sort().values


def split(tokens: Tokens, share: float) -> tuple[Tokens, Tokens | None]:
    """What is trained on, and what is held out (None at share 0)."""
    if not share:
        return tokens, None
    train, held_out = split_rows(len(tokens), share)
    return tokens.select(train), tokens.select(held_out)
