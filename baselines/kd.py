"""Vanilla knowledge distillation (Hinton et al. 2015): (1 - alpha) * task loss + alpha * T^2 * KL to the teacher.

The teacher is the predecessor in eval mode; the student starts as in plain fine-tuning. A regression task has no
distribution to soften: there alpha weights the MSE between the student's and the teacher's outputs.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from baselines.method import LOGITS, Batch, Output
from baselines.parts.losses import mixed
from baselines.parts.start import Shallow


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
        output = model(**batch.inputs)
        return mixed(batch.loss(output), batch.distance(output, self.temperature), self.alpha)


METHOD = KD
