"""A warning for training loops that forget `theseus.step()`, and so train at the replacing rate of the first step."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

ENOUGH = 3  # changes of the weights without a step; loading weights is one such change


class StepWatch:
    """A forward pre-hook that sees an optimizer at work: a tensor counts the changes made to it in place."""

    def __init__(self) -> None:
        self.weights: list[nn.Parameter] = []
        self.warned = False
        self._seen: int | None = None
        self._changes = 0

    def stepped(self) -> None:
        self._changes = 0

    def __call__(self, model: nn.Module, _: Any) -> None:
        if torch.compiler.is_compiling() or self.warned or not (model.training and torch.is_grad_enabled()):
            return
        changes = sum(weight._version for weight in self.weights)
        self._changes += self._seen not in (None, changes)
        self._seen = changes
        if self._changes == ENOUGH:
            self.warned = True
            warnings.warn(
                f"the successor's weights have changed {ENOUGH} times without theseus.step(), so the replacing rate "
                "does not move. Call it after each optimizer step, or give Trainer a TheseusCallback",
                stacklevel=2,
            )
