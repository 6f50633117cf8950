"""Plan a model of another depth: what its configs must say, and what its layers must know of their place.

The plan is checked before anything is trained: the smaller model is built from its written config on the meta device,
which holds shapes and no values, and its shapes are compared with those of the weights that it will get.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from theseus.errors import TheseusError
from theseus.models.blocks import BlockStack, shapes_of
from theseus.models.configs import copied_configs, shorten, stack_configs
from theseus.models.probing import outermost, undisturbed

Attributes = dict[tuple[str, str], Any]  # by a module's path in its block, and a name
PLAIN = (bool, int, float, str, tuple, type(None))
NO_PLACE = ("training", "gradient_checkpointing")


@dataclass
class Plan:
    """How a stack of `depth` layers becomes one whose layer i stands where the layer `picked[i]` stood.

    places: what each new layer must know of its place. shapes: the weights each must have; None if the model could
    not be built from its config. slices: weights outside the stack with one slice per layer, and the axis.
    """

    path: str
    depth: int
    picked: list[int]
    lists: bool = True
    places: list[Attributes] = field(default_factory=list)
    shapes: list[dict[str, tuple[int, ...]]] | None = None
    slices: dict[str, int] = field(default_factory=dict)

    def place(self, block: nn.Module, index: int) -> nn.Module:
        """Tell a block that it is layer `index` of the new stack."""
        modules = dict(block.named_modules())
        for (path, name), value in self.places[index].items():
            if path in modules:
                setattr(modules[path], name, value)
        return block

    def fitting(self, index: int, source: nn.Module, blocks: Sequence[nn.Module]) -> nn.Module:
        """A layer with the weights of `source`, which may be of another model than `blocks`: `source` itself, or, where
        this place needs other weights (a first layer), a copy of the block of `blocks` that has them."""
        wanted = self.shapes[index] if self.shapes is not None else shapes_of(source)
        if shapes_of(source) == wanted:
            return source
        layer = copy.deepcopy(next(block for block in blocks if shapes_of(block) == wanted))
        state = {name: value for name, value in source.state_dict().items() if name in wanted}
        layer.load_state_dict(state, strict=False)
        return layer

    def write(self, model: nn.Module, depth: int, picked: Sequence[int]) -> None:
        """Write the depth into the configs of a model whose configs give `depth` now."""
        shorten(stack_configs(model, self.path), self.path, depth, picked, self.lists)

    def cut(self, model: nn.Module) -> None:
        """Leave of the weights outside the stack that have one slice per layer those of the new layers."""
        _, root = outermost(model, self.path)
        for name, axis in self.slices.items():
            parameter = root.get_parameter(name)
            slices = parameter.data.chunk(self.depth, dim=axis)
            parameter.data = torch.cat([slices[index] for index in self.picked], dim=axis)


def plan(model: nn.Module, stack: BlockStack, picked: Sequence[int]) -> Plan:
    """Raises `TheseusError` if the smaller model could not be loaded again from what `save_pretrained` writes."""
    made = Plan(stack.path, len(stack.layers), list(picked))
    root_path, root = outermost(model, stack.path)
    inner = stack.path[len(root_path) + 1 :] if root_path else stack.path
    if not hasattr(root, "config"):
        made.places = _counted(stack.layers, len(made.picked))
        return made
    failed: Exception | None = None
    for made.lists in (True, False):
        try:
            small = _small(root, inner, made)
            _compare(root, small, inner, made)
        except Exception as error:  # any that a config or a model raises for values that it cannot take
            failed = failed or error
            continue
        blocks = list(small.get_submodule(inner).children())
        varying = _varying(stack.layers)
        made.places = [{key: value for key, value in _attributes(b).items() if key in varying} for b in blocks]
        made.shapes = [shapes_of(block) for block in blocks]
        return made
    if _builds(root):
        reason = " ".join(str(failed).split())[:300]
        name = type(root).__name__
        raise TheseusError(f"{name} could not be loaded with {len(made.picked)} layers: {reason}")
    made.lists, made.places = True, _counted(stack.layers, len(made.picked))
    return made


def _build(root: Any, config: Any) -> nn.Module:
    """The model that `from_pretrained` would build for this config, without values."""
    read = type(config).from_dict(config.to_dict())
    with undisturbed(), torch.device("meta"):
        built: nn.Module = type(root)(read)
    return built


def _builds(root: Any) -> bool:
    """Whether the model can be built from its config as it is; otherwise nothing can be said of a smaller one."""
    try:
        built = _build(root, root.config)
    except Exception:
        return False
    return shapes_of(built) == shapes_of(root)


def _small(root: Any, path: str, made: Plan) -> nn.Module:
    memo = copied_configs(root)
    configs = [memo[id(config)] for config in stack_configs(root, path)]
    shorten(configs, path, made.depth, made.picked, made.lists)
    return _build(root, memo[id(root.config)])


def _compare(root: nn.Module, small: nn.Module, path: str, made: Plan) -> None:
    """Raises `TheseusError` if the model has other weights than it would be given. Fills `made.slices`."""
    blocks = list(root.get_submodule(path).children())
    new = list(small.get_submodule(path).children())
    if len(new) != len(made.picked):
        raise TheseusError(f"its config builds {len(new)} layers in {path}, not {len(made.picked)}")
    known = [shapes_of(block) for block in blocks]
    for index, block in enumerate(new):
        if shapes_of(block) not in known:
            raise TheseusError(f"layer {index} would have weights of another shape than any of its layers now")
    inside = path + "."
    old_shapes, new_shapes = shapes_of(root), shapes_of(small)
    made.slices = {}
    for name in (name for name in old_shapes.keys() | new_shapes.keys() if not name.startswith(inside)):
        old, wanted = old_shapes.get(name), new_shapes.get(name)
        if old == wanted:
            continue
        axis = _axis(old, wanted, made)
        if axis is None:
            raise TheseusError(f"{name} would have the shape {wanted}, not {old}: it depends on the depth")
        made.slices[name] = axis


def _axis(old: tuple[int, ...] | None, new: tuple[int, ...] | None, made: Plan) -> int | None:
    """The axis along which a weight has one slice per layer, if its shapes differ there alone."""
    if old is None or new is None or len(old) != len(new):
        return None
    axes = [axis for axis in range(len(old)) if old[axis] != new[axis]]
    fits = len(axes) == 1 and old[axes[0]] * len(made.picked) == new[axes[0]] * made.depth
    return axes[0] if fits else None


def _attributes(block: nn.Module) -> Attributes:
    return {
        (path, name): value
        for path, module in block.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, PLAIN) and not name.startswith("_") and name not in NO_PLACE
    }


def _varying(blocks: nn.ModuleList) -> set[tuple[str, str]]:
    """The attributes that say something of a layer's place: those that are not the same in all layers."""
    found = [_attributes(block) for block in blocks]
    return {key for each in found for key in each if any(other.get(key) != each[key] for other in found)}


def _counted(blocks: nn.ModuleList, layers: int) -> list[Attributes]:
    """Without a config: only the attributes that count the layers."""
    found = [_attributes(block) for block in blocks]
    counting = [key for key in found[0] if [each.get(key) for each in found] == list(range(len(found)))]
    return [dict.fromkeys(counting, index) for index in range(layers)]
