"""Find the stack of blocks of a transformers model.

Theseus replaces runs of consecutive layers, so it only needs to know where a model keeps its layers: in one
`nn.ModuleList` of blocks of one class (`bert.encoder.layer`, `transformer.h`, ...), which the model calls one after the
other with the hidden states as first argument. The code names no architecture.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import nn

from theseus.errors import TheseusError

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class BlockStack:
    """The place of the blocks: `getattr(owner, name)` is the ModuleList, `path` its dotted name in the model."""

    owner: nn.Module
    name: str
    path: str

    @property
    def layers(self) -> nn.ModuleList:
        layers = getattr(self.owner, self.name)
        assert isinstance(layers, nn.ModuleList)
        return layers

    def replace(self, layers: nn.ModuleList) -> None:
        setattr(self.owner, self.name, layers)


def shapes_of(module: nn.Module) -> Shapes:
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def _fits(first: Shapes, other: Shapes) -> bool:
    common = first.keys() & other.keys()
    return 2 * len(common) >= len(other) and all(first[name] == other[name] for name in common)


def _alike(candidate: nn.ModuleList) -> bool:
    """Whether the blocks are of one class and have the same weights. The first may have some more or fewer: T5 keeps
    its position bias there, and ModernBERT has no norm there."""
    shapes = [shapes_of(block) for block in candidate]
    if not shapes or isinstance(candidate[0], nn.ModuleList):
        return False
    last = shapes[-1]
    one_class = all(type(block) is type(candidate[0]) for block in candidate)
    return bool(last) and one_class and all(shape == last for shape in shapes[1:]) and _fits(shapes[0], last)


def _size(stack: BlockStack) -> int:
    return sum(parameter.numel() for parameter in stack.layers.parameters())


def _lists(model: nn.Module) -> list[BlockStack]:
    """All ModuleLists of the model, outermost first."""
    found: list[BlockStack] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            owner_path, _, name = path.rpartition(".")
            found.append(BlockStack(owner=model.get_submodule(owner_path), name=name, path=path))
    return found


def _is_stage(block: nn.Module) -> bool:
    """Whether a block is a list of layers itself (Swin, Funnel)."""
    lists = [block, *block.children()]
    return any(isinstance(inner, nn.ModuleList) and len(inner) > 1 and _alike(inner) for inner in lists)


def _stacks(lists: list[BlockStack], least: int) -> list[BlockStack]:
    """All outermost stacks of at least `least` blocks. A list inside a block (experts, convolutions) is part of it, and
    so is one inside a stage."""
    found: list[BlockStack] = []
    stages = [stack for stack in lists if not _alike(stack.layers) and any(map(_is_stage, stack.layers))]
    for stack in lists:
        inside = any(stack.path.startswith(outer.path + ".") for outer in (*found, *stages))
        if not inside and len(stack.layers) >= least and _alike(stack.layers):
            found.append(stack)
    return found


def depths_of(model: nn.Module) -> set[int]:
    """The depths that the configs of the model and of the models inside it give."""
    configs = [getattr(module, "config", None) for module in model.modules()]
    names = ("num_hidden_layers", "encoder_layers", "decoder_layers", "num_layers", "num_decoder_layers")
    values = [getattr(config, name, None) for config in configs for name in names]
    return {value for value in values if isinstance(value, int) and not isinstance(value, bool)}


def _refusal(model: nn.Module, lists: list[BlockStack], depths: set[int]) -> str:
    """Why a model without a stack cannot be served."""
    name = type(model).__name__
    lists = [stack for stack in lists if len(stack.layers) and _size(stack)]
    for stack in lists:
        if not _alike(stack.layers) and any(map(_is_stage, stack.layers)):
            return f"{name} keeps its layers in stages ({stack.path}), not in one stack of equal blocks"
    for stack in (stack for stack in lists if len(stack.layers) in depths):
        return (
            f"the blocks in {stack.path} of {name} differ in kind or shape: "
            "a layer of one kind cannot replace one of another"
        )
    if depths and max(depths) > max((len(stack.layers) for stack in lists), default=0):
        return (
            f"{name} has no stack of {max(depths)} blocks, the depth its config gives: it applies the same weights "
            "again and again, as ALBERT does, so no layer can be replaced alone"
        )
    return f"{name} has no stack: it needs a ModuleList of blocks with their own weights"


def _text_first(model: nn.Module, stacks: list[BlockStack]) -> BlockStack:
    """Where a model has several stacks, that of its text model; else the largest."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else None
    of_text = [stack for stack in stacks if text is not None and getattr(stack.owner, "config", None) is text]
    return max(of_text or stacks, key=_size)


def _chosen(model: nn.Module, stacks: list[BlockStack], wanted: str | None) -> BlockStack:
    """The stack that `wanted` names, else the only one."""
    name, paths = type(model).__name__, ", ".join(stack.path for stack in stacks)
    if max(Counter(id(stack.owner) for stack in stacks).values()) > 1:
        raise TheseusError(f"{name} keeps the parts of its layers in lists side by side ({paths}): it has no blocks")
    if wanted is not None:
        named = [stack for stack in stacks if f".{wanted}." in f".{stack.path}."]
        if len(named) != 1:
            raise TheseusError(f"stack={wanted!r} names {len(named)} of the stacks of {name}: use one of {paths}")
        return named[0]
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False) and len(stacks) > 1:
        raise TheseusError(
            f"{name} has an encoder and a decoder ({paths}): name the one to compress, e.g. stack={stacks[0].path!r}, "
            "or pass it alone, e.g. model.get_encoder()"
        )
    return _text_first(model, stacks)


def find_blocks(model: nn.Module, stack: str | None = None) -> BlockStack:
    """Find the stack of blocks that makes the depth of `model`. `stack` names one where the model has several, by its
    path or a part of it ("encoder"); without it the text model's is taken.

    Raises `TheseusError` if the model has none (ALBERT applies one layer again and again), if its blocks share
    parameters or differ in kind, or if it has two stacks (encoder-decoder models) and none is named.
    """
    depths = depths_of(model)
    lists = _lists(model)
    stacks = _stacks(lists, least=1 if depths == {1} else 2)  # a list of one block counts only in a model of depth 1
    if depths:
        stacks = [found for found in stacks if len(found.layers) in depths]
    if not stacks:
        raise TheseusError(_refusal(model, lists, depths))
    found = _chosen(model, stacks, stack)
    own = [id(parameter) for block in found.layers for parameter in block.parameters()]
    if len(own) != len(set(own)):
        name = type(model).__name__
        raise TheseusError(f"the blocks in {found.path} of {name} share weights: replacing one would change another")
    return found
