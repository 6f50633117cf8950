"""Vanilla knowledge distillation (Hinton et al. 2015): (1 - alpha) * task loss + alpha * T^2 * KL to the teacher.

The teacher is the predecessor in eval mode; the student starts as in plain fine-tuning. A regression task has no
distribution to soften: there alpha weights the MSE between the student's and the teacher's outputs.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from baselines.method import LOGITS, Batch, Output
from baselines.parts.losses import distillation_loss, full_precision, task_loss
from baselines.parts.start import Shallow


def kd_loss(
    logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor, alpha: float, temperature: float
) -> torch.Tensor:
    """The mixed loss; `logits` and `teacher` are (batch, classes), or (batch, 1) for float `labels` (batch,)."""
    if labels.is_floating_point():
        soft = F.mse_loss(full_precision(logits), full_precision(teacher))
    else:
        soft = distillation_loss(logits, teacher, temperature)
    return (1.0 - alpha) * task_loss(logits, labels) + alpha * soft


class KD(Shallow):
    """Vanilla KD: (1 - alpha) * task loss + alpha * T^2 * KL to the teacher's softened distribution."""

    alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.7
    """Weight of the teacher against the labels."""
    temperature: Annotated[float, Field(gt=0.0)] = 10.0
    """T, which softens both distributions (the PKD paper's grid: 5, 10, 20)."""

    @property
    def uses_predecessor(self) -> bool:
        return True

    def needs(self, encoder: int, layers: int) -> frozenset[Output]:
        return frozenset({LOGITS})

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = model(**batch.inputs).logits
        return kd_loss(logits, batch.labels, batch.outputs[LOGITS], self.alpha, self.temperature)


METHOD = KD
