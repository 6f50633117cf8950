"""An already compressed encoder, fine-tuned on the task, or distilled into from the predecessor's logits.

The paper's other rows: DistilBERT, PD-BERT, and what came after it (TinyBERT-6L, MiniLM-6L). The suite names the
checkpoint beside the arm. The same method fine-tunes a successor that was compressed on another task (table 4).
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from baselines.kd import kd_loss
from baselines.losses import task_loss
from baselines.method import Batch, Given, Method


class Pretrained(Method):
    """alpha 0 is plain fine-tuning; above it, vanilla KD with the predecessor as teacher."""

    alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    temperature: Annotated[float, Field(gt=0.0)] = 10.0

    @property
    def own_encoder(self) -> bool:
        return True

    @property
    def uses_predecessor(self) -> bool:
        return self.alpha > 0

    def needs(self, encoder: int, layers: int) -> frozenset[str]:
        return frozenset({"logits"}) if self.alpha > 0 else frozenset()

    def build(self, given: Given) -> nn.Module:
        model: nn.Module = given.pretrained()
        return model

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = model(**batch.inputs).logits
        if self.alpha == 0:
            return task_loss(logits, batch.labels)
        return kd_loss(logits, batch.labels, batch.outputs["logits"], self.alpha, self.temperature)


METHOD = Pretrained
