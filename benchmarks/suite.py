"""A suite: one TOML file that names encoder, tasks, arms, seeds, training and device, validated before anything
runs.

    suite = load_suite("minilm", overrides=["seeds=[1]", "training.epochs=1"])

A suite may extend another: `extends = "paper"` takes every key it does not set itself; sections are merged key by
key, but `comparison` and `arms` are replaced as a whole, and with other arms go the base's options per task.

The methods' own options are validated by the methods (`baselines`), and overrides of `[training]` per task, arm or
predecessor are merged and validated here too, so that a suite that loads is a suite that can be planned.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from benchmarks import limits
from benchmarks.arms import Arm, check_budgets, overlaid
from benchmarks.errors import ROOT, SuiteError, nearest
from benchmarks.limits import check_size
from benchmarks.settings import Config, Data, Device, Encoder, Slug, Speed, Training, first_line
from benchmarks.tasks import Task, find_task

FOLDER = ROOT / "benchmarks" / "suites"

Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Predecessor(Config):
    """One predecessor per task, shared by all methods and seeds, or one per seed (`per_seed`).

    `seed`: of the shared one (default: the suite's first). `training` overrides `[training]`. `paths`: already
    fine-tuned models by task, taken as they are. `at_chance`: what to do with a predecessor that is no better on
    dev than a constant answer: its head would be kept, frozen, by Theseus, so nothing is trained from it.
    """

    per_seed: bool = False
    seed: Seed | None = None
    training: dict[str, Any] = {}
    paths: dict[str, str] = {}
    at_chance: Literal["stop", "allow"] = "stop"


class TaskSettings(Config):
    """Per task: overrides of `[training]`, of arms' options (`options.theseus = {...}`), another maximal length."""

    training: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {}
    max_length: Annotated[int, Field(ge=4, le=8192)] | None = None


class Comparison(Config):
    """May the paper's numbers be read as like with like, and why (not)? `table`: the one they stand in."""

    comparable: bool = False
    reason: str
    table: Literal[2, 4, 5, 6, 7] | None = None


class Suite(Config):
    """The whole file.

    `protocol`: which checkpoint is reported: the last, the best on dev (the paper's), or the best on `held_out`, a
    share of the training set that nobody trains on. `steps`: arms in the order in which each changes one thing.
    `strict`: nothing starts on a machine where training does not repeat bit for bit (`benchmarks.probe`).
    """

    name: Slug
    title: str
    description: str
    tasks: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    successor_layers: Annotated[int, Field(ge=1)]
    protocol: Literal["last", "selected", "held_out"] = "last"
    statistic: Literal["mean", "median"] = "mean"
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    unequal_budget: bool = False
    keep_successors: bool = False
    strict: bool = False
    comparison: Comparison
    encoder: Encoder
    data: Data = Data()
    device: Device = Device()
    training: Training = Training()
    predecessor: Predecessor = Predecessor()
    arms: Annotated[dict[Slug, Arm], Field(min_length=1)]
    steps: list[str] = []
    x_title: str | None = None
    task: dict[str, TaskSettings] = {}
    speed: Speed | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        for kind, values in (("task", self.tasks), ("seed", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"a {kind} is listed twice: {values}")
        for name in (*self.tasks, *self.task, *self.predecessor.paths):
            find_task(name)
        if "predecessor" in self.arms:
            raise ValueError("the predecessor is not an arm: its settings stand in [predecessor]")
        if self.protocol == "held_out" and not self.held_out:
            raise ValueError("protocol = held_out needs held_out above 0: the share of the training set to choose on")
        if not self.successor_layers < self.encoder.layers or self.encoder.layers % self.successor_layers:
            raise ValueError(
                f"successor_layers = {self.successor_layers} does not divide the encoder's {self.encoder.layers} layers"
            )
        check_budgets(self.arms, self.unequal_budget)
        self._check_arms()
        return self

    def _check_arms(self) -> None:
        for name, arm in self.arms.items():
            if arm.intermediate and arm.intermediate.task not in self.tasks:
                raise ValueError(f"arms.{name}.intermediate.task: the suite has no task {arm.intermediate.task!r}")
        for name in self.steps:
            if name not in self.arms:
                raise ValueError(f"steps: no arm {name!r}: {nearest(name, self.arms)}")
        for task, settings in self.task.items():
            for name in settings.options:
                if name not in self.arms:
                    raise ValueError(f"task.{task}.options: no arm {name!r}: {nearest(name, self.arms)}")
        for task in self.tasks:
            self.training_for(task, None)
            for name, arm in self.arms.items():
                for trial in range(len(arm.trials())):
                    resolved = self.arm_for(task, name, trial)
                    self.training_for(task, name, trial)
                    try:
                        resolved.build().check(self.encoder.layers, self.layers_of(name))
                    except ValueError as error:
                        raise ValueError(f"arms.{name}: {error}") from None

    def layers_of(self, arm: str) -> int:
        """The depth asked of an arm's successor."""
        return self.arms[arm].layers or self.successor_layers

    def arm_for(self, task: str, arm: str, trial: int = 0) -> Arm:
        """The arm with the task's own options over its general ones, and a trial's over both."""
        base = self.arms[arm]
        own = self.task[task].options.get(arm, {}) if task in self.task else {}
        try:
            return base.model_copy(update={"options": overlaid(base.options, own)}).at_trial(trial)
        except ValueError as error:
            raise ValueError(f"task.{task}.options.{arm}: {error}") from None

    def training_for(self, task: str, arm: str | None, trial: int = 0) -> Training:
        """`[training]` under the task's, the arm's and the trial's overrides; `arm` None is the predecessor."""
        if arm:
            intermediate = self.arms[arm].intermediate
            moved = intermediate is not None and intermediate.task != task
            section = intermediate.training if intermediate and moved else self.arms[arm].at_trial(trial).training
        sections = [
            (f"task.{task}.training", self.task[task].training if task in self.task else {}),
            (f"arms.{arm}.training", section) if arm else ("predecessor.training", self.predecessor.training),
        ]
        merged = self.training.model_dump()
        for where, override in sections:
            try:
                Training.model_validate(override)
            except ValidationError as error:
                raise ValueError(f"{where}: {first_line(error)}") from None
            merged |= override
        return Training.model_validate(merged)

    def max_length(self, task: Task) -> int:
        settings = self.task.get(task.name)
        return (settings and settings.max_length) or task.max_length

    @property
    def synthetic(self) -> bool:
        return any(find_task(name).synthetic for name in self.tasks)


def available() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def suite_path(name: str) -> Path:
    """The file of a built-in suite, or of a `.toml` path. Raises `SuiteError` if there is none."""
    path = Path(name) if name.endswith(".toml") or os.sep in name else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise SuiteError(f"no suite {name!r}: {nearest(name, available())} Or give a .toml file's path")
    return path


def _set(tree: dict[str, Any], override: str) -> None:
    """Apply one `key.sub=value`; the value is TOML, or a bare string."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise SuiteError(f"--set {override!r}: write key=value, for example training.epochs=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    *parents, last = key.strip().split(".")
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise SuiteError(f"--set {override!r}: {part!r} is not a section")
    tree[last] = value


def _read(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A suite file as plain data, over the one it extends."""
    if path.resolve() in extending:
        raise SuiteError(f"{path.name}: extends goes round in a circle: {' -> '.join(p.stem for p in extending)}")
    check_size(path, limits.SUITE, "suite file")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also of whole numbers with thousands of digits
        raise SuiteError(f"{path}: not a TOML file: {error}") from None
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise SuiteError(f"{path.name}: extends = {parent!r}: name one suite")
    beside = path.parent / f"{parent}.toml"
    place = beside if beside.is_file() and beside != path else suite_path(parent)
    base = _read(place, (*extending, path.resolve()))
    merged = overlaid(base, tree)
    if "comparison" in tree:
        merged["comparison"] = tree["comparison"]
    if "arms" in tree:
        merged |= {"arms": tree["arms"], "steps": tree.get("steps", [])}
        own = tree.get("task", {})
        merged["task"] = overlaid(_without_options(base.get("task", {})), own) if isinstance(own, dict) else own
    return merged


def _without_options(sections: dict[str, Any]) -> dict[str, Any]:
    return {task: {key: value for key, value in found.items() if key != "options"} for task, found in sections.items()}


def load_suite(name: str, overrides: Sequence[str] = ()) -> Suite:
    """Read, override and validate a suite. Raises `SuiteError`, one line with the file and the key."""
    path = suite_path(name)
    tree = _read(path)
    for override in overrides:
        _set(tree, override)
    try:
        return Suite.model_validate(tree)
    except ValidationError as error:
        raise SuiteError(f"{path.name}: {first_line(error)}") from None
