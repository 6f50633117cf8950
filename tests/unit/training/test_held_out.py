"""The share of the training set that nobody trains on."""

from __future__ import annotations

import pytest
import torch

from benchmarks.tasks.table import find_task
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.held_out import split, split_rows, training_examples
from tests import tiny


@pytest.mark.parametrize(
    ("task", "share", "trained"),
    [("rte", 0.0, 2_490), ("rte", 0.1, 2_241), ("cola", 0.1, 7_696), ("mrpc", 0.5, 1_834), ("mnli", 0.1, 353_432)],
)
def test_how_many_examples_are_trained_on(task: str, share: float, trained: int) -> None:
    assert training_examples(find_task(task), share) == trained


@pytest.mark.parametrize(("examples", "share"), [(100, 0.1), (2_490, 0.1), (7, 0.5), (635, 0.3)])
def test_the_rows_are_split_without_overlap_and_without_loss(examples: int, share: float) -> None:
    train, held_out = split_rows(examples, share)
    assert len(held_out) == round(share * examples)
    assert torch.equal(torch.cat([train, held_out]).sort().values, torch.arange(examples))
    for rows in (train, held_out):
        assert torch.equal(rows, rows.sort().values)


def test_the_same_rows_are_held_out_whatever_the_random_state() -> None:
    first = split_rows(500, 0.1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = split_rows(500, 0.1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    spread = first[1].double().mean()
    assert 150 < float(spread) < 350  # not a block from one end
    assert not torch.equal(first[1], torch.arange(50))


def texts(tokens: Tokens) -> list[tuple[tuple[int, ...], float, int]]:
    rows = []
    for row in range(len(tokens)):
        start, end = int(tokens.offsets[row]), int(tokens.offsets[row + 1])
        rows.append((tuple(tokens.ids[start:end].tolist()), float(tokens.labels[row]), int(tokens.idx[row])))
    return rows


@pytest.mark.parametrize("regression", [False, True])
def test_selected_rows_keep_their_words_labels_and_numbers(regression: bool) -> None:
    tokens = tiny.tokens(30, regression=regression)
    everything = texts(tokens)
    for rows in ([3, 0, 29, 17], [5], list(range(30)), [4, 4]):
        chosen = tokens.select(torch.tensor(rows))
        assert texts(chosen) == [everything[row] for row in rows]
        assert len(chosen) == len(rows)
        assert chosen.types is not None
        assert len(chosen.types) == len(chosen.ids)
        ours, labels = chosen.collate(torch.arange(len(rows)), "cpu")
        theirs, others = tokens.collate(torch.tensor(rows), "cpu")
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert torch.equal(labels, others)


def test_a_split_of_tokens_is_what_is_trained_on_and_what_is_not() -> None:
    tokens = tiny.tokens(40)
    train, held_out = split(tokens, 0.25)
    assert held_out is not None
    assert (len(train), len(held_out)) == (30, 10)
    assert sorted(texts(train) + texts(held_out)) == sorted(texts(tokens))
    assert split(tokens, 0.0) == (tokens, None)
