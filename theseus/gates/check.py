"""Compare a gated model with its predecessor once, before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from theseus.errors import TheseusError
from theseus.gates.module import GatedModule
from theseus.models.blocks import BlockStack
from theseus.models.probing import outermost, small_input, tensors, undisturbed

HALF = (torch.float16, torch.bfloat16)


def warn_of_precision(trained: Iterable[nn.Parameter]) -> None:
    """One line if weights in half precision are to be trained (measured: in bfloat16 only a third of the weights moves
    at a learning rate of 2e-5, and float16 gives NaN within 20 steps)."""
    if found := {str(p.dtype).removeprefix("torch.") for p in trained if p.dtype in HALF}:
        warnings.warn(
            f"the weights that train are {' and '.join(sorted(found))}: most steps are too small for it. Load the "
            "predecessor with dtype=torch.float32 and use autocast, or give the optimizer weights in float32",
            stacklevel=3,
        )


@contextmanager
def _undrawn(modules: Sequence[GatedModule]) -> Iterator[None]:
    """With the predecessor's layers in all modules, in a model in eval mode."""
    shares = [module.share for module in modules]
    for module in modules:
        module.share, module.training = 0.0, True  # this module alone: the layers in it stay in eval mode
    try:
        yield
    finally:
        for module, share in zip(modules, shares, strict=True):
            module.share, module.training = share, False


def check_gated(predecessor: nn.Module, model: nn.Module, stack: BlockStack, modules: Sequence[GatedModule]) -> None:
    """Raises `TheseusError` if the model with no module replaced does not compute what the predecessor does, or cannot
    run. A predecessor that cannot run on a small generated input is not checked. `stack`: the predecessor's."""
    _, theirs = outermost(predecessor, stack.path)
    _, ours = outermost(model, stack.path)
    with undisturbed(theirs, ours), torch.no_grad():
        try:
            given = small_input(theirs)
            wanted = tensors(theirs(**given))
        except Exception:  # any that a model raises for an input that is not its own
            return
        name = type(theirs).__name__
        try:
            with _undrawn(modules):
                found = tensors(ours(**given))
            ours(**given)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise TheseusError(f"{name} cannot run with gated modules in place of its layers ({reason})") from error
        difference = max((_difference(wanted[key], found[key]) for key in wanted if key in found), default=0.0)
        if difference > 1e-3:
            between = _between(theirs, given, stack)
            does = f" ({', '.join(between)})" if between else ""
            raise TheseusError(
                f"{name} does more between its layers than calling one after the other{does}: with no module replaced "
                f"its output is off by {difference:.0%}, so its layers cannot be replaced in groups"
            )


def _difference(wanted: torch.Tensor, found: torch.Tensor) -> float:
    """The largest difference as a share of the largest value; half precision is allowed its rounding."""
    if wanted.shape != found.shape:
        return float("inf")
    largest = float((wanted.float() - found.float()).abs().max() / wanted.float().abs().max().clamp(min=1e-6))
    return largest / 20 if wanted.dtype in HALF else largest


def _between(root: nn.Module, given: dict[str, Any], stack: BlockStack) -> list[str]:
    """What else runs between the first and the last layer."""
    order: list[str] = []
    layers = list(stack.layers)
    others = {name: child for name, child in stack.owner.named_children() if name != stack.name}
    hooks = [layer.register_forward_hook(lambda *_: order.append("")) for layer in layers]
    hooks += [m.register_forward_hook(lambda *_, name=n: order.append(name)) for n, m in others.items()]
    try:
        root(**given)
    finally:
        for hook in hooks:
            hook.remove()
    inside = order[order.index("") : len(order) - order[::-1].index("")] if "" in order else []
    return sorted({name for name in inside if name})
