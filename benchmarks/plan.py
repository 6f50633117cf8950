"""From a validated suite to its runs: every cell and seed with an id, checked against data, encoder and
predecessors.

All that can go wrong before training goes wrong here, in seconds: `make_plan` raises `SuiteError` for
unreadable data, an encoder that does not fit, a predecessor whose head does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import baselines
from baselines.method import Method
from benchmarks import device as devices
from benchmarks.arms import Arm
from benchmarks.data import Source, check_splits, find_source
from benchmarks.encoder import EncoderSource, find_encoder, from_run
from benchmarks.errors import SuiteError, nearest
from benchmarks.held_out import training_examples
from benchmarks.identity import code_hash, digest, packages
from benchmarks.provenance import check_trainable
from benchmarks.schedule import planned_steps
from benchmarks.settings import Device, Encoder, Training
from benchmarks.suite import Suite
from benchmarks.tasks import Task, find_task

PREDECESSOR = "predecessor"
PREDECESSOR_ARM = Arm(method=PREDECESSOR, title="Predecessor", published="BERT-base")


@dataclass(frozen=True)
class Run:
    """One cell and seed (and trial, where an arm is searched), all resolved. `config` is what config.json holds
    and `id` hashes.

    `encoder` is what the run starts from, `suite_encoder` what its predecessor was made of; they differ for arms
    with a checkpoint of their own. `layers` is the depth that comes out, `modules` the depth the suite asks for.
    `outputs` are the predecessor's that some arm of the suite needs, all computed by the run that comes first.
    `predecessor` is the run it takes as input, `start` the run whose successor it goes on from; `finetuned` the
    user's folder a predecessor run takes as it is. `stop_at_chance`: not to be started
    from a predecessor that is no better than a constant answer.
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
    outputs: frozenset[str]
    predecessor: str | None
    predecessor_folder: str | None
    start: str | None
    start_folder: str | None
    finetuned: str | None
    stop_at_chance: bool
    config: dict[str, Any]

    @property
    def folder(self) -> str:
        """Relative to the results folder."""
        return f"{self.task.name}/{self.method}/seed-{self.seed}-{self.id}"

    @property
    def tokenizer(self) -> EncoderSource:
        """Whose tokenizer the run reads its data with: that of what it starts from."""
        return self.suite_encoder if self.start else self.encoder

    @property
    def inputs(self) -> set[str]:
        """The runs that must be done before this one."""
        return {run for run in (self.predecessor, self.start) if run}

    def build(self) -> Method:
        return baselines.find(self.method)(**self.options)

    def needs(self) -> frozenset[str]:
        """What it reads of its predecessor's outputs."""
        if self.predecessor is None:
            return frozenset()
        return self.build().needs(self.suite_encoder.layers, self.modules)


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
        by_id = {run.id: run for run in self.runs}
        needed: set[str] = set()
        todo = [run.id for run in chosen]
        while todo:
            run = by_id[todo.pop()]
            needed.add(run.id)
            todo += run.inputs - needed
        return [run for run in self.runs if run.id in needed]


def make_plan(suite: Suite, wanted_tasks: Sequence[str] = ()) -> Plan:
    """Resolve, check and list the runs of all tasks.

    The data of `wanted_tasks` (default: all) is opened and checked; a task that is not wanted and whose data is
    not there is left out of the plan.
    """
    device = devices.resolve(suite.device)
    encoder = find_encoder(suite.encoder)
    own = {
        name: find_encoder(_stand_in(arm.encoder, suite) if suite.encoder.random else arm.encoder, own=name)
        for name, arm in suite.arms.items()
        if arm.encoder
    }
    runs: list[Run] = []
    warnings: list[str] = []
    for name in _intermediate_first(suite):
        task = find_task(name)
        wanted = not wanted_tasks or name in wanted_tasks or name in intermediate_tasks(suite)
        try:
            source = find_source(task, suite.data)
        except SuiteError:
            if wanted:
                raise
            continue
        if wanted and (source.folder or task.synthetic):
            check_splits(source)
        planner = _TaskPlanner(suite, device, encoder, own, task, source, runs)
        runs += planner.runs()
        warnings += planner.warnings
    return Plan(suite, device, encoder, _with_outputs(runs), list(dict.fromkeys(warnings)))


def _with_outputs(runs: list[Run]) -> list[Run]:
    """Tell each run which outputs of its predecessor some run needs."""
    needed: dict[str | None, frozenset[str]] = {}
    for run in runs:
        if run.predecessor:
            needed[run.predecessor] = needed.get(run.predecessor, frozenset()) | run.needs()
    return [replace(run, outputs=needed[run.predecessor]) if run.predecessor else run for run in runs]


def _stand_in(encoder: Encoder, suite: Suite) -> Encoder:
    """A random model in place of an arm's own checkpoint, where the suite's encoder is random too (dry runs)."""
    shape = {**suite.encoder.shape, "num_hidden_layers": encoder.layers, "hidden_size": encoder.hidden_size}
    return encoder.model_copy(update={"random": True, "shape": {**shape, **encoder.shape}})


def intermediate_tasks(suite: Suite) -> list[str]:
    """The tasks that some arm compresses on before it is fine-tuned on the others."""
    return sorted({arm.intermediate.task for arm in suite.arms.values() if arm.intermediate})


def _intermediate_first(suite: Suite) -> list[str]:
    first = intermediate_tasks(suite)
    return [*first, *(task for task in suite.tasks if task not in first)]


def _predecessor_hash(path: str, task: Task, encoder: EncoderSource) -> str:
    from benchmarks.loading import check_predecessor  # seconds of imports that only a given predecessor needs

    return check_predecessor(path, task, encoder)


