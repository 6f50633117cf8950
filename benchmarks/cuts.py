"""Where to cut a sorted batch into length groups, so that padding and groups together cost least.

Groups of equal size pad the last ones most: on RTE's batches of 32 eight of them hold 7.3 % padding, eight cut here
3.1 %.
"""

from __future__ import annotations

import numpy as np
import torch

PRICE = 8  # tokens whose time a group's own operations take: measured 0 to 13 on MiniLM's shape (LOG.md)


def cut(lengths: torch.Tensor, most: int) -> list[int]:
    """Sizes of at most `most` groups of examples of these `lengths` (examples,), ascending: those for which tokens,
    padding included, plus `PRICE` for each group come to the fewest; of equals the fewest groups."""
    examples = len(lengths)
    longest = lengths.numpy().astype(np.int64)
    ends = np.arange(examples + 1)
    never = np.iinfo(np.int64).max // 4
    # cost[i, j]: of one group of examples i to j - 1
    cost = (ends[None, 1:] - ends[:-1, None]) * longest[None, :] + PRICE
    cost[ends[:-1, None] >= ends[None, 1:]] = never
    best, cuts = cost[0], [np.zeros(examples, dtype=np.int64)]  # best[j]: of examples 0 to j, in the groups so far
    totals = [int(best[-1])]
    for _ in range(1, min(most, examples)):
        through = best[:-1, None] + cost[1:]  # the last group begins after example i
        cuts.append(np.concatenate([[0], through.argmin(axis=0)[1:] + 1]))
        best = np.concatenate([[never], through.min(axis=0)[1:]])
        totals.append(int(best[-1]))
    sizes, end = [], examples
    for begins in reversed(cuts[: totals.index(min(totals)) + 1]):
        sizes.append(end - int(begins[end - 1]))
        end -= sizes[-1]
    return sizes[::-1]


def padded(lengths: torch.Tensor, most: int) -> tuple[int, int, int]:
    """Of a batch of these `lengths` (examples,), ascending, cut so: its groups, their tokens with padding, and the
    pairs of tokens that attend to each other."""
    sizes = cut(lengths, most)
    longest = [int(group[-1]) for group in lengths.split(sizes)]
    tokens = sum(size * length for size, length in zip(sizes, longest, strict=True))
    pairs = sum(size * length**2 for size, length in zip(sizes, longest, strict=True))
    return len(sizes), tokens, pairs
