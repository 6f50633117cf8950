"""Progressive module replacing: one model in which every module is either predecessor or successor.

The predecessor's n layers are split into `layers` modules of n / layers consecutive layers. Each gets one
successor layer, a copy of one of the predecessor's first layers (as the released code does). In training every
module is drawn independently, once per optimizer step: replaced with probability p(t), else the frozen
predecessor layers run (paper section 3.1). Only successor layers are trained; in `eval()` only they run.

The trick that keeps this architecture-free: the model's ModuleList of n layers is exchanged for one of
`layers` gated modules, each called exactly as a layer is, so masks, position ids and whatever else a
transformers model hands to its layers pass through untouched.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from theseus.blocks import find_blocks, set_depth
from theseus.errors import TheseusError
from theseus.rates import Rate, unreached_warning
from theseus.shallow import with_layers


class GatedModule(nn.Module):
    """n consecutive predecessor layers and the one successor layer that stands in for them."""

    def __init__(self, predecessor: Sequence[nn.Module], successor: nn.Module, last: bool) -> None:
        super().__init__()
        self.predecessor = nn.ModuleList(predecessor)
        self.successor = successor
        self.replaced = True
        self.last = last

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Called as the model calls a layer; `hidden_states` is (batch, length, hidden)."""
        if self.replaced or not self.training:
            return self.successor(hidden_states, *args, **kwargs)
        output: Any = hidden_states
        for layer in self.predecessor:
            output = layer(output[0] if isinstance(output, tuple) else output, *args, **kwargs)
        return self._rooted(output) if self.last else output

    @staticmethod
    def _rooted(output: Any) -> Any:
        """Give backward() somewhere to start when no module was drawn and nothing before this point is trained.

        At p = 0.3 with six modules that is 12 % of all steps. The released code back-propagates into frozen
        weights there; here the output becomes a leaf, so that loss.backward() stays legal and changes nothing.
        """
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.requires_grad or not torch.is_grad_enabled():
            return output
        leaf = hidden.detach().requires_grad_()
        return (leaf, *output[1:]) if isinstance(output, tuple) else leaf


class Theseus:
    """BERT-of-Theseus around a fine-tuned `predecessor`, which is copied and stays as it was.

    `model` starts in train mode; in `eval()` it runs the successor.

    predecessor: a transformers model with one stack of identical blocks; its depth must be a multiple of
    `layers`. layers: depth of the successor. rate: p(t), see `theseus.rates`. seed: of the gates' own
    generator. steps: planned optimizer steps, if known; a rate that is not 1 by then is warned about.

    Raises `TheseusError` for a model without such a stack, with shared layers, or a depth that does not divide.
    """

    def __init__(
        self, predecessor: nn.Module, layers: int, rate: Rate, seed: int = 0, steps: int | None = None
    ) -> None:
        depth = len(find_blocks(predecessor).layers)
        if not 0 < layers < depth or depth % layers:
            fitting = ", ".join(str(k) for k in range(depth - 1, 0, -1) if depth % k == 0)
            raise TheseusError(f"{depth} layers cannot be split into {layers} modules of equal size: use {fitting}")
        if steps is not None and (message := unreached_warning(rate, steps)):
            warnings.warn(message, stacklevel=2)
        self._rate = rate
        self._steps_done = 0
        self._generator = torch.Generator().manual_seed(seed)
        self.model = copy.deepcopy(predecessor)
        self._modules = self._install(layers)
        self._draw()
        self.model.train()  # from_pretrained leaves eval mode, in which nothing is replaced and nothing dropped out

    def _install(self, layers: int) -> list[GatedModule]:
        model: Any = self.model
        model.requires_grad_(False)
        stack = find_blocks(model)
        blocks = list(stack.layers)
        size = len(blocks) // layers
        modules = []
        for i in range(layers):
            successor = copy.deepcopy(blocks[i]).requires_grad_(True)
            modules.append(GatedModule(blocks[i * size : (i + 1) * size], successor, last=i == layers - 1))
        self._stack = nn.ModuleList(modules)
        stack.replace(self._stack)
        # Some encoders loop over config.num_hidden_layers, and a key-value cache would be addressed by the
        # predecessor's layer numbers: the gated model is as deep as it has modules and keeps no cache.
        set_depth(model.config, layers)
        self._use_cache = getattr(model.config, "use_cache", None)
        if self._use_cache:
            model.config.use_cache = False
        return modules

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The successor layers' parameters; everything else is frozen with requires_grad=False."""
        return [parameter for module in self._modules for parameter in module.successor.parameters()]

    @property
    def rate(self) -> float:
        """p(t) for the step that is due."""
        p = float(self._rate(self._steps_done))
        if not 0.0 <= p <= 1.0:
            raise TheseusError(f"the replacing rate is {p!r} at step {self._steps_done}: it must be between 0 and 1")
        return p

    @property
    def gates(self) -> list[bool]:
        """This step's draw, one bool per module (True: replaced). Assigning overrides it until `step()`."""
        return [module.replaced for module in self._modules]

    @gates.setter
    def gates(self, gates: Sequence[bool]) -> None:
        if len(gates) != len(self._modules):
            raise TheseusError(f"{len(gates)} gates for {len(self._modules)} modules: give one bool per module")
        for module, replaced in zip(self._modules, gates, strict=True):
            module.replaced = bool(replaced)

    def _draw(self) -> None:
        draws = torch.rand(len(self._modules), generator=self._generator, dtype=torch.float64)
        self.gates = (draws < self.rate).tolist()

    def step(self) -> None:
        """After each optimizer step: t += 1, and the modules of the next step are drawn."""
        self._steps_done += 1
        self._draw()

    def successor(self) -> Any:
        """A plain model of the predecessor's class with `layers` layers, in eval mode, sharing no weight with this."""
        successor: Any = with_layers(self.model, self._stack, [module.successor for module in self._modules])
        if self._use_cache is not None:
            successor.config.use_cache = self._use_cache
        return successor
