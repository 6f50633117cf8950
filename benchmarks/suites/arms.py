"""Arms: a method with its options, the presets they can be built from, and the trials of a search.

A preset is a named set of options and training settings, such as a reading of the paper; the arm's own keys override
it. A grid makes several trials of one arm. Every arm of a suite gets the same number of trials, unless
`Suite.unequal_budget` allows otherwise, and the report then says so.
"""

from __future__ import annotations

import copy
import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

import baselines
from baselines.method import Method
from benchmarks.base.config import Config, first_line
from benchmarks.base.errors import ROOT, nearest
from benchmarks.models.settings import Encoder
from benchmarks.training.settings import Training
from results.format import limits

PRESETS = ROOT / "benchmarks" / "suites" / "presets.toml"


@cache
def presets() -> dict[str, dict[str, Any]]:
    """The named arms of presets.toml."""
    return tomllib.loads(PRESETS.read_text(encoding="utf-8"))


class Intermediate(Config):
    """The arm compresses on `task`. On every other task it fine-tunes that successor (paper table 4)."""

    task: str
    """The suite's task on which the arm compresses."""
    training: dict[str, Any] = {}
    """Overrides `[training]` where the successor is fine-tuned on the other tasks."""


class Arm(Config):
    """A method with its options: one row of the report."""

    method: str
    """The name of a file in `baselines/`. A preset may give it."""
    title: str
    """The row's name in the report. A preset may give it."""
    preset: str | None = None
    """A named arm of `presets.toml`; the arm's own keys go over the preset's."""
    published: str | None = None
    """The row of the paper's table that this arm reproduces."""
    layers: Annotated[int, Field(ge=1)] | None = None
    """Depth of the successor. Default: `successor_layers`."""
    options: dict[str, Any] = {}
    """The method's options."""
    training: dict[str, Any] = {}
    """Overrides `[training]` for this arm."""
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    """Lists of values by dotted key, `options.…` or `training.…`; their product is the arm's trials."""
    predecessor_epochs: bool = False
    """Train for the predecessor's epochs on top of the arm's own: the whole budget of a method that starts from it."""
    encoder: Encoder | None = None
    """The compressed checkpoint that a `pretrained` arm starts from."""
    intermediate: Intermediate | None = None
    """Compress on one task, fine-tune the result on the others."""
    optional: bool = False
    """Where the arm's checkpoint is missing, leave the arm out with a warning instead of stopping the suite."""
    trainable_parameters: Annotated[int, Field(ge=1)] | None = None
    """How many parameters the arm is declared to train, without the head; the plan refuses any other number."""
    group: str | None = None
    """The arm's line in a sweep's figure."""
    x: float | None = None
    """The arm's place on the x axis of that figure."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("preset") is None:
            return data
        name = data["preset"]
        if name not in presets():
            raise ValueError(f"unknown preset {name!r}: {nearest(str(name), presets())}")
        return overlaid(presets()[name], data)

    @model_validator(mode="after")
    def _complete(self) -> Arm:
        method = self.build()
        if method.own_encoder != (self.encoder is not None):
            wants = "needs an encoder" if method.own_encoder else "takes the suite's encoder, not one of its own"
            raise ValueError(f"method {self.method!r} {wants}")
        check_keys("grid", self.grid)
        if self.grid and self.intermediate:
            raise ValueError("an arm with an intermediate task cannot have a grid: search the compression separately")
        if self.count > limits.PLANNED_RUNS:
            raise ValueError(f"grid: {self.count:,} trials, and {limits.PLANNED_RUNS:,} is the limit")
        seen: list[Any] = []
        for number, trial in enumerate(self.trials()):
            arm = self.at_trial(number)
            resolved = (arm.build(), Training.model_validate(arm.training))
            if resolved in seen:
                raise ValueError(f"grid: {trial} is the same trial as an earlier one")
            seen.append(resolved)
        return self

    def build(self) -> Method:
        """The method with the arm's options. Raises `ValueError` for options that it does not have or refuses."""
        method = baselines.find(self.method)
        for key in self.options:
            if key not in method.model_fields:
                known = nearest(key, method.model_fields) if method.model_fields else f"{self.method} has none"
                raise ValueError(f"unknown option {key!r} of method {self.method!r}: {known}")
        try:
            return method(**self.options)
        except ValidationError as error:
            raise ValueError(first_line(error)) from None

    @property
    def count(self) -> int:
        """How many trials there are."""
        return math.prod(len(values) for values in self.grid.values())

    def trials(self) -> list[dict[str, Any]]:
        """The settings of each trial by dotted key; one empty trial without a grid."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]

    def at_trial(self, number: int) -> Arm:
        """The arm with one trial's settings applied, and no grid. Raises `ValueError` for values that do not fit."""
        return self.model_copy(update={"grid": {}}).with_settings("grid", self.trials()[number])

    def with_settings(self, source: str, settings: Mapping[str, Any]) -> Arm:
        """The arm with settings by dotted key, `options.…` or `training.…`. Raises `ValueError` for values that do not
        fit, with the name of their `source`."""
        changed: dict[str, Any] = {"options": copy.deepcopy(self.options), "training": dict(self.training)}
        for key, value in settings.items():
            *parents, last = key.split(".")
            section: Any = changed
            for parent in parents:
                section = section.setdefault(parent, {}) if isinstance(section, dict) else None
            if not isinstance(section, dict):
                raise ValueError(f"{source} key {key!r}: its parent is a plain value, not a section")
            section[last] = value
        arm = self.model_copy(update=changed)
        where = f" ({source} {dict(settings)})" if settings else ""
        try:
            Training.model_validate(changed["training"])
            arm.build()
        except ValidationError as error:
            raise ValueError(f"training: {first_line(error)}{where}") from None
        except ValueError as error:
            raise ValueError(f"{error}{where}") from None
        return arm


def check_keys(source: str, keys: Iterable[str]) -> None:
    """Raises `ValueError` for a dotted key outside of an arm's `options` and `training`."""
    for key in keys:
        section, _, rest = key.partition(".")
        if section not in ("options", "training") or not rest:
            raise ValueError(f"{source} key {key!r}: write options.… or training.…")


def overlaid(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` merged on top of `base`, section by section; neither is changed.

    A section with a `kind` is one choice and is replaced as a whole: a constant rate cannot use a linear rate's base.
    """
    result = dict(base)
    for key, value in over.items():
        inner = result.get(key)
        if isinstance(inner, dict) and isinstance(value, dict) and "kind" not in value:
            result[key] = overlaid(inner, value)
        else:
            result[key] = value
    return result


def check_budgets(arms: dict[str, Arm], unequal: bool) -> None:
    """Raises `ValueError`, with the counts, if the arms have unequal numbers of trials."""
    counts = {name: len(arm.trials()) for name, arm in arms.items()}
    if not unequal and len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(
            f"the arms have unequal numbers of trials ({shown}): make them equal, or set unequal_budget = true"
        )


PREDECESSOR = "predecessor"
PREDECESSOR_ARM = Arm(method=PREDECESSOR, title="Predecessor", published="BERT-base")
