"""Progressive module replacing: one model in which every module is either predecessor or successor.

The predecessor's n layers are split into `layers` modules of n / layers consecutive layers. Each module gets one
successor layer, by default a copy of one of the predecessor's first layers (as in the released code). In training every
module is drawn independently, once per optimizer step: with probability p(t) its successor layer runs, otherwise its
frozen predecessor layers run (paper section 3.1). Only successor layers are trained, and in `eval()` only they run.

Where the paper and its released code differ, or say nothing, there is a switch; docs/fidelity.md lists them.

The gates depend on no architecture: the model's ModuleList of n layers is exchanged for one of `layers` gated modules.
The model calls each of them exactly as it called a layer, so masks, position ids and all other arguments reach the
layers unchanged.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Sequence
from typing import Any, Literal

import torch
from torch import nn

from theseus.blocks import PARTS, Part, find_blocks, parameters_around, set_depth
from theseus.errors import TheseusError
from theseus.rates import Rate, unreached_warning
from theseus.shallow import Choice, check_indices, choose_layers, with_layers

LAYERS_ONLY: tuple[Part, ...] = ("layers",)


class GatedModule(nn.Module):
    """n consecutive predecessor layers and the one successor layer that replaces them.

    `share` is the successor's part of the output in training: 1 if the module is replaced, 0 if not; a value in between
    blends both. At 0 and 1 only one branch runs. An undrawn module's successor layer then gets no gradient, but its
    frozen predecessor layers still pass gradients down to successor layers below them. `last`: no replaceable module
    comes after this one.
    """

    def __init__(self, predecessor: Sequence[nn.Module], successor: nn.Module, last: bool) -> None:
        super().__init__()
        self.predecessor = nn.ModuleList(predecessor)
        self.successor = successor
        self.share = 1.0
        self.last = last

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """The model calls this as it calls a layer; `hidden_states` is (batch, length, hidden)."""
        if self.share == 1.0 or not self.training:
            return self.successor(hidden_states, *args, **kwargs)
        old: Any = hidden_states
        for layer in self.predecessor:
            old = layer(old[0] if isinstance(old, tuple) else old, *args, **kwargs)
        if self.share == 0.0:
            return self._rooted(old) if self.last else old
        return self._blended(old, self.successor(hidden_states, *args, **kwargs))

    def _blended(self, old: Any, new: Any) -> Any:
        first_old, first_new = (value[0] if isinstance(value, tuple) else value for value in (old, new))
        mixed = torch.lerp(first_old, first_new, self.share)
        return (mixed, *new[1:]) if isinstance(new, tuple) else mixed

    @staticmethod
    def _rooted(output: Any) -> Any:
        """Make the last replaceable module's output a leaf if nothing up to this point is trained.

        If no module was drawn and the rest is frozen (12 % of all steps at p = 0.3 with six modules), the loss depends
        on no tensor that requires a gradient, and `loss.backward()` would raise an error. With a leaf, backward() ends
        here, is legal, and changes nothing. If a lower module was drawn or the embeddings train, the output already
        requires a gradient and is returned unchanged. (The released code back-propagates into the frozen weights.)
        """
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.requires_grad or not torch.is_grad_enabled():
            return output
        leaf = hidden.detach().requires_grad_()
        return (leaf, *output[1:]) if isinstance(output, tuple) else leaf


class Theseus:
    """BERT-of-Theseus around a fine-tuned `predecessor`, which is copied and never changed.

    `model` starts in train mode; in `eval()` it runs the successor.

    predecessor: a transformers model with one stack of identical blocks; its depth must be a multiple of `layers`.
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

    Raises `TheseusError` for a model without such a stack, for layers that share weights, and for a depth that is not a
    multiple of `layers`.
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
    ) -> None:
        depth = len(find_blocks(predecessor).layers)
        if not 0 < layers < depth or depth % layers:
            fitting = ", ".join(str(k) for k in range(depth - 1, 0, -1) if depth % k == 0)
            raise TheseusError(f"{depth} layers cannot be split into {layers} modules of equal size: use {fitting}")
        for name, given, known in (("mix", mix, ("draw", "blend")), ("draw", draw, ("step", "forward"))):
            if given not in known:
                raise TheseusError(f"unknown {name} {given!r}: use {' or '.join(known)}")
        if steps is not None and (message := unreached_warning(rate, steps)):
            warnings.warn(message, stacklevel=2)
        self._rate, self._mix, self._draw_at = rate, mix, draw
        self._frozen_gradients = frozen_gradients
        self._steps_done = 0
        self._assigned = False
        self._generator = torch.Generator(device="cpu").manual_seed(seed)
        self.model = copy.deepcopy(predecessor)
        self._modules = self._install(layers, self._sources(init, init_from or predecessor, layers), replace)
        self.train_parts(trainable)
        self._draw()
        self._hook = self.model.register_forward_pre_hook(self._before_forward)
        self.model.train()  # from_pretrained returns eval mode, in which gates and dropout do nothing

    def _sources(self, init: Choice | Sequence[int], model: nn.Module, layers: int) -> list[nn.Module]:
        blocks, own = find_blocks(model).layers, find_blocks(self.model).layers
        if [p.shape for p in blocks[0].parameters()] != [p.shape for p in own[0].parameters()]:
            raise TheseusError(
                f"init_from: the layers of {type(model).__name__} have other shapes than the predecessor's"
            )
        indices = choose_layers(init, len(blocks), layers)
        check_indices(indices, len(blocks))
        return [blocks[index] for index in indices]

    def _install(self, layers: int, sources: list[nn.Module], replace: Sequence[int] | None) -> list[GatedModule]:
        model: Any = self.model
        stack = find_blocks(model)
        blocks = list(stack.layers)
        size = len(blocks) // layers
        replaced = sorted(set(range(layers) if replace is None else replace))
        if not replaced or not 0 <= replaced[0] <= replaced[-1] < layers:
            raise TheseusError(f"cannot replace modules {replaced} of {layers}: use indices 0 to {layers - 1}")
        modules: list[GatedModule] = []
        entries: list[nn.Module] = []
        for i in range(layers):
            own = blocks[i * size : (i + 1) * size]
            if i in replaced:
                modules.append(GatedModule(own, copy.deepcopy(sources[i]), last=i == replaced[-1]))
                entries.append(modules[-1])
            else:
                entries += own
        self._stack = nn.ModuleList(entries)
        stack.replace(self._stack)
        # Some encoders loop over config.num_hidden_layers, so the config must give the length of the gated stack. A
        # key-value cache would be addressed by the predecessor's layer numbers, so the gated model keeps none.
        set_depth(model.config, len(entries))
        self._use_cache = getattr(model.config, "use_cache", None)
        if self._use_cache:
            model.config.use_cache = False
        return modules

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

    def _before_forward(self, model: nn.Module, _: Any) -> None:
        if model.training and self._draw_at == "forward" and not self._assigned:
            self._draw()

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
        layers = [entry.successor if isinstance(entry, GatedModule) else entry for entry in self._stack]
        self._hook.remove()  # or the copy of the model would include the hook and, through it, this whole object
        successor: Any = with_layers(self.model, self._stack, layers)
        self._hook = self.model.register_forward_pre_hook(self._before_forward)
        if self._use_cache is not None:
            successor.config.use_cache = self._use_cache
        return successor
