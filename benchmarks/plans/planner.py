"""Turn a validated suite and its inputs into runs: every cell, trial and seed with an id, in an executable order.

    plan = make_plan(load_suite("demo"))

A fault that can be known before training shows here, in seconds: `make_plan` raises `SuiteError` for inputs that are
missing or do not fit (`plans/inputs.py`), and for arms that would not train the parameters that they declare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from baselines.method import Output
from benchmarks.base.code_hash import code_hash
from benchmarks.base.identity import packages
from benchmarks.models.source import EncoderSource
from benchmarks.plans.checks import check_trainable, check_wishes, new_head
from benchmarks.plans.inputs import Inputs, find_inputs
from benchmarks.plans.run import Plan, Run
from benchmarks.suites.arms import PREDECESSOR
from benchmarks.suites.suite import Resolved, Suite
from benchmarks.tasks.data import Source
from benchmarks.training.held_out import training_examples
from benchmarks.training.schedule import planned_steps
from results.format.documents.codec import LEFT_OUT
from results.format.documents.config import Config, DataUsed, EncoderUsed


def make_plan(suite: Suite, wanted_tasks: Sequence[str] = ()) -> Plan:
    """Resolve, check and list the runs of all tasks.

    The data of `wanted_tasks` (default: all) is opened and checked. Another task is left out if its data is missing.
    """
    inputs = find_inputs(suite, wanted_tasks)
    runs: list[Run] = []
    warnings: list[str] = []
    for source in inputs.sources.values():
        planner = _TaskPlanner(suite, inputs, source, runs)
        runs += planner.runs()
        warnings += planner.warnings
    return Plan(
        suite, inputs.machine, inputs.workers, inputs.encoder, _with_outputs(runs), list(dict.fromkeys(warnings))
    )


def _with_outputs(runs: list[Run]) -> list[Run]:
    """Give each run the list of outputs that any run needs of its predecessor."""
    needed: dict[str | None, frozenset[Output]] = {}
    for run in runs:
        if run.predecessor:
            needed[run.predecessor] = needed.get(run.predecessor, frozenset()) | run.needs()
    return [replace(run, outputs=needed[run.predecessor]) if run.predecessor else run for run in runs]


def _left_by(run: Run) -> EncoderSource:
    """The successor that a run will leave, as another run's encoder; its folder is known only at execution."""
    name = f"successor of {run.suite_encoder.name}"
    return EncoderSource(name, f"run {run.id}", None, f"run {run.id}", run.layers)


