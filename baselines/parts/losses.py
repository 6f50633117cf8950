"""The losses of the baselines, each a mean over the examples of a micro-batch.

The mean is over examples alone, so that micro-batches weighted by their size add up to the loss of the batch. Losses
are computed in float32 or better, whatever the autocast.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def full_precision(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in float32, unless it is already that precise or more."""
    return tensor.float() if tensor.itemsize < 4 else tensor


def task_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy of `logits` (batch, classes) for int labels (batch,); MSE of (batch, 1) for float labels."""
    if labels.is_floating_point():
        return F.mse_loss(full_precision(logits).squeeze(-1), labels)
    return F.cross_entropy(full_precision(logits), labels)


def distillation_loss(logits: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(logits / T)), the mean over the batch (Hinton et al. 2015, section 2).

    `logits` and `teacher` are (batch, classes). The released PKD code takes the mean over batch x classes instead,
    which halves the term for two classes.
    """
    student = F.log_softmax(full_precision(logits) / temperature, dim=-1)
    target = F.log_softmax(full_precision(teacher) / temperature, dim=-1)
    return F.kl_div(student, target, reduction="batchmean", log_target=True) * temperature**2


def mixed(own: torch.Tensor, distance: torch.Tensor, alpha: float) -> torch.Tensor:
    """(1 - alpha) * the task's own loss + alpha * the distance to the predecessor."""
    return (1.0 - alpha) * own + alpha * distance


def patient_loss(states: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """MSE between L2-normalised [CLS] states, both (batch, layers, hidden) (Sun et al. 2019, section 3.2).

    The mean runs over batch, layers and hidden units, as in their released code. Their equation sums instead, which is
    why beta is in the hundreds here.
    """
    return F.mse_loss(F.normalize(full_precision(states), dim=-1), F.normalize(full_precision(teacher), dim=-1))
