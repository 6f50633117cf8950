"""Models and data of the benchmarks (MiniLM-L6's shape with random weights, on batches of GLUE's lengths), and how two
functions are timed alternately in one process.

pytest-benchmark times ours; the rival is timed right before each round. Changes of the machine's speed cancel in the
ratio of a round. The median ratio over rounds, with a bootstrap interval, is compared with the bar and with the
accepted value.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch

from baselines import find
from baselines.method import Given, Output
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.preflight.step_timer import model_of, tokens_of
from benchmarks.speed.timing import median_interval
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.lengths import load
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.batches import training_rows
from benchmarks.training.fit import Outputs, prepared
from benchmarks.training.forward import predecessor_outputs
from benchmarks.training.settings import Training
from benchmarks.training.step import Stepper, stepping

MINILM = load_suite("minilm")
SHAPE = MINILM.encoder.shape
TRAINING = Training(length_groups=MINILM.training.length_groups)
BATCH, BATCHES = 32, 12
OPTIONS: dict[str, dict[str, Any]] = {"theseus": {"rate": {"kind": "constant", "p": 0.5, "reach": 10**6}}}


def device(precision: str = "bfloat16") -> Device:
    """The CPU with these settings, applied to this process."""
    settings = devices.resolve(Device(device="cpu").model_copy(update={"precision": precision, "threads": 2}))
    devices.apply(settings)
    return settings


def split(task: str) -> Tokens:
    """Twelve batches of random words with the lengths of the task's examples."""
    known = load()[task]
    share = np.array(known.counts) / sum(known.counts)
    drawn = np.random.default_rng(0).choice(known.lengths, size=BATCH * BATCHES, p=share)
    return tokens_of(torch.from_numpy(drawn), SHAPE["vocab_size"])


class Trainer:
    """Each call takes the shared loop's next step and returns its loss."""

    def __init__(self, stepper: Stepper, tokens: Tokens) -> None:
        self.stepper = stepper
        self.batches = list(training_rows(0, len(tokens), BATCH, BATCHES))
        self.turns = count()

    def __call__(self) -> torch.Tensor:
        turn = next(self.turns)
        return self.stepper(turn, self.batches[turn % BATCHES]).loss


@contextmanager
def trainer(name: str, tokens: Tokens, settings: Device, model: Any = None) -> Iterator[Trainer]:
    """Method `name` on random weights, ready to train: six layers to three."""
    method = find(name)(**OPTIONS.get(name, {}))

    def deep() -> Any:
        return model or model_of(SHAPE, 6, settings)

    def outputs_of(wishes: frozenset[Output]) -> Outputs:
        return predecessor_outputs(deep(), tokens, wishes, settings)

    fit = prepared(method, Given(deep, deep, 3, 0, 10**6), 6, tokens, outputs_of, TRAINING, 0, settings, total=10**6)
    fit.model.train()
    with stepping(fit) as stepper:
        yield Trainer(stepper, tokens)


def against(
    benchmark: Any,
    ours: Callable[[], object],
    rival: Callable[[], object],
    claim: str,
    bar: float,
    at_least: bool = True,
    rounds: int = 12,
) -> None:
    """Time both; record the median of rival / ours (`at_least`) or ours / rival under the name `claim`."""
    seconds: list[float] = []
    for _ in range(2):
        rival()
        ours()

    def first() -> None:
        started = time.perf_counter()
        rival()
        seconds.append(time.perf_counter() - started)

    benchmark.pedantic(ours, setup=first, rounds=rounds)
    own = np.array(benchmark.stats.stats.data)
    ratios = np.array(seconds) / own if at_least else own / np.array(seconds)
    record(benchmark, ratios, claim, bar, at_least)


def record(benchmark: Any, ratios: np.ndarray[Any, Any], claim: str, bar: float, at_least: bool) -> None:
    """Add a figure with its interval and its bar to the timing; `benchmarks.bench.compare` reads it."""
    low, high = median_interval(ratios)
    benchmark.extra_info |= {
        "claim": claim, "value": float(np.median(ratios)), "low": low, "high": high, "bar": bar, "at_least": at_least,
    }  # fmt: skip
