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
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from baselines.losses import task_loss


@dataclass(frozen=True)
class Batch:
    """One micro-batch on the run's device. `inputs`: tensors (batch, length) as the model takes them.

    `labels`: (batch,) int64 class ids, or float32 values for a regression task. `outputs`: the predecessor's
    outputs for these examples, as the method's `needs` asked: "logits" (batch, classes) and "cls" (batch,
    layers, hidden), the hidden state of the first token after each predecessor layer.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    outputs: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Given:
    """What the runner hands to `build`.

    `predecessor()` and `pretrained()` load a fresh model each: the fine-tuned predecessor, and the pretrained
    encoder under the seed's untrained head. `layers`: depth of the successor. `gates_seed`: of the stream of
    replacement draws. `steps`: planned optimizer steps.
    """

    predecessor: Callable[[], Any]
    pretrained: Callable[[], Any]
    layers: int
    gates_seed: int
    steps: int


class Method(BaseModel, ABC):
    """A way to get a successor. Subclasses set the class variables and override what differs from fine-tuning."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    needs: ClassVar[frozenset[str]] = frozenset()  # predecessor outputs: of {"logits", "cls"}
    uses_predecessor: ClassVar[bool] = False  # build() calls given.predecessor, or `needs` is not empty
    full_depth: ClassVar[bool] = False  # keeps the encoder's depth instead of the successor's

    @abstractmethod
    def build(self, given: Given) -> nn.Module:
        """The model that trains; called as `model(**inputs)`, its result has `.logits`."""

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        """What the optimizer moves."""
        return [parameter for parameter in model.parameters() if parameter.requires_grad]

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean loss over the micro-batch, a scalar."""
        return task_loss(model(**batch.inputs).logits, batch.labels)

    def after_step(self, model: nn.Module) -> None:
        """Called after every optimizer step."""

    def replacing_rate(self, model: nn.Module) -> float | None:
        """p(t) of the step that is due, for methods that have one."""
        return None

    def successor(self, model: nn.Module) -> Any:
        """The plain transformers model to keep, in eval mode."""
        return model.eval()

    def warning(self, steps: int) -> str | None:
        """What a planner should say of these settings for that many optimizer steps, if anything."""
        return None
