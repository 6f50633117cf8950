"""The gradient of one batch, which dividing it must not change: what the tests of every kind of task compare."""

from __future__ import annotations

import torch

from benchmarks.training.dropout import MaskStream
from benchmarks.training.fit import Fit
from benchmarks.training.length_groups import LengthGroups
from benchmarks.training.step import backward


def gradient(fit: Fit, groups: int = 1, fits: bool | None = None) -> torch.Tensor:
    """That of all examples in one batch of `groups` length groups. `fits`: whether the model trains with them."""
    laid = LengthGroups(fit.model, fit.method.stack(fit.model), groups, MaskStream(), fit.tokens.objective)
    assert laid.fits == (groups > 1 if fits is None else fits)
    fit.model.train()
    backward(fit, torch.arange(len(fit.tokens)), laid)
    laid.close()
    return torch.cat([p.grad.flatten() for p in fit.model.parameters() if p.grad is not None])
