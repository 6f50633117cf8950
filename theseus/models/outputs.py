"""What a layer returns: the hidden states alone, or with more in a tuple or a dictionary; and what transformers records
of it on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch


@cache
def _collector() -> Any:
    """Where transformers collects hidden states and attentions, or None in a version whose models do so themselves. It
    is looked up when a model runs, because importing transformers takes two seconds that finding layers need not."""
    try:
        from transformers.utils.output_capturing import _active_collector
    except ImportError:
        return None
    return _active_collector


def _place(output: dict[str, Any]) -> str:
    return next(name for name, value in output.items() if isinstance(value, torch.Tensor))


def hidden_of(output: Any) -> torch.Tensor:
    found = output[0] if isinstance(output, tuple) else output[_place(output)] if isinstance(output, dict) else output
    assert isinstance(found, torch.Tensor)
    return found


def with_hidden(output: Any, hidden: torch.Tensor) -> Any:
    """The same output with other hidden states."""
    if isinstance(output, tuple):
        return (hidden, *output[1:])
    return {**output, _place(output): hidden} if isinstance(output, dict) else hidden


@contextmanager
def unrecorded(hidden: torch.Tensor) -> Iterator[None]:
    """Inside, a layer leaves no hidden states or attentions behind, so that a module of several layers counts as one.
    `hidden`: the module's input, which transformers records if it is the first of all."""
    collector = _collector()
    collected = collector.get() if collector is not None else None
    if not collected:
        yield
        return
    if collected.get("hidden_states") == []:
        selected = collected.get("_hidden_states_layers")
        collected["hidden_states"].append(hidden if selected is None or 0 in selected else None)
    token = collector.set(None)
    try:
        yield
    finally:
        collector.reset(token)
