"""Batches as the suites make them, from the shipped length histograms: random words in examples of GLUE's lengths.

A `Split` is tokens end to end with offsets, as in benchmarks/batches.py, whose padding this repeats: that module reads
data and caches with libraries that a GPU machine need not have. What a step costs depends on lengths alone, so words,
labels and predecessor outputs are random.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.gpu_cases import LABELS, Shape
from benchmarks.lengths import Lengths

EXAMPLES = 2048  # of a split: enough for the distribution of a batch's longest, and small in every worker


def layer_operations(shape: Shape, lengths: torch.Tensor) -> float:
    """Operations of one layer's forward pass over examples of these `lengths` (n,), counted on their tokens and not on
    padding: 2 (4 h^2 + 2 h i) + 4 n h per token, as benchmarks/cost.py counts."""
    tokens = lengths.double()
    linear = 2 * (4 * shape.hidden**2 + 2 * shape.hidden * shape.intermediate)
    return float((tokens * (linear + 4 * tokens * shape.hidden)).sum())


@dataclass(frozen=True)
class Split:
    """Flat `ids` (tokens,) int32 and `types` (tokens,) uint8, `offsets` (examples + 1,), `labels` (examples,), and the
    predecessor's `outputs` by name, one row per example; all on the CPU."""

    ids: torch.Tensor
    types: torch.Tensor
    offsets: torch.Tensor
    labels: torch.Tensor
    outputs: dict[str, torch.Tensor]

    @property
    def lengths(self) -> torch.Tensor:
        return self.offsets.diff()

    def collate(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Inputs of `rows` (n,), padded to the longest, on the CPU."""
        lengths = self.lengths[rows]
        position = torch.arange(int(lengths.max()))
        mask = position < lengths[:, None]
        flat = (self.offsets[rows][:, None] + position).clamp(max=len(self.ids) - 1)
        return {
            "input_ids": self.ids[flat].long().masked_fill(~mask, 0),
            "attention_mask": mask.long(),
            "token_type_ids": self.types[flat].long().masked_fill(~mask, 0),
        }


def make_split(
    lengths: Lengths, vocabulary: int, outputs: dict[str, torch.Tensor], seed: int, examples: int = EXAMPLES
) -> Split:
    """A split of random words whose lengths are drawn from the task's histogram."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor(lengths.counts, dtype=torch.float64)
    drawn = torch.multinomial(counts, examples, replacement=True, generator=generator) + lengths.first
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), drawn.cumsum(0)])
    ids = torch.randint(1, vocabulary, (int(offsets[-1]),), generator=generator, dtype=torch.int32)
    types = (torch.arange(len(ids)) - torch.repeat_interleave(offsets[:-1], drawn)) >= torch.repeat_interleave(
        drawn // 2, drawn
    )
    labels = torch.randint(0, LABELS, (examples,), generator=generator)
    return Split(ids, types.to(torch.uint8), offsets, labels, outputs)


def cycle(shares: dict[str, float], size: int, seed: int) -> list[str]:
    """`size` task names in a shuffled order, each task about as often as its share and at least twice (once, in a
    short cycle): what a worker goes round in."""
    least = 2 if size >= 4 * len(shares) else 1
    spare = size - least * len(shares)
    total = sum(shares.values())
    counts = {name: least + int(spare * share / total) for name, share in shares.items()}
    counts[max(shares, key=lambda name: shares[name])] += size - sum(counts.values())
    names = [name for name, count in counts.items() for _ in range(count)]
    order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    return [names[place] for place in order.tolist()]
