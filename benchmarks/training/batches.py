"""The batches of the steps.

The run's data stream alone decides the members of a batch. Inside a batch the examples are sorted by length, cut into
micro-batches where memory is short, and those into length groups (benchmarks/training/length_groups.py). Members and
gradient stay the same (to rounding); only padding becomes less.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from baselines.method import Batch, Output, PerExample
from benchmarks.tasks.tokens import Tokens, onto
from benchmarks.training.length_groups import Layout, LengthGroups
from benchmarks.training.randomness import epoch_order

EVALUATION_BATCH = PerExample.at_once


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
    units = tokens.units(rows)
    for part in rows.tensor_split(min(parts, len(rows))):
        inputs, labels = tokens.collate(part, device)
        layout = groups.layout(tokens.lengths[part], device) if groups else None
        own = {output: onto(values[tokens.rows_of(output, part)], device) for output, values in outputs.items()}
        first = None if layout is None else layout.first
        weight, share = tokens.units(part) / units, len(part) / len(rows)
        yield Batch(inputs, labels, own, first, tokens.objective, weight, share), layout


def evaluation_batches(tokens: Tokens, device: str) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """(rows, inputs) over a whole split, sorted by length to save padding; the order never depends on a seed."""
    for rows in tokens.lengths.argsort(stable=True).split(tokens.objective.at_once):
        yield rows, tokens.collate(rows, device)[0]
