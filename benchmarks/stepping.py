"""One optimizer step of the shared loop, and all of its state that is not a function of seed and step.

Seed the dropout stream, forward and backward each micro-batch (as length groups, almost without padding) weighted by
its share of the batch, clip, AdamW (with bias correction: without it small tasks are unstable, Zhang et al. 2021), tell
the method.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from baselines.method import Method
from benchmarks.batches import Tokens, micro_batches
from benchmarks.device import precision
from benchmarks.dropout import MaskStream, streamed
from benchmarks.groups import LengthGroups
from benchmarks.schedule import learning_rate
from benchmarks.settings import Device, Training
from benchmarks.streams import stream_seed


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


class Stepper:
    """`stepper(index, rows)` takes optimizer step `index` on these examples, without waiting for a GPU."""

    def __init__(
        self, method: Method, model: nn.Module, tokens: Tokens, outputs: dict[str, torch.Tensor], training: Training,
        seed: int, steps: int, device: Device, masks: MaskStream, groups: LengthGroups,
    ) -> None:  # fmt: skip
        self.method, self.model, self.tokens, self.outputs = method, model, tokens, outputs
        self.training, self.seed, self.device = training, seed, device
        self.masks, self.groups = masks, groups
        self.stages = _Stages(method, model, training, steps)

    def __call__(self, index: int, rows: torch.Tensor) -> Stepped:
        dropout = stream_seed(self.seed, "dropout", index)
        torch.manual_seed(dropout)
        self.masks.restart(dropout)
        optimizer, rate = self.stages.at(index)
        replacing = self.method.replacing_rate(self.model)
        parts = self.training.micro_batches
        loss = backward(
            self.method, self.model, self.tokens, rows, self.outputs, parts, self.groups, self.device
        )  # fmt: skip
        norm = nn.utils.clip_grad_norm_(self.method.clipped(self.model), self.training.clip)
        optimizer.step()
        _clear(self.model, keep=self.method.keeps_gradients)
        self.method.after_step(self.model)
        return Stepped(loss, norm, rate, replacing)

    def state(self) -> dict[str, torch.Tensor]:
        """Weights that have moved, Adam's moments, which gradients are zeros and which none, the method's own."""
        held = [parameter.grad is not None for parameter in self.model.parameters()]
        moments = self.stages.optimizer.state_dict()["state"]
        return {
            **{f"weight/{name}": values for name, values in self.stages.moved()},
            **{f"optimizer/{number}/{name}": values
               for number, entry in moments.items() for name, values in entry.items()},
            **{f"method/{name}": values for name, values in self.method.state(self.model).items()},
            "gradients": torch.tensor(held),
        }  # fmt: skip

    def restore(self, done: int, state: dict[str, torch.Tensor]) -> None:
        """Go on after `done` steps, from where `state` was taken."""
        self.stages.go_to(done)
        parameters = dict(self.model.named_parameters())
        moments: dict[int, dict[str, torch.Tensor]] = {}
        own: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for key, values in state.items():
                kind, _, name = key.partition("/")
                if kind == "weight":
                    parameters[name].copy_(values)
                elif kind == "optimizer":
                    number, _, moment = name.partition("/")
                    moments.setdefault(int(number), {})[moment] = values
                elif kind == "method":
                    own[name] = values
        optimizer = self.stages.optimizer
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        self.method.restore(self.model, own)
        for parameter, held in zip(parameters.values(), state["gradients"].tolist(), strict=True):
            parameter.grad = torch.zeros_like(parameter) if held else None


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
) -> Iterator[Stepper]:
    """The steps of a run of `steps`, while the model is prepared for them."""
    masks = MaskStream()
    with fast_path(method, model, training, masks) as groups:
        yield Stepper(method, model, tokens, outputs, training, seed, steps, device, masks, groups)


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
        self._moved: dict[int, None] = {}  # ids of what an optimizer has held, of any stage so far

    def at(self, step: int) -> tuple[torch.optim.AdamW, float]:
        following = self.current + 1
        if following < len(self.stages) and self.stages[following].start == step:
            self._begin(following)
        stage = self.stages[self.current]
        end = self.stages[self.current + 1].start if self.current + 1 < len(self.stages) else self.steps
        rate = learning_rate(self.training, step - stage.start, end - stage.start, stage.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return self.optimizer, rate

    def _begin(self, index: int) -> None:
        self.current = index
        self.method.begin_stage(self.model, index)
        held = self.method.parameters(self.model)
        self._moved |= dict.fromkeys(map(id, held))
        self.optimizer = make_optimizer(held, self.training)

    def go_to(self, done: int) -> None:
        """As after `done` steps: a stage that starts with the next one has not begun."""
        for index, stage in enumerate(self.stages):
            if stage.start < done:
                self._begin(index)

    def moved(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and values of every parameter that some optimizer has held."""
        for name, parameter in self.model.named_parameters():
            if id(parameter) in self._moved:
                yield name, parameter.detach()
