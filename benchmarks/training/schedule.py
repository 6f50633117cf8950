"""How many optimizer steps a run takes, and the learning rate of each."""

from __future__ import annotations

import math

from benchmarks.training.settings import Training


def steps_per_epoch(training: Training, examples: int) -> int:
    return math.ceil(examples / training.batch_size)


def planned_steps(training: Training, examples: int) -> int:
    """Optimizer steps of a run over `examples` training examples."""
    steps = max(1, round(training.epochs * steps_per_epoch(training, examples)))
    return min(steps, training.max_steps) if training.max_steps else steps


def learning_rate(training: Training, step: int, steps: int, peak: float | None = None) -> float:
    """The rate for step 0 .. steps - 1: linear warm-up from 0, then constant or linear decay to 0 at `steps`.

    With decay it equals transformers' `get_linear_schedule_with_warmup`, which the released code uses. `peak` replaces
    the settings' learning rate.
    """
    peak = training.learning_rate if peak is None else peak
    warmup = round(training.warmup * steps)
    if step < warmup:
        return peak * step / warmup
    if training.schedule == "constant":
        return peak
    return peak * (steps - step) / max(1, steps - warmup)