class _TaskPlanner:
    """The runs of one task: its predecessors first, then every arm, trial and seed."""

    def __init__(self, suite: Suite, inputs: Inputs, source: Source, earlier: list[Run]) -> None:
        self.suite, self.inputs, self.source, self.earlier = suite, inputs, source, earlier
        self.task, self.encoder = source.task, inputs.encoder
        self.finetuned = inputs.finetuned.get(source.task.name)
        self.warnings: list[str] = []

    def runs(self) -> list[Run]:
        shared = self.suite.predecessor.seed if self.suite.predecessor.seed is not None else self.suite.seeds[0]
        seeds = self.suite.seeds if self.suite.predecessor.per_seed else [shared]
        if self.finetuned:
            seeds = seeds[:1]
        if self.finetuned and self.suite.held_out:
            self.warnings.append(
                f"{self.task.name}: the given predecessor may have been trained on the examples held out here: "
                "held-out scores may be too high"
            )
        predecessors = {seed: self._run(self.suite.resolve(self.task.name, PREDECESSOR), seed) for seed in seeds}
        runs = list(predecessors.values())
        for name, arm in self.suite.arms.items():
            for trial in range(len(arm.trials())):
                resolved = self.suite.resolve(self.task.name, name, trial)
                for seed in self.suite.seeds:
                    runs.append(self._run(resolved, seed, trial, predecessors.get(seed, predecessors[seeds[0]])))
        return runs

    def _start(self, resolved: Resolved, seed: int) -> Run | None:
        """The run on an earlier task from whose successor this one continues."""
        wanted = (resolved.first, resolved.arm, seed)
        return next((run for run in self.earlier if (run.task.name, run.arm, run.seed) == wanted), None)

    def _run(self, resolved: Resolved, seed: int, trial: int = 0, predecessor: Run | None = None) -> Run:
        name, method, modules = resolved.arm, resolved.method, resolved.modules
        start = self._start(resolved, seed) if resolved.first else None
        encoder = _left_by(start) if start else self.inputs.own.get(name, self.encoder)
        steps = planned_steps(resolved.training, training_examples(self.task, self.suite.held_out))
        self._check(resolved, encoder, steps)
        layers = encoder.layers if method.own_encoder else method.depth(self.suite.encoder.layers, modules)
        teacher = predecessor if method.uses_predecessor else None
        finetuned = self.finetuned if predecessor is None else None
        run = Run(
            id="", task=self.task, arm=name, method=resolved.name, seed=seed, trial=trial, layers=layers,
            modules=modules, options=method.model_dump(mode="json"), training=resolved.training,
            steps=0 if finetuned else steps,
            device=self.inputs.machine.device, source=self.source, encoder=encoder, suite_encoder=self.encoder,
            max_length=resolved.max_length, held_out=self.suite.held_out,
            keep_successor=predecessor is None or self.suite.keep_successors or self._handed_on(name),
            outputs=frozenset(),
            predecessor=teacher.id if teacher else None, predecessor_folder=teacher.folder if teacher else None,
            start=start.id if start else None, start_folder=start.folder if start else None,
            finetuned=finetuned.folder if finetuned else None,
            stop_at_chance=self.task.in_macro and self.suite.predecessor.at_chance == "stop",
            config=Config(),
        )  # fmt: skip
        config = self._config(run, finetuned.hash if finetuned else None)
        return replace(run, id=config.id, config=config)

    def _check(self, resolved: Resolved, encoder: EncoderSource, steps: int) -> None:
        """Check what can be known of a run before it starts. Raises `SuiteError`, or adds a warning."""
        if message := resolved.method.warning(steps):
            self.warnings.append(f"{self.task.name} {resolved.arm}: {message}")
        if message := new_head(encoder, self.task):
            self.warnings.append(f"{self.task.name}: {message}")
        own_words = encoder.hash != self.encoder.hash and not resolved.first
        check_wishes(resolved.arm, resolved.method, resolved.modules, self.encoder, own_words, self.task.kind)
        check_trainable(
            resolved.method, encoder, self.encoder, self.task, resolved.modules, resolved.trainable_parameters
        )

    def _handed_on(self, name: str) -> bool:
        """Whether runs on other tasks continue from this arm's successor on this task."""
        intermediate = self.suite.arms[name].intermediate if name in self.suite.arms else None
        return intermediate is not None and intermediate.task == self.task.name

    def _config(self, run: Run, finetuned: str | None) -> Config:
        return Config(
            suite=self.suite.name,
            task=self.task.name,
            method=run.method,
            arm=run.arm,
            seed=run.seed,
            layers=run.layers,
            modules=run.modules,
            options=run.options,
            training=run.training.model_dump(mode="json"),
            steps=run.steps,
            device=self.inputs.recorded,
            data=self._data(run),
            encoder=EncoderUsed(run.encoder.name, run.encoder.hash),
            predecessor=run.predecessor,
            start=run.start,
            finetuned=finetuned,
            checkpoint=self.suite.protocol,
            code=code_hash(run.method, run.task.kind),
            packages=packages(("torch", "transformers", "tokenizers", "numpy")),
        )

    def _data(self, run: Run) -> DataUsed:
        return DataUsed(
            fingerprint=self.source.fingerprint,
            columns=list(self.task.columns),
            labels=list(self.task.labels),
            score=self.task.score,
            scale=LEFT_OUT if self.task.scale is None else list(self.task.scale),
            max_length=run.max_length,
            held_out=self.suite.held_out,
            dev=dict(self.task.dev),
        )
