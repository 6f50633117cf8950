"""Estimate the operations and the time of a plan, from the step times of this machine. Nothing here measures.

A layer costs 2 * (4 h^2 + 2 h i) + 4 n h operations per token forward, and twice that backward: once for the weights
and once for the input. A frozen layer needs the input half only. Seconds come from cached step times, which
`benchmarks.preflight.calibration` measures, and the task's own token lengths, or from finished seeds of the same cell.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.identity import packages
from benchmarks.machine.device import Machine
from benchmarks.models.settings import Encoder
from benchmarks.models.source import EncoderSource
from benchmarks.plans.run import Plan, Run
from benchmarks.preflight.token_facts import facts_of
from benchmarks.tasks import kinds
from benchmarks.tasks.data import TRAIN, load_splits
from benchmarks.tasks.lengths import load
from benchmarks.training.cuts import padded
from benchmarks.training.settings import Training

KIND = "step-times"
SHAPE = ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings")
SECONDS_PER_RUN = 0.8  # to load two models and write the results; measured on the demo
SAMPLED = 2048  # examples, enough to estimate the token lengths of a task
Cell = tuple[str, str, int]  # task, arm, trial


@dataclass(frozen=True)
class StepTimes:
    """Seconds on one of `workers` workers that compute at once. `fixed`: per step if everything trains;
    `fixed_frozen`: per step if embeddings and head are frozen; `call`: per layer and step; `group`: per layer and
    length group; `token`: per layer and token; `pair`: per layer and pair of tokens in a sentence; `forward`: per layer
    and token of an evaluation."""

    fixed: float
    fixed_frozen: float
    call: float
    group: float
    token: float
    pair: float
    forward: float
    workers: int

    def step(self, layers: float, tokens: float, groups: float, length: float, frozen: bool) -> float:
        """Seconds of a training step of `layers` trained layers on `tokens` in sentences of `length` and in `groups`
        length groups."""
        fixed = self.fixed_frozen if frozen else self.fixed
        return fixed + layers * (self.call + groups * self.group + tokens * (self.token + length * self.pair))


def shape_of(encoder: EncoderSource) -> dict[str, int] | None:
    """The sizes that decide the time of a step; None if the encoder is not on this machine and its suite does not give
    them."""
    if encoder.shape:
        return {name: size for name, size in encoder.shape if name in SHAPE}
    if encoder.revision is not None or not Path(encoder.location).is_dir():
        return None

    def sizes() -> dict[str, int]:
        from transformers import AutoConfig  # knows each architecture's names of its sizes; loads for a second

        config: Any = AutoConfig.from_pretrained(encoder.location, trust_remote_code=False)
        found = {name: getattr(config, name, None) for name in SHAPE}
        return {"intermediate_size": 4 * config.hidden_size} | {name: size for name, size in found.items() if size}

    shape: dict[str, int] = machine_cache.once(
        "shape",
        dict[str, int],
        [encoder.hash, SHAPE, hash_of("benchmarks.preflight.cost:shape_of"), packages(("transformers",))],
        sizes,
    )
    return shape


@dataclass(frozen=True)
class Pace:
    """How fast this machine trains a suite: `times`, None if they were not measured, and what decides them. `shape`:
    sizes of the encoder, None if they are unknown; `workers` train at once."""

    shape: dict[str, int] | None
    machine: Machine
    batch_size: int
    workers: int
    times: StepTimes | None = None

    @property
    def key(self) -> list[Any]:
        return [self.shape, self.machine.device.model_dump(mode="json"), self.machine.name, torch.__version__,
                self.batch_size, self.workers, hash_of("benchmarks.preflight.calibration")]  # fmt: skip


def pace_of(plan: Plan) -> Pace:
    """The pace of a plan, as far as it is known. This measures nothing."""
    pace = Pace(shape_of(plan.encoder), plan.machine, plan.suite.training.batch_size, plan.workers)
    return replace(pace, times=machine_cache.read(KIND, StepTimes, pace.key)) if pace.shape else pace


def keep(pace: Pace, times: StepTimes) -> None:
    """Cache measured times for `pace_of`. Raises `OSError`."""
    machine_cache.write(KIND, pace.key, asdict(times))


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


def lengths_of(run: Run) -> tuple[int, ...]:
    """The numbers of tokens in a sample of the run's training examples."""
    if (shipped := load().get(run.task.name)) is not None:  # under BERT's uncased vocabulary
        every = max(1, shipped.examples // SAMPLED)
        counted = np.repeat(shipped.lengths, shipped.counts)[::every].clip(max=run.max_length)
        return tuple(counted.tolist())

    if run.tokenizer.random:  # as `WordHash` cuts them: a token a word, and one around each text
        texts = [load_splits(run.source)[TRAIN].data[column].to_pylist()[:SAMPLED] for column in run.task.columns]
        words = [[len(text.split() if isinstance(text, str) else text) + 1 for text in column] for column in texts]
        return tuple(min(1 + sum(parts), run.max_length) for parts in zip(*words, strict=True))
    facts = facts_of([run], run.device)[run.task.name, run.tokenizer.hash]
    apart = len(run.task.columns) if kinds.find(run.task.kind).separate else 1
    return tuple(apart * min(length, run.max_length) for length in facts.lengths)


def evaluations(training: Training, steps: int) -> int:
    """The number of evaluations in a run of `steps`."""
    every = training.evaluate_every
    return math.ceil(steps / every) if isinstance(every, int) else math.ceil(training.epochs)


def estimate(run: Run, encoder: Encoder, lengths: tuple[int, ...], times: StepTimes | None) -> Estimate:
    """Estimate one run on examples of these lengths; without `times` its seconds are 0."""
    hidden = encoder.hidden_size
    intermediate = encoder.shape.get("intermediate_size", 4 * hidden)
    kind = kinds.find(run.task.kind)
    batch = batches_of(lengths, run.training.batch_size, 1 if kind.causal else run.training.length_groups)
    mean = batch.words / run.training.batch_size
    per_token = 2 * (4 * hidden**2 + 2 * hidden * intermediate) + 4 * mean * hidden
    method = run.build()
    depth = encoder.layers if run.encoder == run.suite_encoder else run.layers
    units = method.work(depth, run.modules if depth == encoder.layers else run.layers, run.steps)
    head = 0.0  # of a language model, in layers: it has an output for every token of the vocabulary
    if kind.live:
        head = 2 * hidden * (shape_of(run.suite_encoder) or {}).get("vocab_size", 0) / per_token
        units += 3 * head + (run.suite_encoder.layers + head if run.needs() else 0)
    evaluated: float = sum(run.task.dev.values()) + round(run.held_out * run.task.train_rows)
    evaluated *= max(1, evaluations(run.training, run.steps)) * (run.layers + head)
    operations = per_token * (run.steps * batch.words * units + evaluated * mean)
    if times is None:
        return Estimate(operations, 0.0, 0.0, measured=False)
    frozen = "embeddings" not in method.trains
    step = times.step(units / 3.0, batch.tokens, batch.groups, batch.length, frozen)
    evaluation = evaluated * mean * times.forward
    return Estimate(operations, SECONDS_PER_RUN + run.steps * step + evaluation, evaluation, measured=False)


def estimates(
    runs: Sequence[Run], encoder: Encoder, took: Mapping[str, float], times: StepTimes | None
) -> dict[str, Estimate]:
    """An estimate per run id. `took`: the seconds of finished runs, whose mean stands for their cell. Of the runs that
    need the outputs of a predecessor, the first pays for them, unless a finished run has computed them."""
    of_cell: dict[Cell, list[float]] = defaultdict(list)
    for run in runs:
        of_cell[_cell(run)] += [took[run.id]] if run.id in took else []
    computed = {run.predecessor for run in runs if run.id in took and run.needs()}  # predecessors whose outputs exist
    lengths: dict[tuple[str, str, int], tuple[int, ...]] = {}
    cells: dict[Cell, Estimate] = {}
    found = {}
    for run in runs:
        cell, cut = _cell(run), (run.task.name, run.tokenizer.hash, run.max_length)
        if cut not in lengths:
            lengths[cut] = lengths_of(run)
        if cell not in cells:
            cells[cell] = estimate(run, encoder, lengths[cut], times)
            if own := of_cell[cell]:
                cells[cell] = replace(cells[cell], seconds=sum(own) / len(own), measured=True)
        found[run.id] = cells[cell]
        kept = run.needs() and not kinds.find(run.task.kind).live
        if times is not None and run.predecessor not in computed and kept:
            computed.add(run.predecessor)
            words = run.task.train_rows * sum(lengths[cut]) / len(lengths[cut])  # one pass over the training examples
            paid = words * run.suite_encoder.layers * times.forward
            found[run.id] = replace(cells[cell], seconds=cells[cell].seconds + paid)
    return found


def _cell(run: Run) -> Cell:
    return run.task.name, run.arm, run.trial


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
