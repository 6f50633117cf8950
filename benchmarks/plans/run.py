"""A run and a plan, as the planner makes them and everything later reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import baselines
from baselines.method import Method, Output
from benchmarks.base.errors import SuiteError, nearest
from benchmarks.machine.device import Machine
from benchmarks.machine.settings import Device
from benchmarks.models.source import EncoderSource
from benchmarks.suites.suite import Suite
from benchmarks.tasks.data import Source
from benchmarks.tasks.table import Task
from benchmarks.training.settings import Training
from results.format.documents.config import Config
from results.format.layout import run_folder


@dataclass(frozen=True)
class Run:
    """One cell and seed (and trial, if the arm has a grid), resolved. `config` is the content of config.json; `id`
    hashes it without the suite's name.

    `encoder` is the model from which the run starts, `suite_encoder` the one from which its predecessor was made; they
    differ for arms with a checkpoint of their own. `layers` is the depth of the result, `modules` the depth that the
    suite asks for. `outputs` are those that any arm needs of the predecessor; the first run computes them for all.
    `predecessor` is the run that this one takes as input, `start` the run from whose successor it continues, and
    `finetuned` the user's folder that a predecessor run uses unchanged. `stop_at_chance`: do not start from a
    predecessor that is no better than a constant answer.
    """

    id: str
    task: Task
    arm: str
    method: str
    seed: int
    trial: int
    layers: int
    modules: int
    options: dict[str, Any]
    training: Training
    steps: int
    device: Device
    source: Source
    encoder: EncoderSource
    suite_encoder: EncoderSource
    max_length: int
    held_out: float
    keep_successor: bool
    outputs: frozenset[Output]
    predecessor: str | None
    predecessor_folder: str | None
    start: str | None
    start_folder: str | None
    finetuned: str | None
    stop_at_chance: bool
    config: Config

    @property
    def folder(self) -> str:
        """The run's folder, relative to the results folder."""
        return run_folder(self.task.name, self.method, self.seed, self.id)

    @property
    def tokenizer(self) -> EncoderSource:
        """The encoder whose tokenizer the run uses: that of the model from which it starts."""
        return self.suite_encoder if self.start else self.encoder

    @property
    def inputs(self) -> set[str]:
        """The runs that must be done before this one."""
        return {run for run in (self.predecessor, self.start) if run}

    def build(self) -> Method:
        """The method with the run's options."""
        return baselines.find(self.method)(**self.options)

    def needs(self) -> frozenset[Output]:
        """The predecessor's outputs that this run reads."""
        if self.predecessor is None:
            return frozenset()
        return self.build().needs(self.suite_encoder.layers, self.modules)


@dataclass(frozen=True)
class Plan:
    """All runs of a suite in an executable order, with the machine, the number of workers that should train at once on
    it, the encoder and the warnings to show."""

    suite: Suite
    machine: Machine
    workers: int
    encoder: EncoderSource
    runs: list[Run]
    warnings: list[str]

    @property
    def device(self) -> Device:
        return self.machine.device

    def select(self, tasks: Sequence[str] = (), methods: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Run]:
        """The runs of these tasks, arms (or methods) and seeds, with the predecessors they need; empty means all."""
        arms = {run.arm for run in self.runs} | {run.method for run in self.runs}
        for kind, given, known in (
            ("task", tasks, self.suite.tasks),
            ("method", methods, sorted(arms)),
            ("seed", [str(seed) for seed in seeds], [str(seed) for seed in self.suite.seeds]),
        ):
            for name in given:
                if name not in known:
                    raise SuiteError(f"suite {self.suite.name} has no {kind} {name!r}: {nearest(name, known)}")
        chosen = [
            run
            for run in self.runs
            if (not tasks or run.task.name in tasks)
            and (not methods or run.arm in methods or run.method in methods)
            and (not seeds or run.seed in seeds)
        ]
        by_id = {run.id: run for run in self.runs}
        needed: set[str] = set()
        todo = [run.id for run in chosen]
        while todo:
            run = by_id[todo.pop()]
            needed.add(run.id)
            todo += run.inputs - needed
        return [run for run in self.runs if run.id in needed]
