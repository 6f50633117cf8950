"""Models and data of the benchmarks: MiniLM-L6's shape with random weights, on batches of GLUE's lengths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch

from baselines import find
from baselines.method import Given
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.preflight.step_timer import model_of, tokens_of
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.lengths import load
from benchmarks.training.batches import Tokens, training_rows
from benchmarks.training.fit import Fit
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


def without_dropout(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


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

    trained = method.build(Given(deep, deep, 3, 0, 10**6)).train()
    wishes = method.needs(6, 3)
    outputs = predecessor_outputs(deep(), tokens, wishes, settings) if wishes else {}
    with stepping(Fit(method, trained, tokens, outputs, TRAINING, 0, settings, total=10**6)) as stepper:
        yield Trainer(stepper, tokens)
