"""A suite: one TOML file that names encoder, tasks, arms, seeds, training and device. It is validated before any run.

    suite = load_suite("minilm", overrides=["seeds=[1]", "training.epochs=1"])

The methods validate their own options (`baselines`). Overrides of `[training]` per task, arm or predecessor are merged
and validated here, so that a suite that loads can also be planned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from baselines.method import Method
from benchmarks.base.config import SLUG, Config, Slug, first_line
from benchmarks.base.errors import SuiteError, nearest
from benchmarks.machine.settings import Device
from benchmarks.models.settings import Encoder
from benchmarks.suites.arms import PREDECESSOR, PREDECESSOR_ARM, Arm, check_budgets, check_keys, overlaid
from benchmarks.suites.file import read_suite, suite_path
from benchmarks.suites.speed import Speed
from benchmarks.tasks import kinds
from benchmarks.tasks.settings import Data, OwnData
from benchmarks.tasks.table import TASKS, find_task
from benchmarks.training.settings import Training
from results.format import limits

Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Predecessor(Config):
    """The predecessor of each task: the whole encoder, fine-tuned."""

    per_seed: bool = False
    """Train one predecessor per seed instead of one that all methods and seeds share."""
    seed: Seed | None = None
    """Seed of the shared predecessor. Default: the suite's first."""
    training: dict[str, Any] = {}
    """Overrides `[training]` for the predecessor."""
    paths: dict[str, str] = {}
    """Folders of already fine-tuned models by task, used as they are."""
    at_chance: Literal["stop", "allow"] = "stop"
    """`"stop"` trains nothing from a predecessor that is no better on dev than a constant answer, because Theseus would
    keep its head unchanged. `"allow"` trains from it all the same."""


class TaskSettings(Config):
    """What differs on one task."""

    training: dict[str, Any] = {}
    """Overrides `[training]` on this task, for the predecessor and every arm."""
    options: dict[str, dict[str, Any]] = {}
    """Overrides options by arm: `options.theseus = {...}`."""
    settings: dict[str, dict[str, Any]] = {}
    """Settings of one arm, or of the `predecessor`, by dotted key as in a `grid`. `choose` writes those of a search."""
    max_length: Annotated[int, Field(ge=4, le=8192)] | None = None
    """Tokens at which an example is cut. Default: 48 for synthetic tasks, 256 for QNLI, else 128."""
    own: OwnData | None = None
    """The task's own data: the keys of `[tasks.NAME]`, which is the usual place for them."""


class Comparison(Config):
    """Whether this suite's numbers may be compared with the paper's."""

    comparable: bool = False
    """`true` where values may be compared; with `false` the report compares directions only."""
    reason: str
    """Why, or why not; the report prints it."""
    table: Literal[2, 4, 5, 6, 7] | None = None
    """The paper's table whose numbers the report shows beside this suite's."""


class Contrast(Config):
    """A question that is fixed before the first run: two arms whose difference answers it."""

    question: Annotated[str, Field(min_length=1, max_length=200)]
    """The question, as the report prints it."""
    first: Slug
    """The arm that is above if the answer is yes."""
    second: Slug
    """The arm that it is compared with."""


@dataclass(frozen=True)
class Resolved:
    """One arm (or the predecessor) on one task in one trial. `modules`: the depth that the suite asks of its successor.
    `trainable_parameters`: the declared number. `first`: the task on which the arm compresses, if on this task it only
    fine-tunes the result."""

    arm: str
    name: str  # the method's
    method: Method
    training: Training
    modules: int
    max_length: int
    trainable_parameters: int | None = None
    first: str | None = None


