"""The interface of a method.

A method decides which model trains, which of its parameters move, which outputs of the predecessor it needs, the loss
of a micro-batch, what happens after an optimizer step, and which plain model results. Everything that must be equal
between methods (data, order, head, dropout, optimizer, schedule, evaluation) belongs to the runner in `benchmarks`.

A method's fields are its hyper-parameters: pydantic checks them when a suite is read, so a misspelt or impossible
value is refused before anything runs. The docstring under a field is its meaning in docs/suites.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, PlainSerializer
from torch import nn

from baselines.parts.losses import task_loss
from theseus import PARTS, Part, find_blocks

# Sorted, because a set has no order and a run's id hashes the written value.
Parts = Annotated[frozenset[Part], PlainSerializer(sorted, return_type=list)]


@dataclass(frozen=True, order=True)
class Output:
    """An output of the predecessor that a method needs for every training example.

    `what`: the "logits" (examples, outputs), or the hidden "state" after `layer` (1-based). The state is that of each
    example's first token (examples, hidden), or those of all its tokens without padding, one example after the other
    (tokens, hidden). The planner refuses a request that the runner cannot serve.
    """

    what: Literal["logits", "state"]
    layer: int = 0
    tokens: Literal["first", "all"] = "first"

    @property
    def name(self) -> str:
        """A name for files and messages."""
        if self.what == "logits":
            return "logits"
        return f"cls-{self.layer}" if self.tokens == "first" else f"states-{self.layer}"


LOGITS = Output("logits")


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the run's device. `inputs`: the model's arguments, tensors (batch, length).

    `labels`: (batch,) int64 class ids, or float32 values for a regression task. `outputs`: the predecessor's outputs
    for these examples, as the method's `needs` lists them. `first`: the position (batch,) of each example's first token
    where the runner lays the examples end to end inside the model; None where it pads them.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    outputs: dict[Output, torch.Tensor]
    first: torch.Tensor | None = None

    def first_token(self, states: torch.Tensor) -> torch.Tensor:
        """The state of each example's first token (batch, hidden); `states` are those after an inner layer."""
        return states[:, 0] if self.first is None else states[0, self.first]

    def all_tokens(self, states: torch.Tensor) -> torch.Tensor:
        """The states of all tokens without padding (tokens, hidden), in the order of an `Output` of all tokens.
        `states` (batch, length, hidden) are those after any layer: the runner pads the batches of such a method."""
        return states[self.inputs["attention_mask"].bool()]

    def example_mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over the examples of each example's mean over its tokens, a scalar; `values` (tokens,) have the
        order of `all_tokens`. A mean over tokens would depend on how the batch is divided into micro-batches."""
        lengths = self.inputs["attention_mask"].sum(1)
        example = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)
        return (torch.zeros_like(values[: len(lengths)]).index_add(0, example, values) / lengths).mean()


@dataclass(frozen=True)
class Given:
    """The runner's input to `build`.

    `predecessor()` and `pretrained()` each load a fresh model: the fine-tuned predecessor, and the encoder that the arm
    starts from (the suite's, or a compressed one of its own) under the seed's untrained head. `layers`: depth of the
    successor. `gates_seed`: seed of the replacement draws. `steps`: planned optimizer steps.
    """

    predecessor: Callable[[], Any]
    pretrained: Callable[[], Any]
    layers: int
    gates_seed: int
    steps: int


@dataclass(frozen=True)
class Stage:
    """A part of a run with its own optimizer and learning-rate schedule, from optimizer step `start` to the next stage.
    `learning_rate`: its peak (None: the run's)."""

    start: int = 0
    learning_rate: float | None = None


class Method(BaseModel, ABC):
    """A way to make a successor. The defaults fine-tune the whole model; subclasses override what differs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    def needs(self, encoder: int, layers: int) -> frozenset[Output]:
        """The predecessor's outputs that it trains with, for a predecessor of `encoder` layers and a successor of
        `layers`."""
        return frozenset()

    @property
    def uses_predecessor(self) -> bool:
        """Whether the run takes a predecessor as input, for its outputs or in `build`."""
        return False

    @property
    def own_encoder(self) -> bool:
        """Whether the arm starts from a model of its own, which it names as its `encoder`."""
        return False

    @property
    def trains(self) -> Parts:
        """The parts of the model that train from the first step; the planner checks `parameters` against them."""
        return frozenset(PARTS)

    def trained_layers(self, encoder: int, layers: int) -> int:
        """The number of layers that train, if "layers" is among `trains`."""
        return layers

    def depth(self, encoder: int, layers: int) -> int:
        """Layers of the resulting model, for an encoder of `encoder` layers and a suite that asks for `layers`."""
        return layers

    def check(self, encoder: int, layers: int) -> None:
        """Raises `ValueError` for options that do not fit these depths."""
        if not self.own_encoder and not 0 < layers < encoder:
            raise ValueError(f"a successor of {layers} layers is not shallower than the encoder, which has {encoder}")

    @abstractmethod
    def build(self, given: Given) -> nn.Module:
        """The model that trains. The result of `model(**inputs)` has `.logits`."""

    def stack(self, model: nn.Module) -> nn.ModuleList:
        """The layers of the model that trains, in call order."""
        return find_blocks(model).layers

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """The parameters that the optimizer moves."""
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def clipped(self, model: nn.Module) -> list[nn.Parameter]:
        """The parameters whose gradients are clipped; the norm is taken over all of them."""
        return self.parameters(model)

    @property
    def keeps_gradients(self) -> bool:
        """Whether gradients are set to zero between steps instead of removed. If so, Adam's momentum also moves a
        parameter in steps in which no gradient reached it."""
        return False

    def stages(self, steps: int) -> list[Stage]:
        """The stages of a run of that many optimizer steps; the first starts at 0."""
        return [Stage()]

    def begin_stage(self, model: nn.Module, index: int) -> None:
        """Called before stage `index` makes its optimizer."""

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The mean of the examples' losses over the micro-batch, a scalar. The runner weights micro-batches by their
        number of examples, so that they add up to the batch's loss."""
        return task_loss(model(**batch.inputs).logits, batch.labels)

    def after_step(self, model: nn.Module) -> None:
        """Called after every optimizer step."""

    def state(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """The state that a resumed run needs besides weights and optimizer: generators, draws, counters."""
        return {}

    def restore(self, model: nn.Module, state: dict[str, torch.Tensor]) -> None:
        """Continue from what `state` returned."""

    def replacing_rate(self, model: nn.Module) -> float | None:
        """p(t) of the current step, for methods that have a replacing rate."""
        return None

    def successor(self, model: nn.Module) -> Any:
        """The plain transformers model to keep, in eval mode."""
        return model.eval()

    def warning(self, steps: int) -> str | None:
        """A warning about these settings for a run of that many optimizer steps, or None."""
        return None

    def work(self, encoder: int, layers: int, steps: int) -> float:
        """The cost of training on one example; the unit is one layer's forward pass. A backward pass counts as two: one
        for the gradients of the weights, and one for the gradient of the input, if something below trains."""
        return 3.0 * self.depth(encoder, layers)
