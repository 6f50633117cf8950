"""Commands that a user waits for before training starts: the help, and the plan of a grid of 4,804 runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench.pairs import record


def command(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks", *arguments], check=True, capture_output=True)


def bench_help(benchmark: Any) -> None:
    benchmark.pedantic(command, args=("--help",), rounds=5, warmup_rounds=1)
    record(benchmark, np.array(benchmark.stats.stats.data), "seconds of --help", 0.5, at_least=False)


def bench_plan(benchmark: Any, tmp_path: Path) -> None:
    suite = tmp_path / "grid.toml"
    suite.write_text(f'extends = "demo"\nname = "grid"\nseeds = {list(range(1, 301))}\n', encoding="utf-8")
    command("plan", str(suite), "--calibrate")
    benchmark.pedantic(command, args=("plan", str(suite)), rounds=3)
    record(benchmark, np.array(benchmark.stats.stats.data), "seconds of a plan of 4,804 runs", 5.0, at_least=False)
