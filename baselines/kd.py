"""Vanilla knowledge distillation (Hinton et al. 2015): (1 - alpha) * task loss + alpha * T^2 * KL to the
teacher.

The teacher is the predecessor in eval mode, the student what plain fine-tuning starts from. A regression task
has no distribution to soften: there the student's output follows the teacher's by MSE, with the same alpha.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from baselines.finetune import bottom_layers
from baselines.losses import distillation_loss, task_loss
from baselines.method import Batch, Given, Method


def kd_loss(
    logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor, alpha: float, temperature: float
) -> torch.Tensor:
    """The mixed loss; `logits` and `teacher` are (batch, classes), or (batch, 1) for float `labels` (batch,)."""
    if labels.is_floating_point():
        soft = F.mse_loss(logits.float(), teacher.float())
    else:
        soft = distillation_loss(logits, teacher, temperature)
    return (1.0 - alpha) * task_loss(logits, labels) + alpha * soft


class KD(Method):
    """alpha weighs the teacher against the labels; T softens both distributions (PKD's grid: 5, 10, 20)."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    uses_predecessor: ClassVar[bool] = True

    alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.7
    temperature: Annotated[float, Field(gt=0.0)] = 10.0

    def build(self, given: Given) -> nn.Module:
        return bottom_layers(given)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = model(**batch.inputs).logits
        return kd_loss(logits, batch.labels, batch.outputs["logits"], self.alpha, self.temperature)


METHOD = KD
