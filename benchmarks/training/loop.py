"""The training loop that every method shares.

The loop takes one step after the other (benchmarks/training/step.py), evaluates, and saves checkpoints when they are
due. It knows no method by name, and no method can change order, batches, optimizer or schedule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from benchmarks.base.stop import Stopped, requested
from benchmarks.machine.device import synchronise
from benchmarks.machine.settings import Device
from benchmarks.training.batches import training_rows
from benchmarks.training.fit import Fit
from benchmarks.training.schedule import steps_per_epoch
from benchmarks.training.state import Checkpoint, under
from benchmarks.training.step import Stepped, Stepper, stepping


class Diverged(RuntimeError):
    """A loss or gradient is not finite; the message says between which steps."""


class Saver(Protocol):
    """Saves a run's state and gives it back."""

    def resume(self) -> Checkpoint | None:
        """The checkpoint from which the run continues, if it has one."""

    def due(self) -> bool:
        """Whether it is time to save."""

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Save the state after `step` optimizer steps."""


@dataclass(frozen=True)
class Point:
    """The state of training at an evaluation. `loss`: mean since the previous point; None at step 0."""

    step: int
    epoch: float
    loss: float | None
    learning_rate: float
    replacing_rate: float | None
    gradient_norm: float | None = None  # of the last step, before clipping


@dataclass(frozen=True)
class Trained:
    """The loop's totals: optimizer steps, examples seen, seconds without the evaluations, and seconds in them."""

    steps: int
    examples: int
    train_seconds: float
    evaluation_seconds: float


def train(fit: Fit, evaluate: Callable[[Point], None], saver: Saver | None = None) -> Trained:
    """Train `fit.model` in place; `evaluate` is called as often as the settings ask, and always after the last step.

    `saver` gives the checkpoint from which the run continues, and saves new ones. Raises `Diverged` for a loss or
    gradient that is not finite, and `Stopped` if the run was asked to stop.
    """
    examples, steps, settings = len(fit.tokens), fit.steps, fit.settings
    per_epoch = steps_per_epoch(settings, examples)
    every = per_epoch if settings.evaluate_every == "epoch" else settings.evaluate_every
    with stepping(fit) as step:
        meter = _Meter(step, saver, fit.device)
        fit.model.train()  # restoring may have put the model into eval mode
        batches = training_rows(fit.seed, examples, settings.batch_size, steps, meter.done)
        for index, rows in enumerate(batches, meter.done):
            stepped = step(index, rows)
            done = meter.add(stepped, len(rows))
            if done % every == 0 or done == steps:
                loss = meter.mean_loss()
                rates = stepped.learning_rate, stepped.replacing_rate, float(stepped.gradient_norm)
                with meter.paused():
                    evaluate(Point(done, done / per_epoch, loss, *rates))
                fit.model.train()
            if done < steps:
                meter.save_if_due()
        synchronise(fit.device.device)
    return Trained(steps, meter.examples, meter.train_seconds(), meter.evaluation_seconds)


class _Meter:
    """The loop's counters. A checkpoint holds them, so they continue in another process."""

    def __init__(self, step: Stepper, saver: Saver | None, device: Device) -> None:
        self.step, self.saver, self.device = step, saver, device
        self.done = self.since = self.examples = 0
        self.total = torch.zeros((), device=device.device)
        self.finite = torch.ones((), dtype=torch.bool, device=device.device)
        self.evaluation_seconds = self.earlier_seconds = 0.0
        if saver is not None and (found := saver.resume()) is not None:
            self._go_on(found)
        self.started, self.outside = time.monotonic(), 0.0

    def _go_on(self, found: Checkpoint) -> None:
        numbers = found.document["training"]
        self.done, self.since, self.examples = numbers["done"], numbers["since"], numbers["examples"]
        self.earlier_seconds, self.evaluation_seconds = numbers["train_seconds"], numbers["evaluation_seconds"]
        self.total.copy_(found.tensors["loss"])
        self.step.restore(self.done, found.part("step"))

    def add(self, stepped: Stepped, examples: int) -> int:
        """Count a step; returns the number of steps done."""
        self.total += stepped.loss
        self.finite &= torch.isfinite(stepped.gradient_norm) & torch.isfinite(stepped.loss)
        self.done, self.since, self.examples = self.done + 1, self.since + 1, self.examples + examples
        if self.device.device == "cpu":  # a GPU would have to be waited for, so there `mean_loss` checks
            self._check()
        return self.done

    def _check(self) -> None:
        if not bool(self.finite):
            raise Diverged(f"loss or gradient is not finite between steps {self.done + 1 - self.since} and {self.done}")

    def mean_loss(self) -> float:
        """The mean loss since the last call."""
        self._check()
        loss = float(self.total) / self.since
        self.since, self.total = 0, torch.zeros_like(self.total)
        return loss

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count the time inside as evaluation."""
        synchronise(self.device.device)
        began = time.monotonic()
        yield
        self.outside += time.monotonic() - began
        self.evaluation_seconds += time.monotonic() - began

    def train_seconds(self) -> float:
        """Seconds of this process and those before it, without evaluations and checkpoints."""
        return self.earlier_seconds + time.monotonic() - self.started - self.outside

    def save_if_due(self) -> None:
        """Save the state if that is due or the run was asked to stop; in the latter case raise `Stopped`."""
        asked = requested()
        if self.saver is not None and (asked or self.saver.due()):
            self._check()
            began = time.monotonic()
            numbers = {
                "done": self.done, "since": self.since, "examples": self.examples,
                "train_seconds": self.train_seconds(), "evaluation_seconds": self.evaluation_seconds,
            }  # fmt: skip
            tensors = {"loss": self.total, **under("step", self.step.state())}
            self.saver.save(self.done, Checkpoint(tensors, {"training": numbers}))
            self.outside += time.monotonic() - began
        if asked:
            raise Stopped(f"after step {self.done}")
