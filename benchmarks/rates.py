"""The rates of this machine, from which `plan` tells times: measured once (`benchmarks.calibration`) and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock

from benchmarks import device as devices
from benchmarks import kept
from benchmarks.encoder import EncoderSource
from benchmarks.identity import hash_of, packages
from benchmarks.settings import Device
from benchmarks.workers import default_workers

if TYPE_CHECKING:
    from benchmarks.plan import Plan

KIND = "rates"
SHAPE = ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings")


@dataclass(frozen=True)
class Rates:
    """Seconds on one of `workers` workers that compute at once. `fixed` per step where everything trains and
    `fixed_frozen` where embeddings and head do not; `call` per layer and step; `group` per layer and length group;
    `token` per layer and token; `pair` per layer, token and token of its sentence; `forward` per layer and token of an
    evaluation. `matmul`: operations per second of a large matrix product in the same precision."""

    fixed: float
    fixed_frozen: float
    call: float
    group: float
    token: float
    pair: float
    forward: float
    matmul: float
    workers: int

    def step(self, layers: float, tokens: float, groups: float, length: float, frozen: bool) -> float:
        """Seconds of a training step: `tokens` a batch in sentences of `length`, laid in `groups`, through `layers`
        trained layers."""
        fixed = self.fixed_frozen if frozen else self.fixed
        return fixed + layers * (self.call + groups * self.group + tokens * (self.token + length * self.pair))


def calibrated(
    shape: dict[str, int], device: Device, batch_size: int, workers: int, say: Callable[[str], None] | None
) -> Rates | None:
    """The rates of this machine for an encoder of `shape`, from the cache; else measured now, which `say` tells, or
    None where `say` is None."""
    own = {name: shape[name] for name in SHAPE if name in shape}
    key = [own, device.model_dump(mode="json"), devices.device_name(device), torch.__version__, batch_size, workers,
           hash_of("benchmarks.calibration")]  # fmt: skip
    if (found := _read(key)) is not None or say is None:
        return found
    kept.folder().mkdir(parents=True, exist_ok=True)
    with FileLock(kept.path_of(KIND, key).with_suffix(".lock")):
        if (found := _read(key)) is None:
            from benchmarks.calibration import measure_together  # seconds of imports that only this needs

            say("measuring how fast this machine trains (once)")
            found = measure_together(own, device, batch_size, workers)
            kept.write(KIND, key, asdict(found))
    return found


def rates_of(plan: Plan, say: Callable[[str], None] | None) -> Rates | None:
    """Of the machine, for the plan's encoder, device and batch; `say` as for `calibrated`."""
    if (shape := shape_of(plan.encoder)) is None:
        return None
    return calibrated(shape, plan.device, plan.suite.training.batch_size, default_workers(plan.device), say)


def shape_of(encoder: EncoderSource) -> dict[str, int] | None:
    """The sizes that a step's time depends on; None for an encoder that is not here and says nothing of them."""
    if encoder.shape:
        return {name: size for name, size in encoder.shape if name in SHAPE}
    if encoder.revision is not None or not Path(encoder.location).is_dir():
        return None

    def sizes() -> dict[str, int]:
        from transformers import AutoConfig  # knows what each architecture calls its sizes; a second to import

        config: Any = AutoConfig.from_pretrained(encoder.location, trust_remote_code=False)
        found = {name: getattr(config, name, None) for name in SHAPE}
        return {"intermediate_size": 4 * config.hidden_size} | {name: size for name, size in found.items() if size}

    shape: dict[str, int] = kept.once(
        "shape", [encoder.hash, SHAPE, hash_of("benchmarks.rates"), packages(("transformers",))], sizes
    )
    return shape


def _read(key: list[Any]) -> Rates | None:
    try:
        return Rates(**kept.read(KIND, key))
    except TypeError:  # none, or of other fields
        return None
