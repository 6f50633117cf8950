"""What a user waits and pays for beside the steps: commands, memory and checkpoints."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench.models import device, record, split, trainer
from benchmarks.runs.checkpoint import Checkpoints
from benchmarks.runs.execute import RunOptions
from benchmarks.training.state import Checkpoint, under

SIX_STEPS = """
from benchmarks.machine import device as devices
from benchmarks.bench.models import device, split, trainer
settings = device()
with trainer({name!r}, split("rte"), settings) as step:
    devices.reset_peak_memory(settings)
    for _ in range(6):
        step()
    print(devices.peak_memory(settings))
"""


def python(*arguments: str) -> str:
    """What a Python process with these arguments prints."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def bench_help(benchmark: Any) -> None:
    benchmark.pedantic(python, args=("-m", "benchmarks", "--help"), rounds=5, warmup_rounds=1)
    record(benchmark, np.array(benchmark.stats.stats.data), "seconds of --help", 0.5, at_least=False)


def bench_plan(benchmark: Any, tmp_path: Path) -> None:
    """The plan of a grid of 4,804 runs."""
    suite = tmp_path / "grid.toml"
    suite.write_text(f'extends = "demo"\nname = "grid"\nseeds = {list(range(1, 301))}\n', encoding="utf-8")
    python("-m", "benchmarks", "plan", str(suite), "--calibrate")
    benchmark.pedantic(python, args=("-m", "benchmarks", "plan", str(suite)), rounds=3)
    record(benchmark, np.array(benchmark.stats.stats.data), "seconds of a plan of 4,804 runs", 5.0, at_least=False)


def bench_memory(benchmark: Any) -> None:
    """Peak resident memory over six steps of Theseus and of fine-tuning its predecessor, each in its own process."""
    deep = int(python("-c", SIX_STEPS.format(name="predecessor")))
    theseus = int(benchmark.pedantic(python, args=("-c", SIX_STEPS.format(name="theseus")), rounds=1))
    claim = "peak memory of Theseus over fine-tuning the predecessor"
    record(benchmark, np.array([theseus / deep]), claim, 1.0, at_least=False)


def bench_checkpoint(benchmark: Any, tmp_path: Path) -> None:
    """Seconds to write a checkpoint over the seconds between two, at the default interval of `run`. The run trains all
    of MiniLM-L6: 23 M parameters with their moments."""
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
