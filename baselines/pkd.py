"""BERT-PKD, patient knowledge distillation (Sun et al., EMNLP-IJCNLP 2019, arXiv 1908.09355).

The loss is that of vanilla KD plus beta * MSE between L2-normalised [CLS] states of matched intermediate layers. KD
alone trains the student's last layer. There are two layer maps: *skip* spreads the teacher's layers evenly (12 to 6: 2,
4, 6, 8, 10), *last* takes those below its top layer (12 to 6: 7 to 11).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from baselines.kd import KD
from baselines.method import LOGITS, Batch, Output
from baselines.parts.losses import mixed, patient_loss


def layer_map(teacher: int, student: int, kind: Literal["skip", "last"]) -> list[int]:
    """Teacher layers (1-based, length student - 1) that the student's layers 1 .. student - 1 follow.

    If the student's depth does not divide the teacher's, *skip* rounds down: 12 to 5 gives 2, 4, 7, 9. Raises
    `ValueError` for a student that is not shallower than its teacher.
    """
    if not 0 < student < teacher:
        raise ValueError(f"a student of {student} layers cannot follow a teacher of {teacher}")
    if kind == "skip":
        return [j * teacher // student for j in range(1, student)]
    return list(range(teacher - student + 1, teacher))


class PKD(KD):
    """Vanilla KD plus beta times the distance between [CLS] states of matched layers."""

    beta: Annotated[float, Field(ge=0.0)] = 100.0
    """Weight of that distance (the PKD paper's grid: 10 to 1000)."""
    layers: Literal["skip", "last"] = "skip"
    """The teacher's layers that are followed: spread evenly, or those below the top one."""

    def needs(self, encoder: int, layers: int) -> frozenset[Output]:
        return frozenset({LOGITS, *(Output("state", layer) for layer in layer_map(encoder, layers, self.layers))})

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        output = model(**batch.inputs, output_hidden_states=True)
        loss = mixed(batch.loss(output), batch.distance(output, self.temperature), self.alpha)
        inner = output.hidden_states[1:-1]  # without the embeddings, and without the last layer, which KD trains
        if not inner:  # a one-layer student has no intermediate layer
            return loss
        cls = torch.stack([batch.first_token(states) for states in inner], dim=1)
        followed = sorted(batch.outputs.keys() - {LOGITS})  # by layer
        teacher = torch.stack([batch.outputs[output] for output in followed], dim=1)
        return loss + self.beta * batch.per_example(patient_loss(cls, teacher))


METHOD = PKD
