"""Peak memory of a Theseus run over that of fine-tuning its predecessor, each in its own process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks.bench.pairs import record

PROGRAM = """
from benchmarks.machine import device as devices
from benchmarks.bench.models import device, split, trainer
settings = device()
with trainer({name!r}, split("rte"), settings) as step:
    devices.reset_peak_memory(settings)
    for _ in range(6):
        step()
    print(devices.peak_memory(settings))
"""


def peak(name: str) -> int:
    """Peak resident bytes during six steps of method `name`."""
    program = PROGRAM.format(name=name)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


def bench_memory(benchmark: Any) -> None:
    deep = peak("predecessor")
    theseus = benchmark.pedantic(peak, args=("theseus",), rounds=1)
    claim = "peak memory of Theseus over fine-tuning the predecessor"
    record(benchmark, np.array([theseus / deep]), claim, 1.0, at_least=False)
