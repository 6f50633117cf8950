"""Split a model's stack into modules and put gated modules in its place."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from torch import nn

from theseus.errors import TheseusError
from theseus.gates.module import GatedModule, Slot
from theseus.models.blocks import BlockStack, find_blocks, shapes_of
from theseus.models.configs import config_of, layer_types, matched_configs
from theseus.models.depth import Plan, plan
from theseus.models.shallow import Choice, check_indices, choose_layers


def split(depth: int, layers: int, sizes: Sequence[int] | None) -> list[range]:
    """The predecessor's layers of every module. Without `sizes` all modules have the same number."""
    if sizes is None:
        if not 0 < layers < depth or depth % layers:
            fitting = ", ".join(str(k) for k in range(depth - 1, 0, -1) if depth % k == 0)
            spread = [depth * (i + 1) // layers - depth * i // layers for i in range(layers)] if layers > 0 else []
            other = f", or name the size of each, e.g. sizes={spread}" if 0 < layers < depth else ""
            message = f"{depth} layers cannot be split into {layers} modules of equal size: use {fitting}{other}"
            raise TheseusError(message)
        sizes = [depth // layers] * layers
    if len(sizes) != layers or min(sizes) < 1 or sum(sizes) != depth or layers == depth:
        raise TheseusError(f"sizes={list(sizes)} must be {layers} numbers above 0 that add up to {depth} layers")
    return [range(start, end) for start, end in pairwise(accumulate(sizes, initial=0))]


def replaceable(replace: Sequence[int] | None, layers: int) -> list[int]:
    replaced = sorted(set(range(layers) if replace is None else replace))
    if not replaced or not 0 <= replaced[0] <= replaced[-1] < layers:
        raise TheseusError(f"cannot replace modules {replaced} of {layers}: use indices 0 to {layers - 1}")
    return replaced


def _sources(
    members: Sequence[range], init: Choice | Sequence[int], model: nn.Module, own: BlockStack
) -> tuple[list[nn.Module], list[int]]:
    """The layers of `model` whose weights the successor layers start with, and for each the layer of the predecessor
    that has its place: the same, or the first of the module if `model` has another depth."""
    blocks = find_blocks(model, own.path if own.path in dict(model.named_modules()) else None).layers
    if shapes_of(blocks[-1]) != shapes_of(own.layers[-1]):
        raise TheseusError(f"init_from: the layers of {type(model).__name__} have other shapes than the predecessor's")
    starts, alike = [layers[0] for layers in members], len(blocks) == len(own.layers)
    indices = starts if init == "interleaved" and alike else choose_layers(init, len(blocks), len(members))
    check_indices(indices, len(blocks))
    return [blocks[index] for index in indices], indices if alike else starts


def _stands_for(members: range, source: int, kinds: list[str] | None) -> int:
    """The layer of the module whose kind the successor layer gets: its source's, if the module has a layer of it."""
    if kinds is None:
        return source
    same = [layer for layer in members if kinds[layer] == kinds[source]]
    return source if source in members else same[0] if same else members[-1]


@dataclass
class Installed:
    """The gated modules of a model, and what its successor needs. `differ`: layers differ in kind, so that the gated
    model keeps its depth."""

    modules: list[GatedModule]
    stack: nn.ModuleList
    plan: Plan
    differ: bool
    before: list[tuple[str, str, Any]]

    def layers(self) -> list[nn.Module]:
        """The successor's layers, in order."""
        entries = [entry for entry in self.stack if not isinstance(entry, Slot)]
        return [entry.successor if isinstance(entry, GatedModule) else entry for entry in entries]

    def picked(self) -> list[int]:
        """Of the gated model's stack, as its configs count it, the layers that the successor's stand for."""
        return self.plan.picked if self.differ else list(range(len(self.stack)))


def install(
    model: nn.Module,
    path: str,
    members: Sequence[range],
    replaced: Sequence[int],
    init: Choice | Sequence[int],
    init_from: nn.Module,
) -> Installed:
    """Put gated modules into `model`, a copy of the predecessor that may be changed."""
    stack = find_blocks(model, path)
    blocks, kinds = list(stack.layers), layer_types(model, path, len(stack.layers))
    sources, places = _sources(members, init, init_from, stack)
    stands = [_stands_for(own, place, kinds) for own, place in zip(members, places, strict=True)]
    picked = [layer for i, own in enumerate(members) for layer in ([stands[i]] if i in replaced else own)]
    _warn_of_lost_kinds(kinds, picked)
    made = plan(model, stack, picked)
    entries: list[nn.Module] = []
    layer = 0
    for i, own in enumerate(members):
        olds = [blocks[index] for index in own]
        if i in replaced:
            new = made.fitting(layer, sources[i], blocks)
            new = made.place(copy.deepcopy(new, matched_configs(new, blocks[-1])), layer)
            entries += _gated(olds, new, i == replaced[-1], own.index(stands[i]) if kinds else None)
        else:
            entries += olds
        layer += 1 if i in replaced else len(own)
    gated = nn.ModuleList(entries)
    stack.replace(gated)
    if kinds is None:  # some encoders loop over config.num_hidden_layers: it must give the length of the gated stack
        made.write(model, len(blocks), picked)
    made.cut(model)
    modules = [entry for entry in entries if isinstance(entry, GatedModule)]
    return Installed(modules, gated, made, kinds is not None, _switch_off(model))


def _gated(olds: list[nn.Module], new: nn.Module, last: bool, kind: int | None) -> list[nn.Module]:
    """The entries of the stack for one module. `kind`: the place in it of a layer of the successor layer's kind, where
    layers differ in kind."""
    slots = [] if kind is None else [Slot(layer) for layer in olds[:-1]]
    return [*slots, GatedModule(olds, new, last, slots, -1 if kind is None else kind)]


def _warn_of_lost_kinds(kinds: list[str] | None, picked: Sequence[int]) -> None:
    lost = sorted(set(kinds) - {kinds[index] for index in picked}) if kinds else []
    if lost:
        message = f"no layer of the successor is of the kind {', '.join(lost)}: choose others with init=[...]"
        warnings.warn(message, stacklevel=4)


def _switch_off(model: nn.Module) -> list[tuple[str, str, Any]]:
    """Switch off what gates do not go with, and return what it was: a key-value cache, whose places are those of the
    successor's layers, and LayerDrop, which would skip modules on top of the draw."""
    before: list[tuple[str, str, Any]] = []
    for path, module in model.named_modules():
        for owner, place in ((module, path), (config_of(module), f"{path}.config".strip("."))):
            for name, value in list(vars(owner).items()) if owner is not None else ():
                if (name == "use_cache" or "layerdrop" in name) and value:
                    before.append((place, name, value))
                    setattr(owner, name, type(value)(0))
    return before


def switch_on(model: Any, before: Sequence[tuple[str, str, Any]]) -> None:
    """Give a successor what `_switch_off` took."""
    for path, name, value in before:
        owner = model
        for part in filter(None, path.split(".")):
            owner = getattr(owner, part)
        setattr(owner, name, value)
