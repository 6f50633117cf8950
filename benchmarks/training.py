"""The training loop that every method shares.

One optimizer step: seed the dropout stream, forward and backward each micro-batch (as length groups, almost
without padding) weighted by its share of the batch, clip, AdamW (with bias correction: without it small tasks are
unstable, Zhang et al. 2021), tell the method. Nothing here knows a method by name; nothing in a method can change
order, batches, optimizer or schedule.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from baselines.method import Method
from benchmarks.batches import Tokens, micro_batches, training_rows
from benchmarks.device import precision, synchronise
from benchmarks.dropout import MaskStream, streamed
from benchmarks.groups import LengthGroups
from benchmarks.schedule import learning_rate, planned_steps, steps_per_epoch
from benchmarks.settings import Device, Training
from benchmarks.stopping import check
from benchmarks.streams import stream_seed


class Diverged(RuntimeError):
    """The loss is no longer finite; the message says at which step."""


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


def make_optimizer(parameters: list[nn.Parameter], training: Training) -> torch.optim.AdamW:
    """AdamW; weight decay spares biases and normalisation weights (everything one-dimensional)."""
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    spared = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=training.learning_rate, eps=training.adam_epsilon, fused=True)


def backward(
    method: Method,
    model: nn.Module,
    tokens: Tokens,
    rows: torch.Tensor,
    outputs: dict[str, torch.Tensor],
    parts: int,
    groups: LengthGroups,
    device: Device,
) -> torch.Tensor:
    """Gradient of the batch's mean loss, in `parts` micro-batches; returns that loss, detached."""
    total = torch.zeros((), device=device.device)
    for batch, layout in micro_batches(tokens, rows, parts, device.device, outputs, groups):
        with precision(device), groups.over(layout):
            loss = method.loss(model, batch) * (len(batch.labels) / len(rows))
        loss.backward()
        total += loss.detach()
    return total


@contextmanager
def fast_path(method: Method, model: nn.Module, training: Training, masks: MaskStream) -> Iterator[LengthGroups]:
    """While open, `model` trains over length groups with masks from the stream; afterwards it is as it was."""
    with streamed(model, masks):
        groups = LengthGroups(model, method.stack(model), training.length_groups, masks)
        try:
            yield groups
        finally:
            groups.close()


@dataclass(frozen=True)
class Stepped:
    """One optimizer step: the batch's mean loss and the gradient's norm before clipping (on the device), and the rates
    it was taken at."""

    loss: torch.Tensor
    gradient_norm: torch.Tensor
    learning_rate: float
    replacing_rate: float | None


@contextmanager
def stepping(
    method: Method,
    model: nn.Module,
    tokens: Tokens,
    outputs: dict[str, torch.Tensor],
    training: Training,
    seed: int,
    steps: int,
    device: Device,
) -> Iterator[Callable[[int, torch.Tensor], Stepped]]:
    """Gives `step(index, rows)`: optimizer step `index` of `steps` on these examples, without waiting for a GPU."""
    masks, stages = MaskStream(), _Stages(method, model, training, steps)
    with fast_path(method, model, training, masks) as groups:

        def step(index: int, rows: torch.Tensor) -> Stepped:
            dropout = stream_seed(seed, "dropout", index)
            torch.manual_seed(dropout)
            masks.restart(dropout)
            optimizer, rate = stages.at(index)
            replacing = method.replacing_rate(model)
            loss = backward(method, model, tokens, rows, outputs, training.micro_batches, groups, device)
            norm = nn.utils.clip_grad_norm_(method.clipped(model), training.clip)
            optimizer.step()
            _clear(model, keep=method.keeps_gradients)
            method.after_step(model)
            return Stepped(loss, norm, rate, replacing)

        yield step


def train(
    method: Method,
    model: nn.Module,
    tokens: Tokens,
    outputs: dict[str, torch.Tensor],
    training: Training,
    seed: int,
    device: Device,
    evaluate: Callable[[Point], None],
) -> Trained:
    """Train `model` in place; `evaluate` is called as often as the settings ask, and always after the last
    step.

    `outputs`: the predecessor's, by name, one row per training example. Raises `Diverged` for a non-finite
    loss.
    """
    steps = planned_steps(training, len(tokens))
    per_epoch = steps_per_epoch(training, len(tokens))
    every = per_epoch if training.evaluate_every == "epoch" else training.evaluate_every
    since, total = 0, torch.zeros((), device=device.device)
    examples, evaluation_seconds, started = 0, 0.0, time.monotonic()
    model.train()
    with stepping(method, model, tokens, outputs, training, seed, steps, device) as step:
        for index, rows in enumerate(training_rows(seed, len(tokens), training.batch_size, steps)):
            stepped = step(index, rows)
            total += stepped.loss
            since, examples, done = since + 1, examples + len(rows), index + 1
            if done % every == 0 or done == steps:
                loss = float(total) / since
                if not math.isfinite(loss):
                    raise Diverged(f"loss is {loss} between steps {done + 1 - since} and {done}")
                paused = time.monotonic()
                rates = stepped.learning_rate, stepped.replacing_rate, float(stepped.gradient_norm)
                evaluate(Point(done, done / per_epoch, loss, *rates))
                evaluation_seconds += time.monotonic() - paused
                since, total = 0, torch.zeros_like(total)
                model.train()
            if done < steps:
                check()
    synchronise(device.device)
    return Trained(steps, examples, time.monotonic() - started - evaluation_seconds, evaluation_seconds)


def _clear(model: nn.Module, keep: bool) -> None:
    """No gradients, or (`keep`) gradients of zeros where there were some, as torch did before 2.0. Of all parameters:
    clipping may count what no optimizer holds."""
    if not keep:
        model.zero_grad()
    elif gradients := [parameter.grad for parameter in model.parameters() if parameter.grad is not None]:
        torch._foreach_zero_(gradients)


class _Stages:
    """The optimizer and learning rate of each step; a new stage brings a new optimizer and schedule."""

    def __init__(self, method: Method, model: nn.Module, training: Training, steps: int) -> None:
        self.method, self.model, self.training, self.steps = method, model, training, steps
        self.stages = method.stages(steps)
        self.current = -1

    def at(self, step: int) -> tuple[torch.optim.AdamW, float]:
        following = self.current + 1
        if following < len(self.stages) and self.stages[following].start == step:
            self.current = following
            self.method.begin_stage(self.model, following)
            self.optimizer = make_optimizer(self.method.parameters(self.model), self.training)
        stage = self.stages[self.current]
        end = self.stages[self.current + 1].start if self.current + 1 < len(self.stages) else self.steps
        rate = learning_rate(self.training, step - stage.start, end - stage.start, stage.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return self.optimizer, rate
