"""The cached step times of this machine, from which `plan` estimates the time of a run.

    times = known(plan)                     # None if they have not been measured
    times.step(layers=3, tokens=900, groups=8, length=40, frozen=False)

`benchmarks.preflight.calibration` measures them. Looking them up loads no models.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.identity import packages
from benchmarks.machine import device as devices
from benchmarks.machine.workers import default_workers
from benchmarks.models.source import EncoderSource
from benchmarks.plans.run import Plan

KIND = "step-times"
SHAPE = ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings")


@dataclass(frozen=True)
class StepTimes:
    """Seconds on one of `workers` workers that compute at once. `fixed`: per step if everything trains;
    `fixed_frozen`: per step if embeddings and head are frozen; `call`: per layer and step; `group`: per layer and
    length group; `token`: per layer and token; `pair`: per layer and pair of tokens in a sentence; `forward`: per layer
    and token of an evaluation."""

    fixed: float
    fixed_frozen: float
    call: float
    group: float
    token: float
    pair: float
    forward: float
    workers: int

    def step(self, layers: float, tokens: float, groups: float, length: float, frozen: bool) -> float:
        """Seconds of a training step of `layers` trained layers on `tokens` in sentences of `length` and in `groups`
        length groups."""
        fixed = self.fixed_frozen if frozen else self.fixed
        return fixed + layers * (self.call + groups * self.group + tokens * (self.token + length * self.pair))


def shape_of(encoder: EncoderSource) -> dict[str, int] | None:
    """The sizes that decide the time of a step; None if the encoder is not on this machine and its suite does not give
    them."""
    if encoder.shape:
        return {name: size for name, size in encoder.shape if name in SHAPE}
    if encoder.revision is not None or not Path(encoder.location).is_dir():
        return None

    def sizes() -> dict[str, int]:
        from transformers import AutoConfig  # knows each architecture's names of its sizes; loads for a second

        config: Any = AutoConfig.from_pretrained(encoder.location, trust_remote_code=False)
        found = {name: getattr(config, name, None) for name in SHAPE}
        return {"intermediate_size": 4 * config.hidden_size} | {name: size for name, size in found.items() if size}

    shape: dict[str, int] = machine_cache.once(
        "shape", [encoder.hash, SHAPE, hash_of("benchmarks.preflight.step_times"), packages(("transformers",))], sizes
    )
    return shape


def key_of(plan: Plan) -> list[Any] | None:
    """Everything that decides the step times of a plan; None if the sizes of its encoder are unknown."""
    if (shape := shape_of(plan.encoder)) is None:
        return None
    return [shape, plan.device.model_dump(mode="json"), devices.device_name(plan.device), torch.__version__,
            plan.suite.training.batch_size, default_workers(plan.device),
            hash_of("benchmarks.preflight.calibration")]  # fmt: skip


def known(plan: Plan) -> StepTimes | None:
    """This machine's step times for the plan's encoder, device and batch size, or None."""
    try:
        return StepTimes(**machine_cache.read(KIND, key_of(plan)))
    except TypeError:  # no cached value, or one with other fields
        return None


def keep(plan: Plan, times: StepTimes) -> None:
    """Cache measured times for `known`. Raises `OSError`."""
    machine_cache.write(KIND, key_of(plan), asdict(times))
