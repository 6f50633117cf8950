"""Estimate the operations and the time of a plan.

A layer costs 2 * (4 h^2 + 2 h i) + 4 n h operations per token forward, and twice that backward: once for the weights
and once for the input. A frozen layer needs the input half only. Seconds come from the step times of this machine and
the task's own token lengths, or from finished seeds of the same cell.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.identity import packages
from benchmarks.plans.run import Plan, Run
from benchmarks.preflight.step_times import StepTimes
from benchmarks.runs.store import Store
from benchmarks.tasks.data import TRAIN
from benchmarks.tasks.lengths import load
from benchmarks.training.cuts import padded
from benchmarks.training.settings import Training

SECONDS_PER_RUN = 0.8  # to load two models and write the results; measured on the demo
SAMPLED = 2048  # examples, enough to estimate the token lengths of a task
Cell = tuple[str, str, int]  # task, arm, trial


@dataclass(frozen=True)
class Estimate:
    """`operations` of training and evaluations of one run; its `seconds` on this machine, which include `evaluation`.
    `measured`: the seconds are those of other seeds of the same cell."""

    operations: float
    seconds: float
    evaluation: float
    measured: bool


@dataclass(frozen=True)
class Batches:
    """Per-batch averages: `words` (tokens without padding), `tokens` (with padding), `groups` (length groups) and
    `length` (tokens that each token attends to)."""

    words: float
    tokens: float
    groups: float
    length: float


@lru_cache(maxsize=256)
def batches_of(lengths: tuple[int, ...], batch_size: int, groups: int) -> Batches:
    """The averages over batches drawn from these `lengths`."""
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
    """The numbers of tokens in a sample of the run's training examples."""
    known = (run.task.name, run.tokenizer.hash, run.max_length)
    if known not in _lengths:
        if (shipped := load().get(run.task.name)) is not None:  # under BERT's uncased vocabulary
            every = max(1, shipped.examples // SAMPLED)
            lengths = np.repeat(shipped.lengths, shipped.counts)[::every].clip(max=run.max_length)
            counted = lengths.tolist()
        else:
            code = hash_of("benchmarks.training.batches:tokenise_split")
            read = [run.source.fingerprint, run.task.columns, run.tokenizer.hash, run.max_length, SAMPLED]
            key = [*read, code, packages(("tokenizers", "transformers"))]
            counted = machine_cache.once("lengths", key, lambda: _tokenised(run))
        _lengths[known] = tuple(counted)
    return _lengths[known]


def _tokenised(run: Run) -> list[int]:
    from benchmarks.runs.tokens import tokenise  # loads transformers, for seconds; known tasks do not need it

    lengths: list[int] = tokenise(run.tokenizer, run.source, run.max_length)[TRAIN].lengths[:SAMPLED].tolist()
    return lengths


def evaluations(training: Training, steps: int) -> int:
    """The number of evaluations in a run of `steps`."""
    every = training.evaluate_every
    return math.ceil(steps / every) if isinstance(every, int) else math.ceil(training.epochs)


def estimate(run: Run, plan: Plan, times: StepTimes | None) -> Estimate:
    """Estimate one run; without `times` its seconds are 0."""
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
    if times is None:
        return Estimate(operations, 0.0, 0.0, measured=False)
    frozen = "embeddings" not in method.trains
    step = times.step(units / 3.0, batch.tokens, batch.groups, batch.length, frozen)
    evaluation = evaluated * mean * times.forward
    return Estimate(operations, SECONDS_PER_RUN + run.steps * step + evaluation, evaluation, measured=False)


def estimates(runs: Sequence[Run], plan: Plan, store: Store, times: StepTimes | None) -> dict[str, Estimate]:
    """An estimate per run id, with the mean time of the cell's finished seeds if there are any. Of the runs that need
    the outputs of a predecessor, the first pays for them, unless a finished run has computed them."""
    took: dict[Cell, list[float]] = defaultdict(list)
    computed: set[str | None] = set()  # predecessors whose outputs exist
    for run in runs:
        result = store.result(run)
        if result and result.status == "done" and (seconds := store.seconds(run)):
            took[_cell(run)].append(seconds)
            computed |= {run.predecessor} if run.needs() else set()
    cells: dict[Cell, Estimate] = {}
    found = {}
    for run in runs:
        cell = _cell(run)
        if cell not in cells:
            cells[cell] = estimate(run, plan, times)
            if own := took[cell]:
                cells[cell] = replace(cells[cell], seconds=sum(own) / len(own), measured=True)
        found[run.id] = cells[cell]
        if times is not None and run.predecessor not in computed and run.needs():
            computed.add(run.predecessor)
            found[run.id] = replace(cells[cell], seconds=cells[cell].seconds + _outputs_seconds(run, times))
    return found


def _cell(run: Run) -> Cell:
    return run.task.name, run.arm, run.trial


def _outputs_seconds(run: Run, times: StepTimes) -> float:
    """The time of one pass of the predecessor over the training examples."""
    lengths = lengths_of(run)
    return run.task.train_rows * sum(lengths) / len(lengths) * run.suite_encoder.layers * times.forward


def wall_seconds(runs: Sequence[Run], guesses: dict[str, Estimate], workers: int) -> float:
    """The time that `workers` need for these runs: predecessors first, then the longest. The schedule does
    nearly the same: it takes steps times layers for the length of a run."""
    handed_on = {name for run in runs for name in run.inputs}
    order = sorted(runs, key=lambda run: (run.id not in handed_on, -guesses[run.id].seconds))
    free, ends = [0.0] * workers, dict[str, float]()
    for run in order:
        slot = min(range(workers), key=free.__getitem__)
        ready = max((ends[name] for name in run.inputs if name in ends), default=0.0)
        free[slot] = ends[run.id] = max(free[slot], ready) + guesses[run.id].seconds
    return max(free, default=0.0)
