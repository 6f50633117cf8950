"""What a plan will take: operations counted, time from the rates this machine was measured at.

A layer costs 2 * (4 h^2 + 2 h i) + 4 n h operations per token forward, and twice that backward: once for the weights
and once for the input. A frozen layer needs the input half only. Seconds come from `benchmarks.calibration` and the
task's own token lengths; where finished runs of the same cell are at hand, their time is used instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from benchmarks import kept
from benchmarks.cuts import padded
from benchmarks.data import TRAIN
from benchmarks.identity import hash_of, packages
from benchmarks.lengths import load
from benchmarks.plan import Plan, Run
from benchmarks.rates import Rates
from benchmarks.settings import Training
from benchmarks.store import Store

SECONDS_PER_RUN = 0.8  # loading two models, writing; measured on the demo
SAMPLED = 2048  # examples from which a task's lengths are known well enough


@dataclass(frozen=True)
class Estimate:
    """`operations` of the training and evaluations of one run; `seconds` it will take on this machine, of them
    `evaluation`. `measured`: the seconds are another seed's of the same cell."""

    operations: float
    seconds: float
    evaluation: float
    measured: bool


@dataclass(frozen=True)
class Batches:
    """Means over a task's batches: `words` a batch, `tokens` with the padding of its length `groups`, `length` the mean
    number of tokens that a token attends to."""

    words: float
    tokens: float
    groups: float
    length: float


@lru_cache(maxsize=256)
def batches_of(lengths: tuple[int, ...], batch_size: int, groups: int) -> Batches:
    """Of batches drawn from these `lengths`."""
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0))
    drawn = torch.tensor(lengths)[order]
    words = tokens = cuts = pairs = count = 0.0
    for batch in drawn.split(batch_size):
        own = padded(batch.sort().values, groups)
        cuts, tokens, pairs = cuts + own[0], tokens + own[1], pairs + own[2]
        words, count = words + float(batch.sum()), count + len(batch) / batch_size
    return Batches(words / count, tokens / count, cuts / count, pairs / tokens)


_lengths: dict[tuple[str, str, int], tuple[int, ...]] = {}


def lengths_of(run: Run) -> tuple[int, ...]:
    """Tokens of a sample of the run's training examples."""
    known = (run.task.name, run.tokenizer.hash, run.max_length)
    if known not in _lengths:
        if (shipped := load().get(run.task.name)) is not None:  # under BERT's uncased vocabulary
            every = max(1, shipped.examples // SAMPLED)
            lengths = np.repeat(shipped.lengths, shipped.counts)[::every].clip(max=run.max_length)
            counted = lengths.tolist()
        else:
            key = [run.source.fingerprint, run.task.columns, run.tokenizer.hash, run.max_length, SAMPLED,
                   hash_of("benchmarks.batches"), packages(("tokenizers", "transformers"))]  # fmt: skip
            counted = kept.once("lengths", key, lambda: _tokenised(run))
        _lengths[known] = tuple(counted)
    return _lengths[known]


def _tokenised(run: Run) -> list[int]:
    from benchmarks.batches import tokenise  # seconds of imports that a known task need not wait for

    lengths: list[int] = tokenise(run.tokenizer, run.source, run.max_length)[TRAIN].lengths[:SAMPLED].tolist()
    return lengths


def evaluations(training: Training, steps: int) -> int:
    """How often a run of `steps` evaluates."""
    every = training.evaluate_every
    return math.ceil(steps / every) if isinstance(every, int) else math.ceil(training.epochs)


def estimate(run: Run, plan: Plan, rates: Rates | None) -> Estimate:
    """Operations of one run, and its seconds at these `rates` (0 where they are None)."""
    encoder = plan.suite.encoder
    hidden = encoder.hidden_size
    intermediate = encoder.shape.get("intermediate_size", 4 * hidden)
    batch = batches_of(lengths_of(run), run.training.batch_size, run.training.length_groups)
    mean = batch.words / run.training.batch_size
    per_token = 2 * (4 * hidden**2 + 2 * hidden * intermediate) + 4 * mean * hidden
    method = run.build()
    depth = encoder.layers if run.encoder == run.suite_encoder else run.layers
    units = method.work(depth, run.modules if depth == encoder.layers else run.layers, run.steps)
    evaluated = sum(run.task.dev.values()) + round(run.held_out * run.task.train_rows)
    evaluated *= max(1, evaluations(run.training, run.steps)) * run.layers
    operations = per_token * (run.steps * batch.words * units + evaluated * mean)
    if rates is None:
        return Estimate(operations, 0.0, 0.0, measured=False)
    frozen = "embeddings" not in method.trains
    step = rates.step(units / 3.0, batch.tokens, batch.groups, batch.length, frozen)
    evaluation = evaluated * mean * rates.forward
    return Estimate(operations, SECONDS_PER_RUN + run.steps * step + evaluation, evaluation, measured=False)


def estimates(runs: Sequence[Run], plan: Plan, store: Store, rates: Rates | None) -> dict[str, Estimate]:
    """An estimate per run id; where another seed of the cell is done, its time. The predecessor's outputs are counted
    with the first run that needs them and is not done."""
    took: dict[tuple[str, str, int], list[float]] = {}
    there: set[str | None] = set()  # predecessors whose outputs some run has computed
    for run in runs:
        result = store.result(run)
        if result and result["status"] == "done" and (seconds := store.seconds(run)):
            took.setdefault((run.task.name, run.arm, run.trial), []).append(seconds)
            there |= {run.predecessor} if run.needs() else set()
    cells: dict[tuple[str, str, int], Estimate] = {}
    for run in runs:
        cell = (run.task.name, run.arm, run.trial)
        if cell not in cells:
            guess = estimate(run, plan, rates)
            if seconds_of := took.get(cell):
                guess = Estimate(guess.operations, sum(seconds_of) / len(seconds_of), guess.evaluation, measured=True)
            cells[cell] = guess
    found = {run.id: cells[(run.task.name, run.arm, run.trial)] for run in runs}
    for run in runs:
        if rates is not None and run.predecessor not in there and run.needs():
            there.add(run.predecessor)
            found[run.id] = replace(found[run.id], seconds=found[run.id].seconds + outputs_seconds(run, rates))
    return found


def outputs_seconds(run: Run, rates: Rates) -> float:
    """What one pass of the predecessor over the training examples takes."""
    lengths = lengths_of(run)
    return run.task.train_rows * sum(lengths) / len(lengths) * run.suite_encoder.layers * rates.forward


def wall_seconds(runs: Sequence[Run], guesses: dict[str, Estimate], workers: int) -> float:
    """How long `workers` will take for these runs, started in the engine's order with predecessors first."""
    handed_on = {name for run in runs for name in run.inputs}
    order = sorted(runs, key=lambda run: (run.id not in handed_on, -guesses[run.id].seconds))
    free, ends = [0.0] * workers, dict[str, float]()
    for run in order:
        slot = min(range(workers), key=free.__getitem__)
        ready = max((ends[name] for name in run.inputs if name in ends), default=0.0)
        free[slot] = ends[run.id] = max(free[slot], ready) + guesses[run.id].seconds
    return max(free, default=0.0)
