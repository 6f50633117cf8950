"""What a plan will take: operations counted, time estimated from this machine's matmul rate.

A layer costs 2 * (4 h^2 + 2 h i) + 4 n h operations per token forward, and twice that backward: once for the
weights and once for the input. A frozen layer needs the input half only. Where finished runs of the same cell
are at hand, their measured time is used instead of the estimate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from benchmarks.data import TRAIN
from benchmarks.device import precision, synchronise
from benchmarks.plan import Run
from benchmarks.settings import Device
from benchmarks.store import Store
from benchmarks.suite import Suite

# Share of the matmul rate a whole step reaches, measured on MiniLM-L6 (2 cores, bf16, batch 32): 0.25 to 0.35. The
# rest is attention, normalisation, dropout masks and the optimizer.
SHARE_OF_MATMUL_RATE = 0.3
SECONDS_PER_LAYER_CALL = 0.0012  # fixed cost of a layer forward and backward; it rules where layers are small
SECONDS_PER_RUN = 1.5  # loading, tokenising, writing


@dataclass(frozen=True)
class Estimate:
    """`operations` of the training of one run, and `seconds` it will take on this machine (`measured`: took)."""

    operations: float
    seconds: float
    measured: bool


@lru_cache(maxsize=4)
def matmul_rate(device: Device, hidden: int) -> float:
    """Measured operations per second of (2048, h) x (h, 4 h) in the suite's precision and threads; 0.3 s of work."""
    torch.set_num_threads(device.threads)
    left, right = torch.randn(2048, hidden, device=device.device), torch.randn(hidden, 4 * hidden, device=device.device)
    count, started = 0, 0.0
    with torch.inference_mode(), precision(device):
        for _ in range(3):
            left @ right
        synchronise(device.device)
        started = time.perf_counter()
        while time.perf_counter() - started < 0.3:
            for _ in range(5):
                left @ right
            synchronise(device.device)
            count += 5
    return count * 2 * 2048 * hidden * 4 * hidden / (time.perf_counter() - started)


def mean_tokens(run: Run) -> float:
    """Tokens of a training example: the task table's figure, or measured where the data is made here."""
    if run.task.tokens:
        return min(run.task.tokens, run.max_length)
    from benchmarks.batches import tokenise  # needs the tokenizer, so only where the table is silent

    return float(tokenise(run.tokenizer, run.source, run.max_length)[TRAIN].lengths.float().mean())


def estimate(run: Run, suite: Suite) -> Estimate:
    """Operations and seconds of one run's training and evaluations, from counts and the measured rate."""
    hidden = suite.encoder.hidden_size
    intermediate = suite.encoder.shape.get("intermediate_size", 4 * hidden)
    tokens = mean_tokens(run)
    per_token = 2 * (4 * hidden**2 + 2 * hidden * intermediate) + 4 * tokens * hidden
    examples = run.steps * run.training.batch_size
    depth = suite.encoder.layers if run.encoder == run.suite_encoder else run.layers
    units = run.build().work(depth, run.modules if depth == suite.encoder.layers else run.layers, run.steps)
    every = run.training.evaluate_every
    evaluations = math.ceil(run.steps / every) if isinstance(every, int) else math.ceil(run.training.epochs)
    evaluated = sum(run.task.dev.values()) + round(run.held_out * run.task.train_rows)
    operations = tokens * per_token * (examples * units + evaluations * evaluated * run.layers)
    compute = operations / (matmul_rate(run.device, hidden) * SHARE_OF_MATMUL_RATE)
    fixed = run.steps * run.training.micro_batches * units / 3.0 * SECONDS_PER_LAYER_CALL
    return Estimate(operations, SECONDS_PER_RUN + compute + fixed, measured=False)


def estimates(runs: Sequence[Run], suite: Suite, store: Store) -> dict[str, Estimate]:
    """An estimate per run id; where another seed of the cell is done, its time."""
    took: dict[tuple[str, str, int], list[float]] = {}
    for run in runs:
        result = store.result(run)
        if result and result["status"] == "done":
            took.setdefault((run.task.name, run.arm, run.trial), []).append(result["train_seconds"])
    cells: dict[tuple[str, str, int], Estimate] = {}
    for run in runs:
        cell = (run.task.name, run.arm, run.trial)
        if cell not in cells:
            guess = estimate(run, suite)
            seconds = took.get(cell)
            cells[cell] = Estimate(guess.operations, sum(seconds) / len(seconds), True) if seconds else guess
    return {run.id: cells[(run.task.name, run.arm, run.trial)] for run in runs}
