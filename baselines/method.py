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
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, PlainSerializer
from torch import nn
from torch.nn import functional as F

from baselines.parts.losses import distillation_loss, full_precision, task_loss
from theseus import PARTS, Part, find_blocks

# Sorted, because a set has no order and a run's id hashes the written value.
Parts = Annotated[frozenset[Part], PlainSerializer(sorted, return_type=list)]


@dataclass(frozen=True, order=True)
class Output:
    """An output of the predecessor that a method needs for every training example.

    `what`: the "logits" (a row an example, or a token if the task labels tokens), or the hidden "state" after `layer`
    (1-based). The state is that of each example's first token (examples, hidden), of its last one if the model is
    causal, of each text's (examples, texts, hidden) if the model reads the texts of an example separately, or those of
    all its tokens without padding, one example after the other (tokens, hidden). The planner refuses a request that the
    runner cannot serve.
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


class Objective(ABC):
    """What one kind of task means to a method: its outputs, its own loss, and the distance that distillation minimises.

    A method asks its batch (`batch.loss(output)`, `batch.distance(output, temperature)`), and so trains every kind of
    task without naming one (benchmarks/tasks/kinds). A loss is a mean over the micro-batch's units: its examples, or
    its labelled tokens.
    """

    per_token: ClassVar[bool] = False
    """Whether an output is a row a token instead of a row an example."""
    classes: ClassVar[bool] = True
    """Whether each row of outputs is a choice of one: its largest is the answer."""
    separate: ClassVar[bool] = False
    """Whether the model reads each text of an example by itself."""
    causal: ClassVar[bool] = False
    """Whether a token sees only those before it."""
    live: ClassVar[bool] = False
    """Whether the predecessor runs in every step, because its logits are too large to keep."""
    at_once: ClassVar[int] = 64
    """Examples of an evaluation's batch."""

    def logits(self, output: Any) -> torch.Tensor:
        """The model's outputs (batch, outputs), or (batch, length, outputs) if they are per token."""
        logits: torch.Tensor = output.logits
        return logits

    def units(self, labels: torch.Tensor) -> int:
        """How many units the loss is a mean over; `labels` are those of the micro-batch, without padding."""
        return len(labels)

    def example_states(self, states: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The state (batch, hidden) that stands for each padded example: its first token's, or, if the model is causal,
        its last token's, the only one that has seen the whole example. (batch, texts, hidden) if the model reads the
        texts separately."""
        if not self.causal:
            return states[:, 0]
        last = inputs["attention_mask"].sum(1) - 1
        return states[torch.arange(len(states), device=states.device), last]

    def taught(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The rows of the predecessor's logits that `distance` takes, where it is `live`."""
        return logits

    def reduced(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What an evaluation keeps of `logits` (rows, outputs), whose `labels` are (rows, ...): (rows, columns)."""
        return logits

    @abstractmethod
    def loss(self, output: Any, batch: Batch) -> torch.Tensor:
        """The task's own loss, a scalar."""

    @abstractmethod
    def distance(self, output: Any, batch: Batch, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """The distance to the predecessor's logits `teacher`: one row an example, or a token without padding, or what
        `taught` takes of them."""


class PerExample(Objective):
    """One label an example: cross entropy for class ids, squared error for float values."""

    def loss(self, output: Any, batch: Batch) -> torch.Tensor:
        return task_loss(output.logits, batch.labels)

    def distance(self, output: Any, batch: Batch, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """T^2 * KL; a regression task has no distribution to soften, so there it is the squared error."""
        if batch.labels.is_floating_point():
            return F.mse_loss(full_precision(output.logits), full_precision(teacher))
        return distillation_loss(output.logits, teacher, temperature)


ONE_LABEL = PerExample()


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the run's device. `inputs`: the model's arguments, tensors (batch, length).

    `labels`: (batch,) int64 class ids, or float32 values for a regression task; other kinds of task have their own,
    such as a class id for each token (batch, length). `outputs`: the predecessor's outputs for these examples, as the
    method's `needs` lists them. `first`: the position (batch,) of each example's first token where the runner lays the
    examples end to end inside the model; None where it pads them. `objective`: the losses of the task's kind.
    `weight`: the micro-batch's share of the step's units, by which the runner weights its loss; `share`: its share of
    the step's examples. They differ only for tasks that label tokens.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    outputs: dict[Output, torch.Tensor]
    first: torch.Tensor | None = None
    objective: Objective = ONE_LABEL
    weight: float = 1.0
    share: float = 1.0

    def loss(self, output: Any) -> torch.Tensor:
        """The task's own loss of a model's `output`, a scalar."""
        return self.objective.loss(output, self)

    def distance(self, output: Any, temperature: float) -> torch.Tensor:
        """What distillation minimises: the distance of a model's `output` to the predecessor's logits, a scalar."""
        return self.objective.distance(output, self, self.outputs[LOGITS], temperature)

    def per_example(self, mean: torch.Tensor) -> torch.Tensor:
        """A mean over examples, so that it counts as one although the runner weights this batch by its units."""
        return mean if self.weight == self.share else mean * (self.share / self.weight)

    def first_token(self, states: torch.Tensor) -> torch.Tensor:
        """The state that stands for each example (`Objective.example_states`), with the shape that an `Output` of first
        tokens has; `states` are those after an inner layer."""
        if self.first is not None:
            return states[0, self.first]
        return self.objective.example_states(states, self.inputs)

    def all_tokens(self, states: torch.Tensor) -> torch.Tensor:
        """The states of all tokens without padding (tokens, hidden), in the order of an `Output` of all tokens.
        `states` (batch, length, hidden) are those after any layer: the runner pads the batches of such a method."""
        return states[self.inputs["attention_mask"].bool()]

    def example_mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over the examples of each example's mean over its tokens, a scalar; `values` (tokens,) have the
        order of `all_tokens`. A mean over tokens would depend on how the batch is divided into micro-batches."""
        lengths = self.inputs["attention_mask"].sum(1)
        example = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)
        mean = (torch.zeros_like(values[: len(lengths)]).index_add(0, example, values) / lengths).mean()
        return self.per_example(mean)


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
        """The loss of the micro-batch, a scalar: a mean over its units (examples, or labelled tokens). The runner
        weights micro-batches by their units, so that they add up to the batch's loss."""
        return batch.loss(model(**batch.inputs))

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
