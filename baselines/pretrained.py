"""An already compressed encoder, fine-tuned on the task or distilled from the predecessor's logits.

It gives the paper's other rows (DistilBERT, PD-BERT) and later models (TinyBERT-6L, MiniLM-6L). The arm names the
checkpoint. The same method fine-tunes a successor that was compressed on another task (table 4).
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from baselines.method import LOGITS, Batch, Given, Method, Output
from baselines.parts.losses import mixed


class Pretrained(Method):
    """An already compressed checkpoint, fine-tuned or distilled into. The arm must name its `encoder`."""

    alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """0 is plain fine-tuning; above it, vanilla KD with the predecessor as teacher."""
    temperature: Annotated[float, Field(gt=0.0)] = 10.0
    """T of that distillation."""

    @property
    def own_encoder(self) -> bool:
        return True

    @property
    def uses_predecessor(self) -> bool:
        return self.alpha > 0

    def needs(self, encoder: int, layers: int) -> frozenset[Output]:
        return frozenset({LOGITS}) if self.alpha > 0 else frozenset()

    def build(self, given: Given) -> nn.Module:
        model: nn.Module = given.pretrained()
        return model

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        output = model(**batch.inputs)
        if self.alpha == 0:
            return batch.loss(output)
        return mixed(batch.loss(output), batch.distance(output, self.temperature), self.alpha)


METHOD = Pretrained
