"""A suite: one TOML file that names encoder, tasks, arms, seeds, training and device, validated before anything
runs.

    suite = load_suite("minilm", overrides=["seeds=[1]", "training.epochs=1"])

Unknown keys are errors that name the nearest valid one. Each concern is one model below; the methods' own
options are validated by the methods (`baselines`), and overrides of `[training]` per task, arm or predecessor
are merged and validated here too, so that a suite that loads is a suite that can be planned.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import baselines
from baselines.method import Method
from benchmarks.errors import ROOT, SuiteError, nearest
from benchmarks.tasks import Task, find_task

FOLDER = ROOT / "benchmarks" / "suites"
SLUG = r"^[a-z0-9][a-z0-9-]{0,63}$"  # names become folders: nothing else may

Slug = Annotated[str, Field(pattern=SLUG)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Config(BaseModel):
    """Base of all sections: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}: {nearest(str(key), cls.model_fields)}")
        return data


class Training(Config):
    """The optimizer loop, equal for all arms unless a section overrides it.

    `warmup` is a share of the planned steps. `evaluate_every` counts optimizer steps, or is "epoch".
    `micro_batches` splits a batch by length without changing its members or its gradient (beyond rounding).
    """

    epochs: Annotated[float, Field(gt=0)] = 3.0
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 32
    micro_batches: Annotated[int, Field(ge=1)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    schedule: Literal["linear", "constant"] = "linear"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    evaluate_every: Annotated[int, Field(ge=1)] | Literal["epoch"] = "epoch"


class Encoder(Config):
    """Where the pretrained encoder comes from: `path`, else ENCODER_DIR, else the hub at `revision`.

    `random` builds `shape` with random weights instead, for plans and dry runs only. `sha256`: of
    model.safetensors.
    """

    name: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    revision_source: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    path: str | None = None
    random: bool = False
    shape: dict[str, int] = {}
    layers: Annotated[int, Field(ge=2)]
    hidden_size: Annotated[int, Field(ge=1)]


class Data(Config):
    """GLUE from `path`, else GLUE_DIR, else `dataset` on the hub at `revision`. Synthetic tasks need none of it."""

    path: str | None = None
    dataset: str = "nyu-mll/glue"
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    revision_source: str | None = None


class Device(Config):
    """Equal for every arm and part of every run's identity: runs under different settings never pair."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: Annotated[int, Field(ge=1)] = 1
    tf32: bool = False
    attention: Literal["sdpa", "eager"] = "sdpa"
    deterministic: bool = True


class Predecessor(Config):
    """One predecessor per task, shared by all methods and seeds, or one per seed (`per_seed`).

    `seed`: of the shared one (default: the suite's first). `training` overrides `[training]`. `paths`: already
    fine-tuned models by task, taken as they are.
    """

    per_seed: bool = False
    seed: Seed | None = None
    training: dict[str, Any] = {}
    paths: dict[str, str] = {}


class Arm(Config):
    """A method with its options; `title` and `published` name its row here and in the paper's tables."""

    method: str
    title: str
    published: str | None = None
    options: dict[str, Any] = {}
    training: dict[str, Any] = {}

    @model_validator(mode="after")
    def _options(self) -> Arm:
        self.build()
        return self

    def build(self) -> Method:
        method = baselines.find(self.method)
        for key in self.options:
            if key not in method.model_fields:
                known = nearest(key, method.model_fields) if method.model_fields else f"{self.method} has none"
                raise ValueError(f"unknown option {key!r} of method {self.method!r}: {known}")
        try:
            return method(**self.options)
        except ValidationError as error:
            raise ValueError(_first_line(error)) from None


class TaskSettings(Config):
    """Per task: overrides of `[training]`, of arms' options (`options.theseus = {...}`), another maximal length."""

    training: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {}
    max_length: Annotated[int, Field(ge=4, le=8192)] | None = None


class Comparison(Config):
    """May the paper's numbers be read as like with like, and why (not)?"""

    comparable: bool = False
    reason: str


class Speed(Config):
    """Paired inference timing of predecessor and successor: every batch size with every length.

    Rounds go on until the 95 % interval of the ratio is narrower than `width` (a share) or `max_rounds` are
    done.
    """

    batch_sizes: list[Annotated[int, Field(ge=1)]] = [1, 8]
    lengths: list[Annotated[int, Field(ge=4)]] = [128]
    threads: Annotated[int, Field(ge=1)] | None = None
    min_rounds: Annotated[int, Field(ge=5)] = 20
    max_rounds: Annotated[int, Field(ge=5)] = 100
    width: Annotated[float, Field(gt=0)] = 0.02

    @model_validator(mode="after")
    def _rounds(self) -> Speed:
        if self.min_rounds > self.max_rounds:
            raise ValueError(f"min_rounds = {self.min_rounds} is above max_rounds = {self.max_rounds}")
        return self


class Suite(Config):
    """The whole file."""

    name: Slug
    title: str
    description: str
    tasks: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]
    successor_layers: Annotated[int, Field(ge=1)]
    protocol: Literal["last", "selected"] = "last"
    statistic: Literal["mean", "median"] = "mean"
    keep_successors: bool = False
    comparison: Comparison
    encoder: Encoder
    data: Data = Data()
    device: Device = Device()
    training: Training = Training()
    predecessor: Predecessor = Predecessor()
    arms: Annotated[dict[Slug, Arm], Field(min_length=1)]
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
        if not self.successor_layers < self.encoder.layers or self.encoder.layers % self.successor_layers:
            raise ValueError(
                f"successor_layers = {self.successor_layers} does not divide the encoder's {self.encoder.layers} layers"
            )
        for task in self.tasks:
            self.training_for(task, None)
            for arm in self.arms:
                self.training_for(task, arm)
        for task, settings in self.task.items():
            for arm in settings.options:
                if arm not in self.arms:
                    raise ValueError(f"task.{task}.options: no arm {arm!r}: {nearest(arm, self.arms)}")
                self.arm_for(task, arm)
        return self

    def arm_for(self, task: str, arm: str) -> Arm:
        """The arm with the task's own options over its general ones."""
        base = self.arms[arm]
        own = self.task[task].options.get(arm, {}) if task in self.task else {}
        try:
            return Arm.model_validate({**base.model_dump(), "options": {**base.options, **own}})
        except ValidationError as error:
            raise ValueError(f"task.{task}.options.{arm}: {_first_line(error)}") from None

    def training_for(self, task: str, arm: str | None) -> Training:
        """`[training]` under the task's and then the arm's overrides; `arm` None is the predecessor."""
        sections = [
            (f"task.{task}.training", self.task[task].training if task in self.task else {}),
            (f"arms.{arm}.training", self.arms[arm].training)
            if arm
            else ("predecessor.training", self.predecessor.training),
        ]
        merged = self.training.model_dump()
        for where, override in sections:
            try:
                Training.model_validate(override)
            except ValidationError as error:
                raise ValueError(f"{where}: {_first_line(error)}") from None
            merged |= override
        return Training.model_validate(merged)

    def max_length(self, task: Task) -> int:
        settings = self.task.get(task.name)
        return (settings and settings.max_length) or task.max_length

    @property
    def synthetic(self) -> bool:
        return any(find_task(name).synthetic for name in self.tasks)


def _first_line(error: ValidationError) -> str:
    """pydantic's first complaint as one line: where, what, and what was given."""
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    what = detail["msg"].removeprefix("Value error, ")
    given = detail.get("input")
    shown = (
        f" (given: {given!r})" if not isinstance(given, dict | list | BaseModel) and detail["type"] != "missing" else ""
    )
    return f"{where}: {what}{shown}" if where else f"{what}{shown}"


def available() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def suite_path(name: str) -> Path:
    """The file of a built-in suite, or of a `.toml` path. Raises `SuiteError` if there is none."""
    path = Path(name) if name.endswith(".toml") or os.sep in name else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise SuiteError(f"no suite {name!r}: {nearest(name, available())} A suite is one of these or a .toml file")
    return path


def _set(tree: dict[str, Any], override: str) -> None:
    """Apply one `key.sub=value`; the value is TOML, or a bare string."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise SuiteError(f"--set {override!r}: write key=value, for example training.epochs=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *parents, last = key.strip().split(".")
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise SuiteError(f"--set {override!r}: {part!r} is not a section")
    tree[last] = value


def load_suite(name: str, overrides: Sequence[str] = ()) -> Suite:
    """Read, override and validate a suite. Raises `SuiteError`, one line with the file and the key."""
    path = suite_path(name)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SuiteError(f"{path}: not a TOML file: {error}") from None
    for override in overrides:
        _set(tree, override)
    try:
        return Suite.model_validate(tree)
    except ValidationError as error:
        raise SuiteError(f"{path.name}: {_first_line(error)}") from None
