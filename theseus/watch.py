"""A warning for training loops that forget `theseus.step()`, and so train at the replacing rate of the first step."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

CHANGES = 2  # of the weights; loading a checkpoint is one
PASSES = 256  # where the first draw left every module out, no weight ever changes


class StepWatch:
    """A forward pre-hook that looks for changed weights until `step()` is first called. It looks at the 1st, 2nd, 4th,
    8th... pass in training only, because a look costs a GPU's pipeline a stop. (A tensor's own count of its changes
    would cost nothing, but fused optimizers pass it by.)"""

    def __init__(self) -> None:
        self.weights: list[nn.Parameter] = []
        self.done = False
        self._seen: torch.Tensor | None = None
        self._passes = self._changes = 0

    def __call__(self, model: nn.Module, _: Any) -> None:
        if torch.compiler.is_compiling() or self.done or not (model.training and torch.is_grad_enabled()):
            return
        self._passes += 1
        if self._passes & (self._passes - 1) == 0:
            self._look()

    def _look(self) -> None:
        now = torch.tensor([float(weight.detach().flatten()[0]) for weight in self.weights])
        self._changes += self._seen is not None and not torch.equal(now, self._seen)
        self._seen = now
        if self._changes == CHANGES or self._passes == PASSES:
            self.done = True
            warnings.warn(
                f"{self._passes} training passes without theseus.step(): rate and draw stay what they are. Call it "
                "after each optimizer step, or give Trainer a TheseusCallback",
                stacklevel=3,
            )
