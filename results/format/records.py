"""The content of a results folder as typed objects: suite, tasks, arms, runs and their checkpoints.

    results.of("rte", "kd")            # every planned run of a cell, all seeds and trials
    run.score("held_out")              # the dev score of the checkpoint that held-out data chose

Tables, figures and statistics all need to know which runs were *planned*, so that a missing or failed run shows as a
gap and is never averaged away. `results.format.reader` makes these objects from the documents in
`results/format/documents/`, which define every key of the format.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from results.format.documents.config import Config, DeviceUsed
from results.format.documents.run import Checkpoint, Evaluation, Manifest, Outcome
from results.format.documents.speed import Condition, Speed
from results.format.documents.suite import PROTOCOLS, TABLES, Arm, Planned, Suite, SuiteEncoder, Task, leading_theseus

__all__ = [
    "PROTOCOLS",
    "TABLES",
    "Arm",
    "Checkpoint",
    "Condition",
    "Evaluation",
    "Results",
    "Run",
    "Suite",
    "SuiteEncoder",
    "Task",
    "leading_theseus",
]

NO_CONFIG, NO_MANIFEST = Config(raw={}), Manifest(raw={})


@dataclass(frozen=True)
class Run(Outcome, Planned):
    """One planned run with the content of its files. `bundle`: the sha256 of the bundle that it was imported from, None
    for a run made here."""

    config: Config = NO_CONFIG
    manifest: Manifest = NO_MANIFEST
    curve: tuple[Evaluation, ...] = ()
    bundle: str | None = None

    @property
    def origin(self) -> str:
        """`imported`, or empty for a run made here."""
        return "" if self.bundle is None else "imported"

    @property
    def device(self) -> DeviceUsed:
        """The device in its manifest, or else in its settings."""
        return self.config.device if self.manifest.device == DeviceUsed() else self.manifest.device


@dataclass(frozen=True)
class Results:
    """A results folder. `left_out` counts run folders that the suite no longer plans; `digest` is a short SHA-256 over
    suite.json, speed.json, every result.json and its origin; `imported` holds suite.json and speed.json if they were
    imported."""

    root: Path
    suite: Suite
    runs: tuple[Run, ...]
    timing: Speed
    left_out: int
    notes: tuple[str, ...]
    digest: str
    imported: frozenset[str] = frozenset()

    @property
    def speed(self) -> tuple[Condition, ...]:
        """The timed conditions."""
        return self.timing.conditions

    @property
    def protocols(self) -> tuple[str, ...]:
        """`last` and `selected`, and `held_out` if the suite sets data aside or a run has such a checkpoint."""
        held = self.suite.held_out > 0 or self.suite.protocol == "held_out"
        held = held or any(run.held_out is not None for run in self.runs)
        return PROTOCOLS if held else PROTOCOLS[:2]

    def of(self, task: str, arm: str) -> tuple[Run, ...]:
        """The planned runs of one cell in planned order, every seed and every trial."""
        return self._cells.get((task, arm), ())

    @cached_property
    def _cells(self) -> dict[tuple[str, str], tuple[Run, ...]]:
        found: dict[tuple[str, str], list[Run]] = {}
        for run in self.runs:
            found.setdefault((run.task, run.arm), []).append(run)
        return {key: tuple(runs) for key, runs in found.items()}
