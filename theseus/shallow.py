"""A shallower copy of a model: some of its layers, everything else as it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from torch import nn

from theseus.blocks import find_blocks, set_depth
from theseus.errors import TheseusError

M = TypeVar("M", bound=nn.Module)


def with_layers(model: M, stack: nn.ModuleList, layers: Sequence[nn.Module]) -> M:
    """A deep copy of `model` with copies of `layers` where its `stack` was; blocks left out are never copied.

    All its parameters require gradients; it is in eval mode, as `from_pretrained` leaves a model.
    """
    blocks = nn.ModuleList(copy.deepcopy(layer) for layer in layers)
    for index, block in enumerate(blocks):
        for module in block.modules():
            if hasattr(module, "layer_idx"):  # decoders address their key-value cache by it
                setattr(module, "layer_idx", index)  # noqa: B010 - a plain attribute, which nn.Module's stubs deny
    shallow: Any = copy.deepcopy(model, memo={id(stack): blocks})
    set_depth(shallow.config, len(blocks))
    return cast(M, shallow.requires_grad_(True).eval())


def keep_layers(model: M, indices: Sequence[int]) -> M:
    """A copy of a transformers model with only the layers `indices` (in that order, 0 = next to the
    embeddings).

    Raises `TheseusError` for an index outside the stack or an empty selection.
    """
    layers = find_blocks(model).layers
    wrong = [index for index in indices if not 0 <= index < len(layers)]
    if wrong or not indices:
        raise TheseusError(f"cannot keep layers {list(indices)} of {len(layers)}: use indices 0 to {len(layers) - 1}")
    return with_layers(model, layers, [layers[index] for index in indices])
