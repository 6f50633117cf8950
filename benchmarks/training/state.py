"""The state of a training: a checkpoint's tensors and document, and how arrays are allocated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` by name, and `document`: the rest of the state, everything that JSON can represent exactly."""

    tensors: dict[str, torch.Tensor]
    document: dict[str, Any]

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors whose names begin with `name/`, without it."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def under(name: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, each name with `name/` before it."""
    return {f"{name}/{key}": value for key, value in tensors.items()}


Create = Callable[[str, tuple[int, ...], torch.dtype], torch.Tensor]


def in_memory(_: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A `Create` for arrays that are not stored."""
    return torch.empty(shape, dtype=dtype)
