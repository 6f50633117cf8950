"""What a results folder holds, as typed objects: suite, tasks, arms, runs and their checkpoints.

    results.of("rte", "kd")            # every planned run of a cell, all seeds and trials
    run.score("held_out")              # the dev score of the checkpoint that held-out data chose

Why typed objects: tables, figures and statistics all need to know what was *planned*, so that a
missing or failed run shows as a gap and is never averaged away. `reports.reader` makes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

PROTOCOLS = ("last", "selected", "held_out")
TABLES = (2, 4, 5, 6, 7)  # the paper's tables of dev scores


@dataclass(frozen=True)
class Task:
    """One task of a suite. `published`: its column in the paper's tables, or None."""

    name: str
    title: str
    published: str | None
    score: str
    in_macro: bool
    train_examples: int | None
    dev_examples: Mapping[str, int | None]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Arm:
    """One method with its hyper-parameters. `published`: its row in the paper's tables, or None.

    `group` and `x` place it on a line of a sweep; `trials` are the settings a search tried, one empty one without.
    `origin` is empty, `imported` or `partly imported` (reports/origin.py), and its title says it too.
    """

    name: str
    title: str
    method: str
    layers: int | None
    published: str | None
    group: str | None = None
    x: float | None = None
    trials: tuple[Mapping[str, Any], ...] = ({},)
    origin: str = ""

    @property
    def is_predecessor(self) -> bool:
        """True for the deep model that the other arms start from."""
        return self.method == "predecessor"

    @property
    def is_theseus(self) -> bool:
        """True for the paper's own method, also where its successor is trained on under another one (table 4)."""
        return self.method == "theseus" or (self.published or "").startswith("BERT-of-Theseus")


@dataclass(frozen=True)
class Checkpoint:
    """Dev results at one checkpoint: raw metrics, and `score` on the paper's 0 to 100 scale.

    `held_out_score` is the same score on the share of train that was set aside, where there is one.
    """

    step: int | None
    epoch: float | None
    metrics: Mapping[str, float | None]
    score: float | None
    flags: tuple[str, ...]
    held_out_score: float | None = None


@dataclass(frozen=True)
class Run:
    """One planned run. `status` is done, diverged, failed, or missing (planned, not there yet). `bundle`: the sha256 of
    the bundle it was imported from, None for a run made here."""

    run_id: str
    task: str
    arm: str
    method: str
    seed: int
    folder: str
    trial: int = 0
    status: str = "missing"
    reason: str = ""
    last: Checkpoint | None = None
    selected: Checkpoint | None = None
    held_out: Checkpoint | None = None
    evaluations: int | None = None
    steps: int | None = None
    epochs: float | None = None
    layers: int | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    train_seconds: float | None = None
    examples_per_second: float | None = None
    peak_memory_bytes: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Mapping[str, Any], ...] = ()
    bundle: str | None = None

    @property
    def origin(self) -> str:
        """`imported`, or empty for a run made here."""
        return "" if self.bundle is None else "imported"

    def at(self, protocol: str) -> Checkpoint | None:
        """The checkpoint of a protocol: `last`, `selected` (best on dev) or `held_out` (best on held-out train)."""
        return {"last": self.last, "selected": self.selected, "held_out": self.held_out}[protocol]

    def score(self, protocol: str) -> float | None:
        """The task score (0 to 100) at a protocol's checkpoint, None when there is none."""
        checkpoint = self.at(protocol)
        return None if checkpoint is None else checkpoint.score


@dataclass(frozen=True)
class Suite:
    """What was planned: suite.json without its list of runs.

    `table`: the paper's table it stands beside; `held_out`: the share of train set aside to choose on;
    `steps`: arms of an attribution experiment, each one change from the one before.
    """

    name: str
    title: str
    description: str
    synthetic: bool
    comparable: bool
    comparison: str
    protocol: str
    statistic: str
    encoder: Mapping[str, Any]
    successor_layers: int | None
    tasks: tuple[Task, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    predecessor_per_seed: bool
    table: int | None = None
    held_out: float = 0.0
    unequal_budget: bool = False
    steps: tuple[str, ...] = ()
    x_title: str = ""

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths of the models that come out, deepest first; empty when none is recorded."""
        found = {arm.layers for arm in self.arms if not arm.is_predecessor and arm.layers}
        return tuple(sorted(found, reverse=True)) or ((self.successor_layers,) if self.successor_layers else ())

    @property
    def searched(self) -> bool:
        """True when an arm was tried with more than one setting."""
        return any(len(arm.trials) > 1 for arm in self.arms)

    def arm(self, name: str) -> Arm:
        """The arm of a name."""
        return next(arm for arm in self.arms if arm.name == name)


@dataclass(frozen=True)
class Results:
    """A results folder. `left_out` counts run folders that the suite no longer plans; `digest` is a
    short SHA-256 over suite.json, speed.json, every result.json that was read and its origin. `imported` names those of
    suite.json and speed.json that an import brought."""

    root: Path
    suite: Suite
    runs: tuple[Run, ...]
    speed: tuple[Mapping[str, Any], ...]
    left_out: int
    notes: tuple[str, ...]
    digest: str
    imported: frozenset[str] = frozenset()

    @property
    def protocols(self) -> tuple[str, ...]:
        """`last` and `selected`, and `held_out` where the suite sets data aside or a run has such a checkpoint."""
        held = self.suite.held_out > 0 or self.suite.protocol == "held_out"
        held = held or any(run.held_out is not None for run in self.runs)
        return PROTOCOLS if held else PROTOCOLS[:2]

    def of(self, task: str, arm: str) -> tuple[Run, ...]:
        """The planned runs of one cell in planned order, every seed and every trial."""
        return self._cells.get((task, arm), ())

    @cached_property
    def _cells(self) -> dict[tuple[str, str], tuple[Run, ...]]:
        found: dict[tuple[str, str], tuple[Run, ...]] = {}
        for run in self.runs:
            found[run.task, run.arm] = (*found.get((run.task, run.arm), ()), run)
        return found
