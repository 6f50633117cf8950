"""What is saved is the successor: `from_pretrained` can read it, whichever way of saving wrote it.

The gated model has weights that no plain model has (`layer.0.predecessor...`, `layer.0.successor...`), beside a config
of the successor's depth. `from_pretrained` would make new random layers of such a checkpoint, and say so in a line of
the log. So every transformers model around the gated stack saves the successor instead, with the successor's names and
config; Trainer's checkpoints, `push_to_hub`, pipelines and sentence-transformers all save through that one method.

The way back is a hook on the stack: `load_state_dict` takes the successor's weights as well as the gated model's own. A
successor's checkpoint lacks the predecessor's layers; they are frozen, and stay as they are.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

from theseus.errors import TheseusError
from theseus.gates.module import GatedModule, Slot

GATED = re.compile(r"\d+\.(predecessor|successor)\.")
COMPILED = "_orig_mod."  # what torch.compile puts before the names of the model that it wraps


def _places(stack: nn.ModuleList) -> dict[str, str]:
    """Where the successor's layers lie in the gated stack: {"0.": "0.successor.", "1.": "1."}."""
    entries = [(place, entry) for place, entry in enumerate(stack) if not isinstance(entry, Slot)]
    return {
        f"{i}.": f"{place}.successor." if isinstance(entry, GatedModule) else f"{place}."
        for i, (place, entry) in enumerate(entries)
    }


def _renamed(name: str, prefixes: dict[str, str]) -> str | None:
    """The name with its prefix exchanged, or None if it has none of these prefixes."""
    found = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
    return None if found is None else prefixes[found] + name.removeprefix(found)


def successor_state(state: dict[str, Any], path: str, stack: nn.ModuleList) -> dict[str, Any]:
    """The gated model's state dict as the successor's: without the predecessor's layers. `path`: the stack's name."""
    state = {name.removeprefix(COMPILED): value for name, value in state.items()}
    prefix, places = f"{path}.", {place: index for index, place in _places(stack).items()}
    if not any(name.startswith(prefix) and GATED.match(name.removeprefix(prefix)) for name in state):
        return state
    found: dict[str, Any] = {}
    for name, value in state.items():
        if not name.startswith(prefix):
            found[name] = value
        elif (own := _renamed(name.removeprefix(prefix), places)) is not None:
            found[prefix + own] = value
    return found


def read_successor(stack: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """A hook for `load_state_dict`: the weights of a plain successor become those of the gated stack."""
    given = {name.removeprefix(prefix): name for name in state if name.startswith(prefix)}
    if not given or any(GATED.match(name) for name in given):
        return
    places = _places(stack)
    plain = {_renamed(inner, places) or inner: state.pop(name) for inner, name in given.items()}
    kept = {name: value for name, value in stack.state_dict().items() if ".predecessor." in name}
    state |= {prefix + name: value for name, value in {**kept, **plain}.items()}


def _saving(model: nn.Module, stack: nn.ModuleList) -> Iterator[tuple[str, PreTrainedModel]]:
    """The transformers models around the stack, outermost first, with their names in `model`."""
    from transformers import PreTrainedModel  # two seconds that a program which only finds layers need not wait for

    for path, module in model.named_modules():
        if isinstance(module, PreTrainedModel) and any(inner is stack for inner in module.modules()):
            yield path, module


def owners(model: nn.Module, stack: nn.ModuleList) -> list[PreTrainedModel]:
    """The transformers models around the stack, outermost first. A sentence-transformers model is not one itself."""
    return [module for _, module in _saving(model, stack)]


def save_instead(model: nn.Module, stack: nn.ModuleList, successor: Callable[[], nn.Module]) -> None:
    """Let every transformers model around the stack save its part of `successor()`."""
    for path, module in _saving(model, stack):
        inner = next(name for name, found in module.named_modules() if found is stack)
        saved = functools.partial(_save, successor, path, inner, stack)
        module.save_pretrained = saved  # type: ignore[method-assign]


def save_as_usual(model: nn.Module, stack: nn.ModuleList) -> None:
    """Undo `save_instead`."""
    for module in owners(model, stack):
        vars(module).pop("save_pretrained", None)


def _save(
    successor: Callable[[], nn.Module],
    path: str,
    inner: str,
    stack: nn.ModuleList,
    save_directory: Any,
    is_main_process: bool = True,
    state_dict: dict[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """transformers' `save_pretrained` of the successor, with its arguments. `state_dict` may be the gated model's."""
    if state_dict is not None:
        state_dict = successor_state(state_dict, inner, stack)
    plain: Any = successor().get_submodule(path)
    plain.save_pretrained(save_directory, is_main_process=is_main_process, state_dict=state_dict, **kwargs)


def fingerprint(stack: nn.ModuleList) -> int:
    """A checksum of the predecessor's layers and their places, which a resumed run must have again."""
    found = 0
    for name, tensor in stack.state_dict().items():
        if ".predecessor." in name:
            plain = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            found = zlib.crc32(plain.numpy(), zlib.crc32(name.encode(), found))
    return found


def as_loaded(successor: Any) -> Any:
    """Take off what a training library has hung on the model that the successor was copied from: accelerate's autocast
    around `forward`, which would go on computing in bfloat16."""
    if (forward := vars(successor).pop("_original_forward", None)) is not None:
        vars(successor).pop("forward", None)
        if getattr(forward, "__func__", None) is not type(successor).forward:
            successor.forward = forward
    return successor


def refuse_adapters(model: nn.Module | None, merge: str) -> None:
    """Raises `TheseusError` for a model with layers of PEFT in it. `merge` says how to come by one without."""
    layers = () if model is None else model.modules()
    if any(type(layer).__module__.startswith("peft.") for layer in layers):
        raise TheseusError(f"{type(model).__name__} has adapters of PEFT: {merge}")
