"""BERT-PKD, patient knowledge distillation (Sun et al., EMNLP-IJCNLP 2019, arXiv 1908.09355).

Vanilla KD plus beta * MSE between L2-normalised [CLS] states of matched intermediate layers. The student's last
layer is left to KD. Two layer maps: *skip* spreads the teacher's layers evenly (12 to 6: 2, 4, 6, 8, 10),
*last* takes those below its top one (12 to 6: 7 to 11).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from baselines.kd import KD, kd_loss
from baselines.losses import patient_loss
from baselines.method import Batch


def layer_map(teacher: int, student: int, kind: Literal["skip", "last"]) -> list[int]:
    """Teacher layers (1-based, length student - 1) that the student's layers 1 .. student - 1 follow.

    Where depths do not divide, *skip* rounds down: 12 to 5 gives 2, 4, 7, 9. Raises `ValueError` for a student
    that is not shallower than its teacher.
    """
    if not 0 < student < teacher:
        raise ValueError(f"a student of {student} layers cannot follow a teacher of {teacher}")
    if kind == "skip":
        return [j * teacher // student for j in range(1, student)]
    return list(range(teacher - student + 1, teacher))


class PKD(KD):
    """beta weighs the patient loss; their grid is 10 to 1000."""

    beta: Annotated[float, Field(ge=0.0)] = 100.0
    layers: Literal["skip", "last"] = "skip"

    def needs(self, encoder: int, layers: int) -> frozenset[str]:
        return frozenset({"logits", *(f"cls-{layer}" for layer in layer_map(encoder, layers, self.layers))})

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        output = model(**batch.inputs, output_hidden_states=True)
        loss = kd_loss(output.logits, batch.labels, batch.outputs["logits"], self.alpha, self.temperature)
        inner = output.hidden_states[1:-1]  # below the embeddings' and the last layer's, which is left to KD
        if not inner:  # a one-layer student has no intermediate layer
            return loss
        cls = torch.stack([batch.first_token(states) for states in inner], dim=1)
        names = sorted(batch.outputs.keys() - {"logits"}, key=lambda name: int(name.removeprefix("cls-")))
        teacher = torch.stack([batch.outputs[name] for name in names], dim=1)
        return loss + self.beta * patient_loss(cls, teacher)


METHOD = PKD
