"""Copy a model with only some of its layers; everything else stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, cast

from torch import nn

from theseus.errors import TheseusError
from theseus.models.blocks import find_blocks
from theseus.models.configs import copied_configs
from theseus.models.depth import Plan, plan

M = TypeVar("M", bound=nn.Module)

Choice = Literal["bottom", "top", "interleaved"]


def choose_layers(choice: Choice | Sequence[int], depth: int, layers: int) -> list[int]:
    """Choose `layers` of `depth` layers; returns indices that count from the embeddings up.

    *bottom* takes the first layers, *top* the last, *interleaved* the first layer of each run of depth / layers (12 to
    6: 0, 2, 4, 6, 8, 10). The paper's footnote 4 names the three choices, but not which interleaved layers it took. A
    sequence of indices is returned as it is.

    Raises `TheseusError` for an unknown choice or a wrong count.
    """
    if choice == "bottom":
        return list(range(layers))
    if choice == "top":
        return list(range(depth - layers, depth))
    if choice == "interleaved":
        return [i * depth // layers for i in range(layers)]
    if not isinstance(choice, list | tuple | range):
        raise TheseusError(f"unknown choice of layers {choice!r}: use bottom, top, interleaved, or a list of indices")
    if len(choice) != layers:
        raise TheseusError(f"{len(choice)} layers are named for a successor of {layers} layers")
    return list(choice)


def with_layers(model: M, layers: Sequence[nn.Module], made: Plan, picked: Sequence[int] | None = None) -> M:
    """A deep copy of `model` with copies of `layers` in place of its stack; other blocks are never copied.

    All its parameters require gradients, and it is in eval mode, as after `from_pretrained`. `picked`: as in the plan,
    for a model that was planned for already.
    """
    stack = model.get_submodule(made.path)
    memo = copied_configs(model)
    new = [made.place(copy.deepcopy(layer, dict(memo)), index) for index, layer in enumerate(layers)]
    shallow: Any = copy.deepcopy(model, {**memo, id(stack): nn.ModuleList(new)})
    made.write(shallow, len(cast(nn.ModuleList, stack)), made.picked if picked is None else picked)
    return cast(M, shallow.requires_grad_(True).eval())


def keep_layers(model: M, indices: Sequence[int]) -> M:
    """A copy of a transformers model with only the layers `indices`, in that order; 0 is next to the embeddings.

    Raises `TheseusError` for an index outside the stack or an empty selection.
    """
    stack = find_blocks(model)
    blocks = list(stack.layers)
    check_indices(indices, len(blocks))
    made = plan(model, stack, indices)
    shallow = with_layers(model, [made.fitting(i, blocks[index], blocks) for i, index in enumerate(indices)], made)
    made.cut(shallow)
    return shallow


def check_indices(indices: Sequence[int], depth: int) -> None:
    """Raises `TheseusError` for an index outside a stack of `depth` layers, or for an empty selection."""
    if not indices or any(not 0 <= index < depth for index in indices):
        raise TheseusError(f"cannot keep layers {list(indices)} of {depth}: use indices 0 to {depth - 1}")
