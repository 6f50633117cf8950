"""What DistributedDataParallel needs of a model that trains nothing in some steps.

A forward pass arms DDP's reducer, and the first gradient that arrives lets it work. If no module was drawn, no gradient
arrives, and the reducer stays armed. Where gradients are accumulated, it then takes the next step's first micro-batch,
which is not to be reduced, for its own, and fails ("Expected to mark a variable ready only once"; torch 2.13). So in
such a step one weight takes part with the factor 0, and its gradient of zeros is removed before the optimizer sees it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from theseus.gates.module import GatedModule
from theseus.models.outputs import hidden_of, with_hidden
from theseus.replacing import Theseus


class ZeroGradient:
    """Gives every step at least one gradient."""

    def __init__(self, theseus: Theseus) -> None:
        last = [module for module in theseus.stack if isinstance(module, GatedModule)][-1]
        self.weight = min(last.successor.parameters(), key=nn.Parameter.numel)
        self._modules = [module for module in theseus.stack if isinstance(module, GatedModule)]
        self._hook = last.register_forward_hook(self._link)

    def _link(self, module: nn.Module, _: Any, output: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()) or any(gated.share for gated in self._modules):
            return output
        hidden = hidden_of(output)
        return with_hidden(output, hidden + 0.0 * self.weight.sum().to(hidden.dtype))

    def clear(self) -> None:
        """Call this before the optimizer's step: a weight without a gradient is one that the optimizer skips."""
        if self.weight.grad is not None and not self.weight.grad.any():
            self.weight.grad = None

    def remove(self) -> None:
        self._hook.remove()
