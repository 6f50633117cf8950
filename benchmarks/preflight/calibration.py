"""Measure the step times of this machine: time some steps of the shared loop, and cache the result.

Models of one to four layers of the encoder's width with random weights train on batches of equal length, and on one
that is cut into length groups. From their steps `plan` estimates all others, because the time of a step is, to a few
per cent,

    fixed + layers * (call + groups * group + tokens * (token + length * pair))

with `fixed` for embeddings, head and their optimizer (`fixed_frozen` if embeddings and head are frozen), `call` for the
constant cost of a layer, `group` for that of a length group, `token` for a layer's linear parts and `pair` for
attention. As many processes measure at once as will train at once, so the times include their competition for memory
bandwidth, turbo clocks and the GPU.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from baselines import find
from benchmarks.base import machine_cache
from benchmarks.base.errors import SuiteError
from benchmarks.machine.settings import Device
from benchmarks.machine.workers import side_by_side
from benchmarks.plans.run import Plan
from benchmarks.preflight.cost import StepTimes, keep, pace_of
from benchmarks.preflight.step_timer import median_seconds, model_of, step_seconds, tokens_of
from benchmarks.training.cuts import padded
from benchmarks.training.forward import logits
from benchmarks.training.settings import Training


def calibrated(plan: Plan, say: Callable[[str], None]) -> StepTimes:
    """The cached step times for a plan, or new ones, measured and cached now. Raises `SuiteError` if the sizes of the
    encoder are unknown."""
    if (shape := pace_of(plan).shape) is None:
        raise SuiteError(
            f"encoder {plan.encoder.name} is not on this machine and the suite does not give its sizes: "
            "set ENCODER_DIR or encoder.shape to measure step times"
        )
    with machine_cache.one_at_a_time("step-times"):
        pace = pace_of(plan)
        if (times := pace.times) is None:
            say("measuring how fast this machine trains (once)")
            times = measure(shape, plan.device, pace.batch_size, pace.workers)
            with contextlib.suppress(OSError):  # without a writable cache, measure again next time
                keep(pace, times)
    return times


# Whether embeddings and head are frozen, layers, tokens of a sentence (None: 8 to 96, in length groups). The cases lie
# far apart, so that the noise of a shared machine changes the fit little; two rounds do the same for its drift.
MEASURED = (
    (False, 1, 8), (False, 4, 8), (False, 1, 32), (False, 4, 32), (False, 1, 96), (False, 2, 96), (False, 2, None),
    (True, 1, 16), (True, 3, 16),
)  # fmt: skip
ROUNDS = 2
FROZEN: dict[str, Any] = {"source": "predecessor", "frozen": ["embeddings", "head"]}


def measure(shape: dict[str, int], device: Device, batch_size: int, workers: int) -> StepTimes:
    """The mean of the times that `workers` processes measure side by side."""
    found = side_by_side(workers, device, _measure, shape, device, batch_size)
    return StepTimes(**{name: statistics.fmean(one[name] for one in found) for name in found[0]}, workers=workers)


def _measure(shape: dict[str, int], device: Device, batch_size: int) -> dict[str, float]:
    """The step times of this process, by name."""
    limit = shape.get("max_position_embeddings", 96)
    rows, seconds = [], []
    for frozen, layers, wanted in MEASURED * ROUNDS:
        longest = min(wanted or 96, limit)
        lengths = torch.linspace(longest if wanted else 8, longest, batch_size).round().long()
        groups, tokens, pairs = padded(lengths, Training().length_groups)
        rows.append([not frozen, frozen, layers, layers * groups, layers * tokens, layers * pairs])
        method = find("finetune")(**({"start": FROZEN} if frozen else {}))
        seconds.append(step_seconds(shape, device, layers, lengths, method, repeats=2))
    weights = 1.0 / np.array(seconds)  # minimise relative errors
    found = nnls(np.array(rows, dtype=float) * weights[:, None], np.ones(len(rows)))[0]
    names = ("fixed", "fixed_frozen", "call", "group", "token", "pair")
    return dict(zip(names, found.tolist(), strict=True)) | {
        "forward": _forward_seconds(shape, device, 2, min(32, limit)),
    }


def throughput(shape: dict[str, int], device: Device, workers: int, steps: int = 12) -> float:
    """Fine-tuning steps a second of `workers` processes together: two layers of `shape`, 32 sentences of 64 tokens."""
    found: list[float] = side_by_side(workers, device, _steps_a_second, shape, device, steps)
    return sum(found)


def _steps_a_second(shape: dict[str, int], device: Device, steps: int) -> float:
    return 1.0 / step_seconds(shape, device, 2, torch.full((32,), 64), find("finetune")(), steps)


def _forward_seconds(shape: dict[str, int], device: Device, layers: int, length: int) -> float:
    model = model_of(shape, layers, device).to(device.device)
    tokens = tokens_of(torch.full((128,), length), shape["vocab_size"])
    return median_seconds(lambda: logits(model, tokens, device), device) / (layers * 128 * length)
