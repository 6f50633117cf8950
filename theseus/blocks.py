"""Find the stack of identical blocks of a transformers model.

Theseus replaces runs of consecutive layers, so it only needs to know where a model keeps its layers: in one
`nn.ModuleList` of equal blocks (`bert.encoder.layer`, `transformer.h`, ...), which the model calls one after the
other with the hidden states as first argument. The code names no architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from theseus.errors import TheseusError


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


def _shape_of(block: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(parameter.shape)) for name, parameter in block.named_parameters()]


def _is_stack(candidate: nn.Module, least: int) -> bool:
    if not isinstance(candidate, nn.ModuleList) or len(candidate) < least:
        return False
    first = candidate[0]
    shape = _shape_of(first)
    return bool(shape) and all(type(block) is type(first) and _shape_of(block) == shape for block in candidate)


def _size(stack: BlockStack) -> int:
    return sum(parameter.numel() for parameter in stack.layers.parameters())


def _stacks(model: nn.Module, least: int) -> list[BlockStack]:
    """All outermost stacks of at least `least` blocks. A list inside a block (experts, convolutions) is part of it."""
    found: list[BlockStack] = []
    for path, module in model.named_modules():
        if not _is_stack(module, least) or any(path.startswith(outer.path + ".") for outer in found):
            continue
        owner_path, _, name = path.rpartition(".")
        found.append(BlockStack(owner=model.get_submodule(owner_path), name=name, path=path))
    return found


def find_blocks(model: nn.Module) -> BlockStack:
    """Find the stack of identical blocks that makes the depth of `model`.

    Raises `TheseusError` if the model has none (ALBERT applies one layer again and again), if its blocks share
    parameters, if it has two stacks (encoder-decoder models), or if its config says that layers differ in kind.
    """
    name = type(model).__name__
    config: Any = getattr(model, "config", None)
    depth: int | None = getattr(config, "num_hidden_layers", None)
    if getattr(config, "is_encoder_decoder", False):
        raise TheseusError(f"{name} has an encoder and a decoder: pass the one to compress, e.g. model.get_encoder()")
    stacks = _stacks(model, least=1 if depth == 1 else 2)  # a list of one block counts only in a model of depth 1
    if depth is not None:
        stacks = [stack for stack in stacks if len(stack.layers) == depth]
    if not stacks:
        wanted = f" of {depth} blocks, the depth its config gives" if depth is not None else ""
        raise TheseusError(
            f"{name} has no stack{wanted}: it needs a ModuleList of identical blocks with their own weights "
            "(a model that shares one layer, such as ALBERT, has nothing to replace)"
        )
    stack = max(stacks, key=_size)
    own = [id(parameter) for block in stack.layers for parameter in block.parameters()]
    if len(own) != len(set(own)):
        raise TheseusError(f"the blocks in {stack.path} of {name} share weights: replacing one would change another")
    kinds = set(getattr(config, "layer_types", None) or [])
    if len(kinds) > 1:
        raise TheseusError(
            f"the blocks in {stack.path} of {name} differ in kind ({', '.join(sorted(map(str, kinds)))}): "
            "a layer of one kind cannot replace one of another"
        )
    return stack


Part = Literal["embeddings", "layers", "head"]
PARTS: tuple[Part, ...] = ("embeddings", "layers", "head")


def parameters_by_part(model: nn.Module) -> dict[Part, list[nn.Parameter]]:
    """The parameters before the model's blocks ("embeddings"), in them ("layers") and after them ("head")."""
    return parameters_around(model, find_blocks(model).layers)


def parameters_around(model: nn.Module, stack: nn.ModuleList) -> dict[Part, list[nn.Parameter]]:
    """The same for a given stack.

    transformers registers modules in the order of the forward pass: embeddings (and ELECTRA's projection of
    them), the stack, then pooler, final normalisation and classifier. The order of `parameters` therefore separates
    the parts without naming an architecture (tested on BERT, RoBERTa, ELECTRA, DistilBERT and GPT-2).
    """
    inside = {id(parameter) for parameter in stack.parameters()}
    parts: dict[Part, list[nn.Parameter]] = {part: [] for part in PARTS}
    outside: Part = "embeddings"
    for parameter in model.parameters():
        if id(parameter) in inside:
            outside = "head"
            parts["layers"].append(parameter)
        else:
            parts[outside].append(parameter)
    return parts


def set_depth(config: Any, depth: int) -> None:
    """Write the number of layers into a transformers config, and shorten its list of layer types to it."""
    if getattr(config, "layer_types", None):
        config.layer_types = list(config.layer_types)[:depth]
    config.num_hidden_layers = depth
