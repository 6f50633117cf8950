"""One optimizer step of the shared loop, and all of its state that is not a function of seed and step.

A step seeds the dropout stream, runs each micro-batch forward and backward (as length groups, almost without padding)
with its share of the batch as weight, clips the gradient, updates with AdamW (with bias correction: without it small
tasks are unstable, Zhang et al. 2021), and calls the method's `after_step`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn

from benchmarks.machine.device import precision
from benchmarks.training.batches import micro_batches
from benchmarks.training.dropout import MaskStream, streamed
from benchmarks.training.fit import Fit
from benchmarks.training.length_groups import LengthGroups
from benchmarks.training.randomness import stream_seed
from benchmarks.training.schedule import learning_rate
from benchmarks.training.settings import Training


def make_optimizer(parameters: list[nn.Parameter], training: Training) -> torch.optim.AdamW:
    """AdamW; weight decay spares biases and normalisation weights (everything one-dimensional)."""
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    spared = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=training.learning_rate, eps=training.adam_epsilon, fused=True)


def backward(fit: Fit, rows: torch.Tensor, groups: LengthGroups) -> torch.Tensor:
    """Add up the gradient of the mean loss of the batch `rows` (n,) over micro-batches; returns that loss, detached."""
    total = torch.zeros((), device=fit.device.device)
    parts = fit.settings.micro_batches
    for batch, layout in micro_batches(fit.tokens, rows, parts, fit.device.device, fit.outputs, groups):
        if fit.live:
            batch = replace(batch, outputs=fit.live(batch, fit.device))
        with precision(fit.device), groups.over(layout):
            loss = fit.method.loss(fit.model, batch) * batch.weight
        loss.backward()
        total += loss.detach()
    return total


@contextmanager
def fast_path(fit: Fit, masks: MaskStream) -> Iterator[LengthGroups]:
    """While open, the model trains over length groups with dropout from `masks`; afterwards it is as before."""
    with streamed(fit.model, masks):
        stack, objective = fit.method.stack(fit.model), fit.tokens.objective
        groups = LengthGroups(fit.model, stack, fit.length_groups, masks, objective)
        try:
            yield groups
        finally:
            groups.close()


@dataclass(frozen=True)
class Stepped:
    """The result of one optimizer step: the batch's mean loss and the gradient's norm before clipping (on the device),
    and the step's learning and replacing rates."""

    loss: torch.Tensor
    gradient_norm: torch.Tensor
    learning_rate: float
    replacing_rate: float | None


class Stepper:
    """`stepper(index, rows)` takes optimizer step `index` on these examples, without waiting for a GPU."""

    def __init__(self, fit: Fit, masks: MaskStream, groups: LengthGroups) -> None:
        self.fit, self.masks, self.groups = fit, masks, groups
        self.stages = _Stages(fit)

    def __call__(self, index: int, rows: torch.Tensor) -> Stepped:
        fit = self.fit
        dropout = stream_seed(fit.seed, "dropout", index)
        torch.manual_seed(dropout)
        self.masks.restart(dropout)
        optimizer, rate = self.stages.at(index)
        replacing = fit.method.replacing_rate(fit.model)
        loss = backward(fit, rows, self.groups)
        norm = nn.utils.clip_grad_norm_(fit.method.clipped(fit.model), fit.settings.clip)
        optimizer.step()
        _clear(fit.model, keep=fit.method.keeps_gradients)
        fit.method.after_step(fit.model)
        return Stepped(loss, norm, rate, replacing)

    def state(self) -> dict[str, torch.Tensor]:
        """Weights that an optimizer has held, Adam's moments, the method's own state, and which parameters have a
        gradient: between steps these gradients are zeros (`keeps_gradients`), so their values need not be saved."""
        held = [parameter.grad is not None for parameter in self.fit.model.parameters()]
        moments = self.stages.optimizer.state_dict()["state"]
        return {
            **{f"weight/{name}": values for name, values in self.stages.moved()},
            **{f"optimizer/{number}/{name}": values
               for number, entry in moments.items() for name, values in entry.items()},
            **{f"method/{name}": values for name, values in self.fit.method.state(self.fit.model).items()},
            "gradients": torch.tensor(held),
        }  # fmt: skip

    def restore(self, done: int, state: dict[str, torch.Tensor]) -> None:
        """Continue after `done` steps from what `state` returned.

        The stages come first: they decide which parameters train and make the current optimizer, to which the saved
        moments belong. Moments are keyed by a parameter's number in that optimizer, which is the same in every process.
        The optimizer's fresh param_groups are kept, because they follow from the settings.
        """
        self.stages.go_to(done)
        parameters = dict(self.fit.model.named_parameters())
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
        self.fit.method.restore(self.fit.model, own)
        for parameter, held in zip(parameters.values(), state["gradients"].tolist(), strict=True):
            parameter.grad = torch.zeros_like(parameter) if held else None


@contextmanager
def stepping(fit: Fit) -> Iterator[Stepper]:
    """The steps of `fit`, while its model is prepared for them."""
    masks = MaskStream()
    with fast_path(fit, masks) as groups:
        yield Stepper(fit, masks, groups)


def _clear(model: nn.Module, keep: bool) -> None:
    """Remove the gradients, or (`keep`) set those that exist to zero, as torch did before 2.0. This covers all
    parameters, because clipping may count some that no optimizer holds."""
    if not keep:
        model.zero_grad()
    elif gradients := [parameter.grad for parameter in model.parameters() if parameter.grad is not None]:
        torch._foreach_zero_(gradients)


class _Stages:
    """The optimizer and learning rate of each step.

    A run is a row of stages. When a stage begins, the method may change which parameters train, a new AdamW without
    moments replaces the old one, and the learning-rate schedule starts again over the steps up to the next stage (or
    the end). `_moved` collects the parameters of all stages so far: a weight that only an earlier stage trained is no
    longer in the optimizer, but a checkpoint must still save it.
    """

    def __init__(self, fit: Fit) -> None:
        self.fit, self.steps = fit, fit.steps
        self.stages = fit.method.stages(self.steps)
        self.current = -1
        self._moved: dict[int, None] = {}  # ids of the parameters that an optimizer has held

    def at(self, step: int) -> tuple[torch.optim.AdamW, float]:
        """The optimizer of `step`, its learning rate set; begins the next stage if `step` is its first."""
        following = self.current + 1
        if following < len(self.stages) and self.stages[following].start == step:
            self._begin(following)
        stage = self.stages[self.current]
        end = self.stages[self.current + 1].start if self.current + 1 < len(self.stages) else self.steps
        rate = learning_rate(self.fit.settings, step - stage.start, end - stage.start, stage.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return self.optimizer, rate

    def _begin(self, index: int) -> None:
        self.current = index
        self.fit.method.begin_stage(self.fit.model, index)
        held = self.fit.method.parameters(self.fit.model)
        self._moved |= dict.fromkeys(map(id, held))
        self.optimizer = make_optimizer(held, self.fit.settings)

    def go_to(self, done: int) -> None:
        """Begin the stages that have begun after `done` steps; `at` begins one that starts with the next step."""
        for index, stage in enumerate(self.stages):
            if stage.start < done:
                self._begin(index)

    def moved(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and values of every parameter that an optimizer has held."""
        for name, parameter in self.fit.model.named_parameters():
            if id(parameter) in self._moved:
                yield name, parameter.detach()
