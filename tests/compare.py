"""Weights of models, side by side."""

from __future__ import annotations

import copy

import torch
from torch import nn


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def by_name(model: nn.Module, prefix: str) -> list[nn.Parameter]:
    return [parameter for name, parameter in model.named_parameters() if name.startswith(prefix)]


def size(model: nn.Module, *prefixes: str) -> int:
    return sum(parameter.numel() for prefix in prefixes for parameter in by_name(model, prefix))


def of_layers(model: nn.Module, indices: list[int]) -> nn.Module:
    """A copy with those layers alone, made by hand."""
    shallow = copy.deepcopy(model)
    shallow.bert.encoder.layer = nn.ModuleList(copy.deepcopy(model.bert.encoder.layer[i]) for i in indices)
    shallow.config.num_hidden_layers = len(indices)
    return shallow.eval()
