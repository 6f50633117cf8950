"""What a method has to say, and nothing more.

Which model trains, which of its parameters move, what it needs from the predecessor, the loss of a micro-batch,
what happens after an optimizer step, and which plain model comes out. Everything that must be equal between
methods (data, order, head, dropout, optimizer, schedule, evaluation) belongs to the runner in `benchmarks`.

A method's fields are its hyper-parameters: pydantic checks them when a suite is read, so a misspelt or
impossible value is refused before anything runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, PlainSerializer
from torch import nn

from baselines.losses import task_loss
from theseus import PARTS, Part, find_blocks

# A set has no order of its own, and a run's id is a hash of what is written here.
Parts = Annotated[frozenset[Part], PlainSerializer(sorted, return_type=list)]


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the run's device. `inputs`: tensors (batch, length) as the model takes them.

    `labels`: (batch,) int64 class ids, or float32 values for a regression task. `outputs`: the predecessor's
    outputs for these examples, as the method's `needs` asked: "logits" (batch, classes), "cls-3" (batch, hidden).
    `first`: where the runner lays examples end to end inside the model, the place of each one's first token (batch,).
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    outputs: dict[str, torch.Tensor]
    first: torch.Tensor | None = None

    def first_token(self, states: torch.Tensor) -> torch.Tensor:
        """The first token's state of each example (batch, hidden), of the `states` after an inner layer."""
        return states[:, 0] if self.first is None else states[0, self.first]


@dataclass(frozen=True)
class Given:
    """What the runner hands to `build`.

    `predecessor()` and `pretrained()` load a fresh model each: the fine-tuned predecessor, and the encoder that
    the arm starts from (the suite's, or a compressed one of its own) under the seed's untrained head.
    `layers`: depth of the successor. `gates_seed`: of the stream of replacement draws. `steps`: planned
    optimizer steps.
    """

    predecessor: Callable[[], Any]
    pretrained: Callable[[], Any]
    layers: int
    gates_seed: int
    steps: int


@dataclass(frozen=True)
class Stage:
    """A stretch of a run with an optimizer and a learning-rate schedule of its own, from optimizer step `start`
    to the next stage. `learning_rate`: its peak, where it is not the run's."""

    start: int = 0
    learning_rate: float | None = None


class Method(BaseModel, ABC):
    """A way to get a successor. Subclasses override what differs from fine-tuning everything."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def needs(self, encoder: int, layers: int) -> frozenset[str]:
        """Predecessor outputs for every training example, for these depths: "logits", and "cls-3" for the hidden state
        of the first token after predecessor layer 3 (1-based)."""
        return frozenset()

    @property
    def uses_predecessor(self) -> bool:
        """Does the run take a predecessor as input: for its outputs, or in `build`?"""
        return False

    @property
    def own_encoder(self) -> bool:
        """Does the arm start from a model of its own, which the suite names beside it?"""
        return False

    @property
    def trains(self) -> Parts:
        """The parts of the model that train from the first step; the planner checks `parameters` against it."""
        return frozenset(PARTS)

    def trained_layers(self, encoder: int, layers: int) -> int:
        """How many layers train, where "layers" is among `trains`."""
        return layers

    def depth(self, encoder: int, layers: int) -> int:
        """Layers of the model that comes out, for an encoder of `encoder` layers and a suite that asks for `layers`."""
        return layers

    def check(self, encoder: int, layers: int) -> None:
        """Raises `ValueError` for options that do not fit these depths."""
        if not self.own_encoder and not 0 < layers < encoder:
            raise ValueError(f"a successor of {layers} layers is not shallower than the encoder's {encoder}")

    @abstractmethod
    def build(self, given: Given) -> nn.Module:
        """The model that trains; called as `model(**inputs)`, its result has `.logits`."""

    def stack(self, model: nn.Module) -> nn.ModuleList:
        """The layers of the model that trains, as they are called one after the other."""
        return find_blocks(model).layers

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """What the optimizer moves."""
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def clipped(self, model: nn.Module) -> list[nn.Parameter]:
        """Over which gradients the norm is taken when they are clipped."""
        return self.parameters(model)

    @property
    def keeps_gradients(self) -> bool:
        """Are gradients zeroed between steps rather than removed? Then Adam's momentum moves a parameter even
        through steps in which nothing reached it."""
        return False

    def stages(self, steps: int) -> list[Stage]:
        """The stages of a run of that many optimizer steps; the first starts at 0."""
        return [Stage()]

    def begin_stage(self, model: nn.Module, index: int) -> None:
        """Called before stage `index` makes its optimizer."""

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean loss over the micro-batch, a scalar."""
        return task_loss(model(**batch.inputs).logits, batch.labels)

    def after_step(self, model: nn.Module) -> None:
        """Called after every optimizer step."""

    def state(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """What a run that goes on later needs beside weights and optimizer: generators, draws, counters."""
        return {}

    def restore(self, model: nn.Module, state: dict[str, torch.Tensor]) -> None:
        """Go on from where `state` was taken."""

    def replacing_rate(self, model: nn.Module) -> float | None:
        """p(t) of the step that is due, for methods that have one."""
        return None

    def successor(self, model: nn.Module) -> Any:
        """The plain transformers model to keep, in eval mode."""
        return model.eval()

    def warning(self, steps: int) -> str | None:
        """What a planner should say of these settings for that many optimizer steps, if anything."""
        return None

    def work(self, encoder: int, layers: int, steps: int) -> float:
        """Operations of training on one example in forward passes of one layer; a backward pass counts as two: one for
        the weights, one for what is below, where something below needs it."""
        return 3.0 * self.depth(encoder, layers)
