"""From a validated suite to its runs: every cell and seed with an id, checked against data, encoder and
predecessors.

All that can go wrong before training goes wrong here, in seconds: `make_plan` raises `SuiteError` for
unreadable data, an encoder that does not fit, a predecessor whose head does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from baselines.method import Method
from benchmarks import device as devices
from benchmarks.data import Source, find_source, load_splits
from benchmarks.encoder import EncoderSource, check_predecessor, find_encoder
from benchmarks.errors import SuiteError, nearest
from benchmarks.identity import code_hash, digest, packages
from benchmarks.suite import Arm, Device, Suite, Training
from benchmarks.tasks import Task, find_task
from benchmarks.training import planned_steps

PREDECESSOR = "predecessor"
PREDECESSOR_ARM = Arm(method=PREDECESSOR, title="Predecessor", published="BERT-base")


@dataclass(frozen=True)
class Run:
    """One cell and seed, all resolved. `config` is what config.json holds and `id` hashes.

    `predecessor` is the run it takes as input; `finetuned` the user's folder a predecessor run takes as it is.
    """

    id: str
    task: Task
    arm: str
    method: str
    seed: int
    layers: int
    options: dict[str, Any]
    training: Training
    steps: int
    device: Device
    source: Source
    encoder: EncoderSource
    max_length: int
    keep_successor: bool
    predecessor: str | None
    predecessor_folder: str | None
    finetuned: str | None
    config: dict[str, Any]

    @property
    def folder(self) -> str:
        """Relative to the results folder."""
        return f"{self.task.name}/{self.method}/seed-{self.seed}-{self.id}"

    def build(self) -> Method:
        return Arm(method=self.method, title=self.arm, options=self.options).build()


@dataclass(frozen=True)
class Plan:
    """All runs of a suite in the order they can be executed, what it is made from, and what to warn about."""

    suite: Suite
    device: Device
    encoder: EncoderSource
    runs: list[Run]
    warnings: list[str]

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
        needed = {run.predecessor for run in chosen} | {run.id for run in chosen}
        return [run for run in self.runs if run.id in needed]


def make_plan(suite: Suite, wanted_tasks: Sequence[str] = ()) -> Plan:
    """Resolve, check and list the runs of all tasks.

    The data of `wanted_tasks` (default: all) is opened and checked; a task that is not wanted and whose data is
    not there is left out of the plan.
    """
    device = devices.resolve(suite.device)
    encoder = find_encoder(suite.encoder)
    runs: list[Run] = []
    warnings: list[str] = []
    for name in suite.tasks:
        task = find_task(name)
        wanted = not wanted_tasks or name in wanted_tasks
        try:
            source = find_source(task, suite.data)
        except SuiteError:
            if wanted:
                raise
            continue
        if wanted and (source.folder or task.synthetic):
            load_splits(source)
        planner = _TaskPlanner(suite, device, encoder, task, source)
        runs += planner.runs()
        warnings += planner.warnings
    return Plan(suite, device, encoder, runs, list(dict.fromkeys(warnings)))


class _TaskPlanner:
    """The runs of one task: its predecessors first, then every arm and seed."""

    def __init__(self, suite: Suite, device: Device, encoder: EncoderSource, task: Task, source: Source) -> None:
        self.suite, self.device, self.encoder, self.task, self.source = suite, device, encoder, task, source
        self.warnings: list[str] = []
        path = suite.predecessor.paths.get(task.name)
        self.finetuned = (path, check_predecessor(path, task, encoder)) if path else None

    def runs(self) -> list[Run]:
        shared = self.suite.predecessor.seed if self.suite.predecessor.seed is not None else self.suite.seeds[0]
        seeds = self.suite.seeds if self.suite.predecessor.per_seed else [shared]
        if self.finetuned:
            seeds = seeds[:1]
        predecessors = {seed: self._run(PREDECESSOR, PREDECESSOR_ARM, seed, None) for seed in seeds}
        runs = list(predecessors.values())
        for name in self.suite.arms:
            arm = self.suite.arm_for(self.task.name, name)
            for seed in self.suite.seeds:
                runs.append(self._run(name, arm, seed, predecessors.get(seed, predecessors[seeds[0]])))
        return runs

    def _run(self, name: str, arm: Arm, seed: int, predecessor: Run | None) -> Run:
        method = arm.build()
        is_predecessor = predecessor is None
        training = self.suite.training_for(self.task.name, None if is_predecessor else name)
        steps = planned_steps(training, self.task.train_rows)
        if message := method.warning(steps):
            self.warnings.append(f"{self.task.name} {name}: {message}")
        needs = predecessor if method.uses_predecessor else None
        layers = self.suite.encoder.layers if method.full_depth else self.suite.successor_layers
        finetuned = self.finetuned if is_predecessor else None
        config = {
            "schema": 1,
            "task": self.task.name,
            "method": arm.method,
            "arm": name,
            "seed": seed,
            "layers": layers,
            "options": method.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "device": {**self.device.model_dump(mode="json"), "class": devices.device_class(self.device)},
            "data": self._data(),
            "encoder": {"name": self.encoder.name, "hash": self.encoder.hash},
            "predecessor": needs.id if needs else None,
            "finetuned": finetuned[1] if finetuned else None,
            "checkpoint": self.suite.protocol,
            "code": code_hash(arm.method),
            "packages": packages(("torch", "transformers", "tokenizers")),
        }
        return Run(
            id=digest(config)[:16], task=self.task, arm=name, method=arm.method, seed=seed, layers=layers,
            options=arm.options, training=training, steps=0 if finetuned else steps, device=self.device,
            source=self.source, encoder=self.encoder, max_length=self.suite.max_length(self.task),
            keep_successor=is_predecessor or self.suite.keep_successors,
            predecessor=needs.id if needs else None, predecessor_folder=needs.folder if needs else None,
            finetuned=finetuned[0] if finetuned else None, config={"suite": self.suite.name, **config},
        )  # fmt: skip

    def _data(self) -> dict[str, Any]:
        return {
            "fingerprint": self.source.fingerprint,
            "columns": list(self.task.columns),
            "labels": list(self.task.labels),
            "score": self.task.score,
            "max_length": self.suite.max_length(self.task),
        }
