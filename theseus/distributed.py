"""What DistributedDataParallel needs of a model that trains nothing, or not everything, in some steps.

A forward pass arms DDP's reducer, and the first gradient that arrives lets it work. If no module was drawn, no gradient
arrives, and the reducer stays armed. Where gradients are accumulated, it then takes the next step's first micro-batch,
which is not to be reduced, for its own, and fails ("Expected to mark a variable ready only once"; torch 2.13). So in
such a step one weight takes part with the factor 0, and its gradient of zeros is removed before the optimizer sees it.
With gradient checkpointing Trainer switches off DDP's search for weights that were not used. Then all weights of every
module that was not drawn take part in this way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from theseus.gates.module import GatedModule
from theseus.models.outputs import hidden_of, with_hidden
from theseus.replacing import Theseus


class ZeroGradient:
    """Gives every step at least one gradient; `every`: gives every weight one."""

    def __init__(self, theseus: Theseus, every: bool) -> None:
        self._modules = [module for module in theseus.stack if isinstance(module, GatedModule)]
        self._every = every
        self._hook = self._modules[-1].register_forward_hook(self._link)

    def _idle(self) -> list[nn.Parameter]:
        """The weights that take part with the factor 0 in this step."""
        idle = [module for module in self._modules if not module.share]
        if not self._every and len(idle) < len(self._modules):
            return []
        weights = [weight for module in idle for weight in module.successor.parameters() if weight.requires_grad]
        return weights if self._every else [min(weights, key=nn.Parameter.numel)]

    def _link(self, module: nn.Module, _: Any, output: Any) -> Any:
        if not (module.training and torch.is_grad_enabled() and (idle := self._idle())):
            return output
        hidden = hidden_of(output)
        nothing: Any = sum(0.0 * weight.sum() for weight in idle)
        return with_hidden(output, hidden + nothing.to(hidden.dtype))

    def clear(self) -> None:
        """Call this before the optimizer's step: a weight without a gradient is one that the optimizer skips."""
        for weight in self._idle():
            if weight.grad is not None and not weight.grad.any():
                weight.grad = None

    def remove(self) -> None:
        self._hook.remove()