class _TaskPlanner:
    """The runs of one task: its predecessors first, then every arm, trial and seed."""

    def __init__(
        self, suite: Suite, device: Device, encoder: EncoderSource, own: dict[str, EncoderSource], task: Task,
        source: Source, earlier: list[Run],
    ) -> None:  # fmt: skip
        self.suite, self.device, self.encoder, self.own, self.task = suite, device, encoder, own, task
        self.source, self.earlier = source, earlier
        self.warnings: list[str] = []
        path = suite.predecessor.paths.get(task.name)
        self.finetuned = (path, _predecessor_hash(path, task, encoder)) if path else None

    def runs(self) -> list[Run]:
        shared = self.suite.predecessor.seed if self.suite.predecessor.seed is not None else self.suite.seeds[0]
        seeds = self.suite.seeds if self.suite.predecessor.per_seed else [shared]
        if self.finetuned:
            seeds = seeds[:1]
        if self.finetuned and self.suite.held_out:
            self.warnings.append(
                f"{self.task.name}: the given predecessor may have been trained on what is held out here: its pupils' "
                "held-out scores may flatter"
            )
        training = self.suite.training_for(self.task.name, None)
        predecessors = {seed: self._run(PREDECESSOR, PREDECESSOR_ARM, training, seed) for seed in seeds}
        runs = list(predecessors.values())
        for name, arm in self.suite.arms.items():
            for trial in range(len(arm.trials())):
                for seed in self.suite.seeds:
                    runs.append(self._arm_run(name, seed, trial, predecessors.get(seed, predecessors[seeds[0]])))
        return runs

    def _arm_run(self, name: str, seed: int, trial: int, predecessor: Run) -> Run:
        training = self.suite.training_for(self.task.name, name, trial)
        intermediate = self.suite.arms[name].intermediate
        if intermediate is None or intermediate.task == self.task.name:
            arm = self.suite.arm_for(self.task.name, name, trial)
            return self._run(name, arm, training, seed, trial, predecessor)
        start = next(
            run for run in self.earlier
            if (run.task.name, run.arm, run.seed) == (intermediate.task, name, seed)
        )  # fmt: skip
        arm = self.suite.arms[name].model_copy(update={"method": "pretrained", "options": {}})
        return self._run(name, arm, training, seed, trial, predecessor, start)

    def _run(
        self, name: str, arm: Arm, training: Training, seed: int, trial: int = 0, predecessor: Run | None = None,
        start: Run | None = None,
    ) -> Run:  # fmt: skip
        method = arm.build()
        steps = planned_steps(training, training_examples(self.task, self.suite.held_out))
        if message := method.warning(steps):
            self.warnings.append(f"{self.task.name} {name}: {message}")
        modules = self.suite.encoder.layers if predecessor is None else self.suite.layers_of(name)
        encoder = from_run(self.encoder, start.id, start.layers) if start else self.own.get(name, self.encoder)
        layers = encoder.layers if method.own_encoder else method.depth(self.suite.encoder.layers, modules)
        check_trainable(method, encoder, self.encoder, self.task, modules, arm.trainable_parameters)
        needs = predecessor if method.uses_predecessor else None
        finetuned = self.finetuned if predecessor is None else None
        run = Run(
            id="", task=self.task, arm=name, method=arm.method, seed=seed, trial=trial, layers=layers, modules=modules,
            options=method.model_dump(mode="json"), training=training, steps=0 if finetuned else steps,
            device=self.device, source=self.source, encoder=encoder, suite_encoder=self.encoder,
            max_length=self.suite.max_length(self.task), held_out=self.suite.held_out,
            keep_successor=predecessor is None or self.suite.keep_successors or self._handed_on(name),
            outputs=frozenset(),
            predecessor=needs.id if needs else None, predecessor_folder=needs.folder if needs else None,
            start=start.id if start else None, start_folder=start.folder if start else None,
            finetuned=finetuned[0] if finetuned else None,
            stop_at_chance=self.task.in_macro and self.suite.predecessor.at_chance == "stop",
            config={},
        )  # fmt: skip
        config = self._config(run, finetuned[1] if finetuned else None)
        return replace(run, id=digest(config)[:16], config={"suite": self.suite.name, **config})

    def _handed_on(self, name: str) -> bool:
        """Do other tasks go on from this arm's successor on this one?"""
        intermediate = self.suite.arms[name].intermediate if name in self.suite.arms else None
        return intermediate is not None and intermediate.task == self.task.name

    def _config(self, run: Run, finetuned: str | None) -> dict[str, Any]:
        return {
            "schema": 1,
            "task": self.task.name,
            "method": run.method,
            "arm": run.arm,
            "seed": run.seed,
            "layers": run.layers,
            "modules": run.modules,
            "options": run.options,
            "training": run.training.model_dump(mode="json"),
            "device": {**self.device.model_dump(mode="json"), "class": devices.device_class(self.device)},
            "data": self._data(),
            "encoder": {"name": run.encoder.name, "hash": run.encoder.hash},
            "predecessor": run.predecessor,
            "start": run.start,
            "finetuned": finetuned,
            "checkpoint": self.suite.protocol,
            "code": code_hash(run.method),
            "packages": packages(("torch", "transformers", "tokenizers", "numpy")),
        }

    def _data(self) -> dict[str, Any]:
        return {
            "fingerprint": self.source.fingerprint,
            "columns": list(self.task.columns),
            "labels": list(self.task.labels),
            "score": self.task.score,
            "max_length": self.suite.max_length(self.task),
            "held_out": self.suite.held_out,
        }