class Suite(Config):
    """The whole file."""

    name: Slug
    """The name of its results folder: small letters, digits and `-`."""
    title: str
    """The report's heading."""
    description: str
    """A paragraph for the top of the report."""
    tasks: Annotated[list[str], Field(min_length=1)]
    """GLUE: `cola`, `mnli`, `mrpc`, `qnli`, `qqp`, `rte`, `sst2`, `stsb`, `wnli`. Synthetic: `syn-cola`, `syn-mnli`,
    `syn-sst2`, `syn-stsb`. For data of your own, write a table `[tasks.NAME]` for each task
    instead."""
    seeds: Annotated[list[Seed], Field(min_length=1)]
    """Every arm runs once per task and seed."""
    successor_layers: Annotated[int, Field(ge=1)]
    """Depth of the successors; it must divide the encoder's."""
    protocol: Literal["last", "selected", "held_out"] = "last"
    """The checkpoint that is reported: the last one, the best on dev (the paper's way), or the best on `held_out`."""
    statistic: Literal["mean", "median"] = "mean"
    """What the main table shows over seeds."""
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the training set that no run trains on; it can choose a checkpoint."""
    unequal_budget: bool = False
    """Allow arms with different numbers of trials; the report says so."""
    keep_successors: bool = False
    """Keep the successors' weights after their runs."""
    strict: bool = False
    """Start nothing on a machine where training does not repeat bit for bit."""
    comparison: Comparison
    """Whether the paper's numbers may be compared."""
    encoder: Encoder
    """The pretrained encoder."""
    data: Data = Data()
    """Where GLUE comes from."""
    device: Device = Device()
    """The device and its arithmetic."""
    training: Training = Training()
    """The optimizer loop."""
    predecessor: Predecessor = Predecessor()
    """How the predecessors are trained."""
    arms: Annotated[dict[Slug, Arm], Field(min_length=1)]
    """The methods to compare, by name."""
    steps: list[str] = []
    """Arms in an order in which each changes one thing; the report then shows what each change is worth."""
    contrasts: list[Contrast] = []
    """Questions fixed beforehand. The report tests each of them on the macro score and on every task, all in one Holm
    family, and puts the answers first."""
    x_title: str | None = None
    """Title of the x axis of a sweep's figure."""
    task: dict[str, TaskSettings] = {}
    """What differs on one task, by task."""
    speed: Speed | None = None
    """Inference timing. Without the section `reproduce` times nothing."""
    _resolved: dict[tuple[str, str, int], Resolved] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        for kind, values in (("task", self.tasks), ("seed", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"a {kind} is listed twice: {values}")
        for name in (*self.tasks, *self.task, *self.predecessor.paths):
            self._check_task(name)
        if PREDECESSOR in self.arms:
            raise ValueError("the predecessor is not an arm: write its settings in [predecessor]")
        self._check_held_out()
        if self.protocol == "held_out" and not self.held_out:
            raise ValueError("protocol = held_out needs held_out above 0, the share of the training set that chooses")
        if not self.successor_layers < self.encoder.layers or self.encoder.layers % self.successor_layers:
            raise ValueError(
                f"successor_layers = {self.successor_layers} does not divide the encoder's {self.encoder.layers} layers"
            )
        check_budgets(self.arms, self.unequal_budget)
        pairs = [{c.first, c.second} for c in self.contrasts]
        if any(len(pair) == 1 or pairs.count(pair) > 1 for pair in pairs):
            raise ValueError("contrasts: each needs two different arms, and each pair of arms one question")
        runs = len(self.tasks) * len(self.seeds) * sum(arm.count for arm in self.arms.values())
        if runs > limits.PLANNED_RUNS:
            raise ValueError(f"it plans {runs:,} runs, and {limits.PLANNED_RUNS:,} is the limit: split it")
        cells = len(self.tasks) * (1 + len(self.arms))
        if cells > limits.CELLS:
            raise ValueError(f"it has {cells:,} cells (tasks times arms), and {limits.CELLS:,} is the limit: split it")
        self._check_arms()
        return self

    def _check_task(self, name: str) -> None:
        if not self.own(name):
            find_task(name, [task for task in self.task if self.own(task)])
        elif name in TASKS:
            raise ValueError(f"tasks.{name}: {name} is a built-in task, which an empty table names: rename your own")
        elif not re.fullmatch(SLUG, name):
            raise ValueError(f"tasks.{name}: write the name with small letters, digits and '-'")

    def own(self, task: str) -> OwnData | None:
        """The user's own data of a task; None for a built-in task."""
        return self.task[task].own if task in self.task else None

    def _check_held_out(self) -> None:
        """A share of the training rows that a kind of task, or the suite's own wish, does not allow to score as dev."""
        for name in self.tasks if self.held_out else ():
            own = self.own(name)
            if own and own.group:
                raise ValueError(f"tasks.{name}.group keeps rows together, but held_out draws rows: set held_out = 0")
            if own and kinds.find(own.task_kind).windows:
                raise ValueError(
                    f"tasks.{name}: rows held out of {own.kind} are not scored as dev is: set held_out = 0"
                )

    def _check_arms(self) -> None:
        for name, arm in self.arms.items():
            if arm.intermediate and arm.intermediate.task not in self.tasks:
                raise ValueError(f"arms.{name}.intermediate.task: the suite has no task {arm.intermediate.task!r}")
        every = [PREDECESSOR, *self.arms]
        named = [("steps", name, [*self.arms]) for name in self.steps]
        named += [("contrasts", name, [*self.arms]) for c in self.contrasts for name in (c.first, c.second)]
        for task, section in self.task.items():
            named += [(f"task.{task}.options", name, [*self.arms]) for name in section.options]
            named += [(f"task.{task}.settings", name, every) for name in section.settings]
        for where, name, known in named:
            if name not in known:
                raise ValueError(f"{where}: no arm {name!r}: {nearest(name, known)}")
        for task in self.tasks:
            self.resolve(task, PREDECESSOR)
            for name, arm in self.arms.items():
                for trial in range(len(arm.trials())):
                    resolved = self.resolve(task, name, trial)
                    try:
                        resolved.method.check(self.encoder.layers, resolved.modules)
                    except ValueError as error:
                        raise ValueError(f"arms.{name}: {error}") from None

    def resolve(self, task: str, arm: str, trial: int = 0) -> Resolved:
        """The settings of one arm (or the predecessor) on one task in one trial; each is resolved once."""
        key = task, arm, trial
        if key not in self._resolved:
            self._resolved[key] = self._predecessor(task) if arm == PREDECESSOR else self._arm(task, arm, trial)
        return self._resolved[key]

    def _predecessor(self, task: str) -> Resolved:
        arm = self._on_task(
            PREDECESSOR_ARM.model_copy(update={"training": self.predecessor.training}), PREDECESSOR, task
        )
        training = self._training(task, "predecessor.training", arm.training)
        return Resolved(PREDECESSOR, PREDECESSOR, arm.build(), training, self.encoder.layers, self._max_length(task))

    def _arm(self, task: str, name: str, trial: int) -> Resolved:
        arm, own = self.arms[name], self._own_options(task, name)
        first = arm.intermediate.task if arm.intermediate and arm.intermediate.task != task else None
        try:
            if own:
                arm = arm.model_copy(update={"options": overlaid(arm.options, own)})
            arm = arm.at_trial(trial)
        except ValueError as error:
            raise ValueError(f"task.{task}.options.{name}: {error}") from None
        arm = self._on_task(arm, name, task)
        section = arm.training
        if first is not None and arm.intermediate is not None:  # here it fine-tunes the successor from another task
            section = arm.intermediate.training
            arm = arm.model_copy(update={"method": "pretrained", "options": {}})
        training = self._training(task, f"arms.{name}.training", section)
        if arm.predecessor_epochs:
            more = self.resolve(task, PREDECESSOR).training.epochs
            training = training.model_copy(update={"epochs": training.epochs + more})
        modules = self.arms[name].layers or self.successor_layers
        return Resolved(
            name, arm.method, arm.build(), training, modules, self._max_length(task), arm.trainable_parameters, first
        )

    def _on_task(self, arm: Arm, name: str, task: str) -> Arm:
        """The arm with the task's settings for it. Raises `ValueError` for a key that is searched as well."""
        settings = self.task[task].settings.get(name, {}) if task in self.task else {}
        source = f"task.{task}.settings.{name}"
        check_keys(source, settings)
        if both := sorted(settings.keys() & (self.arms[name].grid if name in self.arms else {}).keys()):
            raise ValueError(f"{source}: {both[0]} is in the arm's grid too: give it in one place")
        return arm.with_settings(source, settings) if settings else arm

    def _own_options(self, task: str, arm: str) -> dict[str, Any]:
        return self.task[task].options.get(arm, {}) if task in self.task else {}

    def _training(self, task: str, where: str, section: dict[str, Any]) -> Training:
        """`[training]` with the overrides of the task and those of `section`, whose key is `where`."""
        own = self.task[task].training if task in self.task else {}
        merged = self.training.model_dump()
        for place, override in ((f"task.{task}.training", own), (where, section)):
            try:
                Training.model_validate(override)
            except ValidationError as error:
                raise ValueError(f"{place}: {first_line(error)}") from None
            merged |= override
        return Training.model_validate(merged)

    def _max_length(self, task: str) -> int:
        settings = self.task.get(task)
        return (settings and settings.max_length) or (self.own(task) or find_task(task)).max_length

    @property
    def intermediate_tasks(self) -> list[str]:
        """The tasks on which an arm compresses before it fine-tunes the result on the others."""
        return sorted({arm.intermediate.task for arm in self.arms.values() if arm.intermediate})

    @property
    def synthetic(self) -> bool:
        """Whether any task's data is generated."""
        return any(find_task(name).synthetic for name in self.tasks if not self.own(name))


def load_suite(name: str, overrides: Sequence[str] = ()) -> Suite:
    """Read, override and validate a suite. Raises `SuiteError`, one line with the file and the key."""
    path = suite_path(name)
    try:
        return Suite.model_validate(read_suite(path, overrides))
    except ValidationError as error:
        line = re.sub(r"^task\.([^.]+)\.own\b", r"tasks.\1", first_line(error))  # as the file has it
        raise SuiteError(f"{path.name}: {line}") from None
