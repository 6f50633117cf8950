"""The cost of checkpoints for a run that trains all of MiniLM-L6: 23 M parameters with their moments."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench.models import device, split, trainer
from benchmarks.bench.pairs import record
from benchmarks.runs.checkpoint import Checkpoints
from benchmarks.runs.execute import RunOptions
from benchmarks.training.state import Checkpoint, under


def bench_checkpoint(benchmark: Any, tmp_path: Path) -> None:
    """Seconds to write a checkpoint over the seconds between two, at the default interval of `run`."""
    settings, tokens, turns = device(), split("rte"), count()
    seconds = RunOptions().checkpoint_seconds
    kept = Checkpoints(tmp_path, "bench", {}, seconds)
    with trainer("predecessor", tokens, settings) as step:
        step()

        def save() -> None:
            kept.save(next(turns), Checkpoint(under("step", step.stepper.state()), {}))

        benchmark.pedantic(save, rounds=5, warmup_rounds=1)
    shares = [cost / (max(seconds, cost / 0.02) + cost) for cost in benchmark.stats.stats.data]
    claim = "checkpoints: share of a run's time at the default interval"
    record(benchmark, np.array(shares), claim, 0.02, at_least=False)
