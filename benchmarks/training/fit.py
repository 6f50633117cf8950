"""Everything that decides the result of one training, in one object.

    given = given_for(seed, layers, steps, load_predecessor, load_pretrained)
    fit = prepared(method, given, depth, tokens, outputs_of, settings, seed, device)
    train(fit, evaluate)

Two trainings with equal `Fit`s end in equal bits on one machine. A run's name, its folder and the times of its
evaluations are not part of it, because they change no number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from baselines.method import Given, Method, Output
from benchmarks.machine.settings import Device
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.forward import LivePredecessor
from benchmarks.training.randomness import stream_seed
from benchmarks.training.schedule import planned_steps
from benchmarks.training.settings import Training

Outputs = dict[Output, torch.Tensor]


@dataclass(frozen=True)
class Fit:
    """One training. `model` trains in place on `tokens`; `outputs` are the predecessor's, one row per training example
    (per token, for the states of all tokens); `live` computes them in each step instead. `total`: optimizer steps, if
    the settings do not decide them."""

    method: Method
    model: nn.Module
    tokens: Tokens
    outputs: Outputs
    settings: Training
    seed: int
    device: Device
    total: int | None = None
    live: LivePredecessor | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.total or planned_steps(self.settings, len(self.tokens))

    @property
    def length_groups(self) -> int:
        """The most length groups of a batch. With several, the model's last layer keeps first tokens only, so a method
        that follows the states of all tokens trains with one group, which is plain padding. So does a causal model:
        attention inside a group has no causal mask."""
        wishes = self.live.wishes if self.live else self.outputs
        plain = self.tokens.objective.causal or any(output.tokens == "all" for output in wishes)
        return 1 if plain else self.settings.length_groups


def given_for(
    seed: int, layers: int, steps: int, predecessor: Callable[[], Any], pretrained: Callable[[int], Any]
) -> Given:
    """The input of `Method.build` in a run of `seed`; `pretrained` takes the seed of the untrained head."""
    head, gates = stream_seed(seed, "head"), stream_seed(seed, "gates")
    return Given(predecessor, lambda: pretrained(head), layers, gates, steps)


def prepared(
    method: Method, given: Given, depth: int, tokens: Tokens, outputs_of: Callable[[frozenset[Output]], Outputs],
    settings: Training, seed: int, device: Device, total: int | None = None,
) -> Fit:  # fmt: skip
    """Make the fit of `method` for a predecessor of `depth` layers: first the outputs, then the model that trains."""
    wishes = method.needs(depth, given.layers)
    live = None
    if wishes and tokens.objective.live:
        live = LivePredecessor(given.predecessor().to(device.device).requires_grad_(False), wishes)
    outputs = outputs_of(wishes) if wishes and not live else {}
    model = method.build(given).to(device.device)
    return Fit(method, model, tokens, outputs, settings, seed, device, total, live)
