"""Write a smaller depth into the configs of a model.

A model has one config or several: of the model, of a text model inside it, a copy that a decoder holds. Each says the
depth, and may say something of every layer (its kind of attention, its window). All of them are shortened together.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

BOTH = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
ENCODER = ("encoder_layers", "num_encoder_layers")
DECODER = ("decoder_layers", "num_decoder_layers")


def is_config(value: Any) -> bool:
    return hasattr(value, "to_dict") and hasattr(value, "model_type")


def config_of(module: nn.Module) -> Any:
    """The module's config, if it is one of transformers."""
    found = vars(module).get("config")
    return found if is_config(found) else None


def stack_configs(model: nn.Module, path: str) -> list[Any]:
    """The configs of the modules that hold the stack at `path` and of its blocks, each once, outermost first."""
    parts = path.split(".")
    holders = [model.get_submodule(".".join(parts[:length])) for length in range(len(parts))]
    inside = list(model.get_submodule(path).modules())
    found = {id(config): config for module in (*holders, *inside) if (config := config_of(module)) is not None}
    return list(found.values())


def layer_types(model: nn.Module, path: str, depth: int) -> list[str] | None:
    """What the config that is nearest to the stack says of the kinds of its layers, if they differ."""
    for config in reversed(stack_configs(model, path)):
        kinds = getattr(config, "layer_types", None)
        if isinstance(kinds, list | tuple) and len(kinds) == depth:
            return list(map(str, kinds)) if len(set(kinds)) > 1 else None
    return None


def shorten(configs: Sequence[Any], path: str, depth: int, picked: Sequence[int], lists: bool = True) -> None:
    """Make `configs`, those of `stack_configs`, say a stack whose layer i is as the layer `picked[i]` of now is.

    lists: shorten all lists with one value per layer, not only those whose name speaks of layers.
    """
    for config in configs:
        _shorten_lists(config, depth, picked, lists)
    for config in configs:
        for name in _fields(config, path, outer=config is configs[0]):
            if getattr(config, name, None) == depth:
                setattr(config, name, len(picked))


def _fields(config: Any, path: str, outer: bool) -> tuple[str, ...]:
    """The fields that may give the depth. In the config of an encoder-decoder model only those of the right side."""
    if outer and getattr(config, "is_encoder_decoder", False):
        side = DECODER if "decoder" in path else (*BOTH, *ENCODER)
        return side if "encoder" in path or "decoder" in path else (*BOTH, *ENCODER, *DECODER)
    return (*BOTH, *ENCODER, *DECODER)


def _shorten_lists(config: Any, depth: int, picked: Sequence[int], every: bool) -> None:
    for name, values in list(vars(config).items()):
        if isinstance(values, list | tuple) and len(values) == depth and (every or "layer" in name):
            setattr(config, name, type(values)(values[index] for index in picked))
    if getattr(config, "attention_types", None) and getattr(config, "attention_layers", None):  # one in two forms
        config.attention_types = [[[kind], 1] for kind in config.attention_layers]
    stages = getattr(config, "stage_names", None)
    if stages and len(stages) == depth + 1:  # a vision model that can be a backbone: the layers' names, and its last
        config.stage_names = stages[: len(picked) + 1]
        config._out_features, config._out_indices = [config.stage_names[-1]], [len(picked)]


def copied_configs(model: nn.Module) -> dict[int, Any]:
    """A memo for `copy.deepcopy` that holds copies of the model's configs: what is copied with it shares them."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        if (config := config_of(module)) is not None:
            copy.deepcopy(config, memo)
    return memo


def matched_configs(block: nn.Module, model_block: nn.Module) -> dict[int, Any]:
    """A memo that gives a copy of `block` the configs of `model_block`, a block of the same class in another model."""
    memo: dict[int, Any] = {}
    for ours, theirs in zip(block.modules(), model_block.modules(), strict=False):
        if (config := config_of(ours)) is not None and (other := config_of(theirs)) is not None:
            memo[id(config)] = other
    return memo
