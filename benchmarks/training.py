"""The training loop that every method shares.

Step by step (benchmarks/stepping.py), evaluating and keeping checkpoints where it is time to. Nothing here knows a
method by name; nothing in a method can change order, batches, optimizer or schedule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from baselines.method import Method
from benchmarks.batches import Tokens, training_rows
from benchmarks.checkpoint import Checkpoint, under
from benchmarks.device import synchronise
from benchmarks.schedule import planned_steps, steps_per_epoch
from benchmarks.settings import Device, Training
from benchmarks.stepping import Stepped, Stepper, stepping
from benchmarks.stopping import Stopped, requested


class Diverged(RuntimeError):
    """A loss or gradient is not finite; the message says between which steps."""


class Saver(Protocol):
    """Keeps a run's state and gives it back."""

    def resume(self) -> Checkpoint | None:
        """Where the run goes on from, if it was begun before."""

    def due(self) -> bool:
        """Is it time to save?"""

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Keep the state after `step` optimizer steps."""


@dataclass(frozen=True)
class Point:
    """Where training stands when it asks for an evaluation. `loss`: mean since the point before; None at step 0."""

    step: int
    epoch: float
    loss: float | None
    learning_rate: float
    replacing_rate: float | None
    gradient_norm: float | None = None  # of the last step, before clipping


@dataclass(frozen=True)
class Trained:
    """What the loop did: optimizer steps, examples seen, seconds without the evaluations, and seconds in them."""

    steps: int
    examples: int
    train_seconds: float
    evaluation_seconds: float


def train(
    method: Method,
    model: nn.Module,
    tokens: Tokens,
    outputs: dict[str, torch.Tensor],
    training: Training,
    seed: int,
    device: Device,
    evaluate: Callable[[Point], None],
    saver: Saver | None = None,
) -> Trained:
    """Train `model` in place; `evaluate` is called as often as the settings ask, and always after the last
    step.

    `outputs`: the predecessor's, by name, one row per training example. `saver`: where the run goes on from, and what
    keeps its state. Raises `Diverged` for a loss or gradient that is not finite, `Stopped` where it was asked to stop.
    """
    steps = planned_steps(training, len(tokens))
    per_epoch = steps_per_epoch(training, len(tokens))
    every = per_epoch if training.evaluate_every == "epoch" else training.evaluate_every
    with stepping(method, model, tokens, outputs, training, seed, steps, device) as step:
        meter = _Meter(step, saver, device)
        model.train()  # after what a saver restores, which may have looked at the successor in eval mode
        for index, rows in enumerate(
            training_rows(seed, len(tokens), training.batch_size, steps, meter.done), meter.done
        ):
            stepped = step(index, rows)
            done = meter.add(stepped, len(rows))
            if done % every == 0 or done == steps:
                loss = meter.mean_loss()
                rates = stepped.learning_rate, stepped.replacing_rate, float(stepped.gradient_norm)
                with meter.paused():
                    evaluate(Point(done, done / per_epoch, loss, *rates))
                model.train()
            if done < steps:
                meter.save_if_due()
        synchronise(device.device)
    return Trained(steps, meter.examples, meter.train_seconds(), meter.evaluation_seconds)


class _Meter:
    """The loop's own counters: what a step adds to them, and how they go on in another process."""

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
        """Count a step; how many are done now."""
        self.total += stepped.loss
        self.finite &= torch.isfinite(stepped.gradient_norm) & torch.isfinite(stepped.loss)
        self.done, self.since, self.examples = self.done + 1, self.since + 1, self.examples + examples
        if self.device.device == "cpu":  # elsewhere looking would wait for the device: there it is done with the loss
            self._check()
        return self.done

    def _check(self) -> None:
        if not bool(self.finite):
            raise Diverged(f"loss or gradient is not finite between steps {self.done + 1 - self.since} and {self.done}")

    def mean_loss(self) -> float:
        """Since the last time this was asked."""
        self._check()
        loss = float(self.total) / self.since
        self.since, self.total = 0, torch.zeros_like(self.total)
        return loss

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is evaluation."""
        synchronise(self.device.device)
        began = time.monotonic()
        yield
        self.outside += time.monotonic() - began
        self.evaluation_seconds += time.monotonic() - began

    def train_seconds(self) -> float:
        """Of this process and those before it, without evaluations and checkpoints."""
        return self.earlier_seconds + time.monotonic() - self.started - self.outside

    def save_if_due(self) -> None:
        """Keep the state where it is time to, or where the run was asked to stop, which it then does."""
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
