"""What the tests of masked and causal language models share: a split with random tokens, and gradients of a batch."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset

from baselines.method import Method
from benchmarks.tasks.tokens import IGNORED, Tokens
from benchmarks.training.fit import Fit, given_for, prepared
from benchmarks.training.settings import Training
from benchmarks.training.step import stepping
from tests import tiny

STEPS = 6


def rows(texts: list[str], idx: list[int] | None = None) -> Dataset:
    return Dataset.from_dict({"text": texts, "label": [0] * len(texts), "idx": idx or list(range(len(texts)))})


def random_split(kind: str, examples: int = 9, next_token: bool = False) -> Tokens:
    """Random tokens; the labels are the next ones, or those of some tokens, one an example at least."""
    generator = torch.Generator().manual_seed(4)
    lengths = torch.randint(4, 21, (examples,), generator=generator)
    count = int(lengths.sum())
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    ids = torch.randint(5, len(tiny.WORDS), (count,), generator=generator)
    labels = ids.roll(-1) if next_token else torch.randint(5, len(tiny.WORDS), (count,), generator=generator)
    hidden = torch.zeros(count, dtype=torch.bool)
    if not next_token:
        hidden = torch.rand(count, generator=generator) < 0.6
        hidden[offsets[:-1] + 1] = False
    hidden[offsets[1:] - 1] = True
    words = torch.ones(examples) * 3
    return Tokens(ids, None, offsets, labels.masked_fill(hidden, IGNORED), torch.arange(examples), 0, kind, words=words)


def fit_of(method: Method, tokens: Tokens, model: Any, **settings: Any) -> Fit:
    """`model(layers, seed)` gives the predecessor (4 layers) and the pretrained encoder."""

    def none(_: Any) -> Any:
        raise AssertionError("the predecessor's outputs are not kept")

    given = given_for(1, 2, STEPS, lambda: model(4, 1), lambda _: model(4, 2))
    return prepared(method, given, 4, tokens, none, Training(**settings), 1, tiny.CPU, total=STEPS)


def trained(fit: Fit, stop: int | None = None, again: Fit | None = None) -> dict[str, torch.Tensor]:
    """The weights after all steps; with `stop` the training goes on in `again` after that many."""
    fit.model.train()
    with stepping(fit) as step:
        for index in range(stop or STEPS):
            step(index, torch.arange(len(fit.tokens)))
        state = {name: values.clone() for name, values in step.state().items()}
    if again is None or stop is None:
        return {name: values.clone() for name, values in fit.model.state_dict().items()}
    again.model.train()
    with stepping(again) as step:
        step.restore(stop, state)
        for index in range(stop, STEPS):
            step(index, torch.arange(len(again.tokens)))
    return dict(again.model.state_dict())
