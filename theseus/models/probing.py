"""Run a model once on a small generated input, and leave it and the random generators as they were.

Theseus uses it to see which weights run after the stack, and whether the gated model computes what the predecessor
does.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from theseus.models.configs import config_of

TOKENS = 8
FRAMES = 4000  # samples of sound: enough for the convolutions of the Wav2Vec2 family


def outermost(model: nn.Module, path: str) -> tuple[str, nn.Module]:
    """The transformers model that holds `path`, and its own path: `model` itself, or the one that a wrapper such as
    SentenceTransformer holds. `model` if there is none."""
    parts = path.split(".")
    for length in range(len(parts)):
        inner = model.get_submodule(".".join(parts[:length]))
        if hasattr(inner, "dummy_inputs") and hasattr(inner, "config"):
            return ".".join(parts[:length]), inner
    return "", model


def _first(config: Any, *names: str, default: Any) -> Any:
    """The first of the names that the config, or one inside it, gives."""
    inner = [value for value in vars(config).values() if hasattr(value, "to_dict")]
    found = (getattr(owner, name, None) for owner in (config, *inner) for name in names)
    return next((value for value in found if value is not None), default)


def _ids(config: Any, device: torch.device) -> torch.Tensor:
    """One sentence; its last token is the end token, which BART's classifier looks for."""
    size = int(_first(config, "vocab_size", default=2))
    special = {getattr(config, name, None) for name in ("pad_token_id", "image_token_id")}
    usable = [token for token in range(min(size, 50)) if token not in special]
    end = _first(config, "eos_token_id", default=usable[-1])
    end = end[0] if isinstance(end, list) else end
    ids = [usable[(3 + 5 * i) % len(usable)] for i in range(TOKENS)]
    ids = [token if token != end else usable[0] for token in ids[:-1]] + [end if end < size else ids[-1]]
    return torch.tensor([ids], device=device)


def _noise(*shape: int, like: torch.Tensor) -> torch.Tensor:
    """Values that need no random generator."""
    count = int(torch.tensor(shape).prod())
    return torch.linspace(-1, 1, count, device="cpu").cos().reshape(shape).to(like)


def small_input(model: Any) -> dict[str, torch.Tensor]:
    """Arguments of one forward pass, by the names in its signature."""
    weight = next(parameter for parameter in model.parameters() if parameter.is_floating_point())
    config, takes = model.config, inspect.signature(model.forward).parameters
    ids = _ids(config, weight.device)
    made: dict[str, torch.Tensor] = {}
    if "input_ids" in takes:
        made["input_ids"] = ids[:, None].expand(1, 2, -1) if "MultipleChoice" in type(model).__name__ else ids
        if "attention_mask" in takes:
            made["attention_mask"] = torch.ones_like(made["input_ids"])
    needs_image = "input_ids" not in takes or (
        hasattr(config, "vision_config") and not hasattr(config, "image_token_id")
    )
    if "pixel_values" in takes and needs_image:
        size = _first(config, "image_size", default=32)
        sides = (size, size) if isinstance(size, int) else tuple(size)
        made["pixel_values"] = _noise(1, _first(config, "num_channels", default=3), *sides, like=weight)
    if "input_values" in takes:
        made["input_values"] = _noise(1, FRAMES, like=weight)
    if "input_features" in takes:
        length = 2 * _first(config, "max_source_positions", default=50)
        made["input_features"] = _noise(1, _first(config, "num_mel_bins", default=80), length, like=weight)
    if "decoder_input_ids" in takes:
        made["decoder_input_ids"] = ids
    return made


@contextmanager
def undisturbed(*models: nn.Module) -> Iterator[None]:
    """The models in eval mode; at the end they, their configs and the random generators are as before. (BigBird goes
    over to another attention for good when it meets a short sentence.)"""
    modules = [module for model in models for module in model.modules()]
    configs = {id(config): config for module in modules if (config := config_of(module)) is not None}
    states = [(vars(owner), dict(vars(owner))) for owner in (*modules, *configs.values())]
    states += [(held, dict(held)) for module in modules for held in (module._modules, module._buffers)]
    devices = {parameter.device for model in models for parameter in model.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        try:
            for model in models:
                model.eval()
            yield
        finally:
            for live, before in states:
                live.clear()
                live.update(before)


def tensors(output: Any) -> dict[str, torch.Tensor]:
    """The floating-point tensors of a model's output, without those of single layers."""
    if isinstance(output, torch.Tensor):
        return {"output": output}
    found = output.items() if hasattr(output, "items") else ((str(i), value) for i, value in enumerate(output))
    return {name: value for name, value in found if isinstance(value, torch.Tensor) and value.is_floating_point()}
