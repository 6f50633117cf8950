"""Progressive module replacing: one model in which every module is either predecessor or successor.

The predecessor's n layers are split into `layers` modules of n / layers consecutive layers. Each module gets one
successor layer, by default a copy of one of the predecessor's first layers (as in the released code). In training every
module is drawn independently, once per optimizer step: with probability p(t) its successor layer runs, otherwise its
frozen predecessor layers run (paper section 3.1). Only successor layers are trained, and in `eval()` only they run.

Where the paper and its released code differ, or say nothing, there is a switch; docs/fidelity.md lists them.

The gates depend on no architecture: the model's ModuleList of n layers is exchanged for one of `layers` gated modules
(`theseus.gates`), which the model calls exactly as it called a layer.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Sequence
from typing import Any, Literal

import torch
from torch import nn

from theseus.errors import TheseusError
from theseus.gates.check import check_gated, warn_of_precision
from theseus.gates.generate import guard_generate, unguard_generate
from theseus.gates.installing import install, replaceable, split, switch_on
from theseus.models.blocks import find_blocks
from theseus.models.parts import PARTS, Part, parameters_around
from theseus.models.shallow import Choice, with_layers
from theseus.rates import Rate, unreached_warning

LAYERS_ONLY: tuple[Part, ...] = ("layers",)


def _known(name: str, given: str, *known: str) -> None:
    if given not in known:
        raise TheseusError(f"unknown {name} {given!r}: use {' or '.join(known)}")


class Theseus:
    """BERT-of-Theseus around a fine-tuned `predecessor`, which is copied and never changed.

    `model` starts in train mode; in `eval()` it runs the successor.

    predecessor: a transformers model with a stack of equal blocks; its depth must be a multiple of `layers`.
    layers: the number of modules. rate: p(t), see `theseus.rates`. seed: for the generator of the gates. steps: the
    planned optimizer steps, if known; a rate that does not reach 1 within them causes a warning.

    Switches (the default is the released code's unless noted):

    init, init_from: the layers that the successor layers are copied from (`theseus.choose_layers`), and their model
        (default: the predecessor; the paper says the pretrained encoder).
    trainable: any of "layers", "head" and "embeddings". The released code trains the successor layers alone.
    replace: indices of the modules that can be replaced (default: all). The others keep their predecessor layers, also
        in `eval()` and in the successor (paper table 5).
    mix: "draw" replaces a module with probability p(t). "blend" runs both versions of every module and adds p(t) of the
        successor's output to 1 - p(t) of the predecessor's (not in the paper).
    draw: "step" draws once per optimizer step (the paper: once per batch). "forward" draws at every forward pass in
        train mode, as the released code does; the two differ where a batch is split.
    frozen_gradients: let backward() compute gradients of frozen weights too. They move nothing, but the released code's
        clipping counts them (`clip_grad_norm_(theseus.model.parameters(), 1.0)`).
    sizes: the number of predecessor layers of each module, where they are not equal (12 to 8:
        `layers=8, sizes=[1, 2] * 4`).
    stack: the stack to compress, where the model has several: "encoder" or "decoder" of an encoder-decoder model.

    Before anything is trained, the successor's config is built on the meta device, and the gated model with nothing
    replaced is compared with the predecessor on a small generated input. Raises `TheseusError` for a model without such
    a stack, for one that does not pass these checks, and for a depth that is not a multiple of `layers`.
    """

    def __init__(
        self,
        predecessor: nn.Module,
        layers: int,
        rate: Rate,
        seed: int = 0,
        steps: int | None = None,
        *,
        init: Choice | Sequence[int] = "bottom",
        init_from: nn.Module | None = None,
        trainable: Collection[Part] = LAYERS_ONLY,
        replace: Sequence[int] | None = None,
        mix: Literal["draw", "blend"] = "draw",
        draw: Literal["step", "forward"] = "step",
        frozen_gradients: bool = False,
        sizes: Sequence[int] | None = None,
        stack: str | None = None,
    ) -> None:
        place = find_blocks(predecessor, stack)
        members = split(len(place.layers), layers, sizes)
        _known("mix", mix, "draw", "blend")
        _known("draw", draw, "step", "forward")
        if steps is not None and (message := unreached_warning(rate, steps)):
            warnings.warn(message, stacklevel=2)
        self._rate, self._mix, self._draw_at = rate, mix, draw
        self._frozen_gradients = frozen_gradients
        self._steps_done = 0
        self._assigned = False
        self._generator = torch.Generator(device="cpu").manual_seed(seed)
        self.model = copy.deepcopy(predecessor)
        replaced = replaceable(replace, layers)
        self._installed = install(self.model, place.path, members, replaced, init, init_from or predecessor)
        self._modules, self._stack = self._installed.modules, self._installed.stack
        check_gated(predecessor, self.model, place, self._modules)
        self.train_parts(trainable)
        warn_of_precision(self._trainable)
        self._draw()
        self._hook = self.model.register_forward_pre_hook(self._before_forward, with_kwargs=True)
        guard_generate(self.model, self._cacheless)
        self.model.train()  # from_pretrained returns eval mode, in which gates and dropout do nothing

    @property
    def _cacheless(self) -> bool:
        """Whether the layers of the gated model have other places in a key-value cache than the successor's."""
        return self._installed.differ or len(self._modules) < len(self._stack)

    def train_parts(self, parts: Collection[Part]) -> None:
        """From now on train `parts`, any of "layers" (the successor's), "head" and "embeddings"; freeze the rest."""
        if wrong := set(parts) - set(PARTS):
            raise TheseusError(f"unknown parts {sorted(wrong)}: use {', '.join(PARTS)}")
        found = parameters_around(self.model, self._stack)
        found["layers"] = [parameter for module in self._modules for parameter in module.successor.parameters()]
        self.model.requires_grad_(self._frozen_gradients)
        self._trainable = [parameter for part in PARTS if part in parts for parameter in found[part]]
        for parameter in self._trainable:
            parameter.requires_grad_(True)

    @property
    def stack(self) -> nn.ModuleList:
        """The gated model's layers in call order: gated modules, and the predecessor layers that are never replaced."""
        return self._stack

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The parameters that train: by default those of the successor layers."""
        return list(self._trainable)

    @property
    def rate(self) -> float:
        """p(t) for the current step, the one that the next `step()` ends."""
        p = float(self._rate(self._steps_done))
        if not 0.0 <= p <= 1.0:
            raise TheseusError(f"the replacing rate is {p!r} at step {self._steps_done}: it must be between 0 and 1")
        return p

    @property
    def gates(self) -> list[bool]:
        """This step's draw, one bool per replaceable module (True: replaced). Assigning overrides it until `step()`. A
        blend has no gates: reading or assigning them raises `TheseusError`."""
        self._refuse_blend()
        return [module.share == 1.0 for module in self._modules]

    @gates.setter
    def gates(self, gates: Sequence[bool]) -> None:
        self._refuse_blend()
        if len(gates) != len(self._modules):
            raise TheseusError(f"{len(gates)} gates for {len(self._modules)} modules: give one bool per module")
        self._assigned = True
        self._set(gates)

    def _set(self, gates: Sequence[bool]) -> None:
        for module, replaced in zip(self._modules, gates, strict=True):
            module.share = 1.0 if replaced else 0.0

    def _refuse_blend(self) -> None:
        if self._mix == "blend":
            raise TheseusError("a blend draws no gates: both versions of a module run; `rate` is the successor's share")

    def _draw(self) -> None:
        if self._mix == "blend":
            for module in self._modules:
                module.share = self.rate
            return
        draws = torch.rand(len(self._modules), generator=self._generator, dtype=torch.float64, device="cpu")
        self._set((draws < self.rate).tolist())

    def _before_forward(self, model: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        if model.training and self._draw_at == "forward" and not self._assigned:
            self._draw()
        if kwargs.get("use_cache") and (model.training or self._cacheless):
            return args, {**kwargs, "use_cache": False}
        return None

    def step(self) -> None:
        """Call this after each optimizer step: it adds 1 to t and draws the modules of the next step.

        A module that was not drawn has no gradient after `zero_grad()`, so the optimizer skips it. In the torch of 2020
        its gradient stayed a tensor of zeros, and Adam's momentum went on moving it; `zero_grad(set_to_none=False)`
        reproduces that (docs/fidelity.md, trap 7).
        """
        self._steps_done += 1
        self._assigned = False
        if self._draw_at == "step" or self._mix == "blend":
            self._draw()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The state that the model's weights do not hold: the step, this step's draw, and the gates' generator."""
        shares = [module.share for module in self._modules]
        return {
            "step": torch.tensor(self._steps_done),
            "assigned": torch.tensor(self._assigned),
            "shares": torch.tensor(shares, dtype=torch.float64),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from a `state_dict`; load the weights through `model`."""
        self._steps_done, self._assigned = int(state["step"]), bool(state["assigned"])
        for module, share in zip(self._modules, state["shares"].tolist(), strict=True):
            module.share = share
        self._generator.set_state(state["generator"])

    def successor(self) -> Any:
        """A plain model of the predecessor's class, in eval mode, that shares no weight with this one. It has `layers`
        layers, or more if only some modules are replaced."""
        made = self._installed
        self._hook.remove()  # or the copy of the model would include the hook and, through it, this whole object
        unguard_generate(self.model)
        successor: Any = with_layers(self.model, made.layers(), made.plan, made.picked())
        self._hook = self.model.register_forward_pre_hook(self._before_forward, with_kwargs=True)
        guard_generate(self.model, self._cacheless)
        switch_on(successor, made.before)
        return successor
