"""Length groups are cut where they cost least: held against every possible cut of small batches."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.training.cuts import PRICE, cut


def cost(lengths: list[int], sizes: list[int]) -> int:
    """Tokens with each group padded to its longest, and the price of each group."""
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    return sum(size * lengths[end - 1] + PRICE for size, end in zip(sizes, ends, strict=True))


def every_cut(examples: int, most: int):
    for count in range(min(most, examples)):
        for inner in combinations(range(1, examples), count):
            ends = [0, *inner, examples]
            yield [end - begin for begin, end in pairwise(ends)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8).map(sorted), st.integers(1, 9))
def test_no_cut_costs_less(lengths, most):
    sizes = cut(torch.tensor(lengths), most)
    assert sum(sizes) == len(lengths)
    assert len(sizes) <= most
    assert min(sizes) > 0
    assert cost(lengths, sizes) == min(cost(lengths, other) for other in every_cut(len(lengths), most))


def test_equal_lengths_are_one_group():
    assert cut(torch.full((32,), 40), 8) == [32]


@pytest.mark.parametrize("most", [2, 8])
def test_a_step_in_length_is_where_the_cut_is(most):
    assert cut(torch.tensor([5] * 10 + [90] * 6), most) == [10, 6]
