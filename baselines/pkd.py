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

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"logits", "cls"})

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        output = model(**batch.inputs, output_hidden_states=True)
        loss = kd_loss(output.logits, batch.labels, batch.outputs["logits"], self.alpha, self.temperature)
        cls = torch.stack([state[:, 0] for state in output.hidden_states[1:]], dim=1)
        teacher = batch.outputs["cls"]
        chosen = layer_map(teacher.shape[1], cls.shape[1], self.layers)
        if not chosen:  # a one-layer student has no intermediate layer
            return loss
        return loss + self.beta * patient_loss(cls[:, :-1], teacher[:, [j - 1 for j in chosen]])


METHOD = PKD
