"""Arms: a method with its options, the presets they can be built from, and the trials of a search.

A preset is a named set of options and training settings, such as a reading of the paper; what an arm says itself
goes over it. A grid makes several trials of one arm; every arm of a suite gets equally many
(`Suite.unequal_budget` lifts that, and the report says so).
"""

from __future__ import annotations

import copy
import itertools
import tomllib
from functools import cache
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

import baselines
from baselines.method import Method
from benchmarks.errors import ROOT, nearest
from benchmarks.settings import Config, Encoder, Training, first_line

PRESETS = ROOT / "benchmarks" / "presets.toml"


@cache
def presets() -> dict[str, dict[str, Any]]:
    """The named arms of presets.toml."""
    return tomllib.loads(PRESETS.read_text(encoding="utf-8"))


class Intermediate(Config):
    """Compress on `task`; on every other task fine-tune what came out of that (paper table 4)."""

    task: str
    training: dict[str, Any] = {}


class Arm(Config):
    """A method with its options.

    `title` and `published` name its row here and in the paper's tables. `layers`: the successor's depth where it
    is not the suite's. `encoder`: the compressed checkpoint a `pretrained` arm starts from. `grid`: lists of
    values by dotted key, `options.…` or `training.…`; their product is the arm's trials. `trainable_parameters`:
    how many it is declared to train, head left out; the plan refuses any other number. `optional`: where its
    checkpoint cannot be had the arm is left out with a warning instead of stopping the suite. `group` and `x`: its
    place in a sweep's figure.
    """

    method: str
    title: str
    preset: str | None = None
    published: str | None = None
    layers: Annotated[int, Field(ge=1)] | None = None
    options: dict[str, Any] = {}
    training: dict[str, Any] = {}
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    encoder: Encoder | None = None
    intermediate: Intermediate | None = None
    optional: bool = False
    trainable_parameters: Annotated[int, Field(ge=1)] | None = None
    group: str | None = None
    x: float | None = None

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
        for key in self.grid:
            section, _, rest = key.partition(".")
            if section not in ("options", "training") or not rest:
                raise ValueError(f"grid key {key!r}: write options.… or training.…")
        if self.grid and self.intermediate:
            raise ValueError("an arm with an intermediate task cannot have a grid: search the compression by itself")
        seen: list[Any] = []
        for number, trial in enumerate(self.trials()):
            arm = self.at_trial(number)
            resolved = (arm.build(), Training.model_validate(arm.training))
            if resolved in seen:
                raise ValueError(f"grid: {trial} is the same trial as an earlier one")
            seen.append(resolved)
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
            raise ValueError(first_line(error)) from None

    def trials(self) -> list[dict[str, Any]]:
        """The settings of each trial by dotted key; one empty trial without a grid."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]

    def at_trial(self, number: int) -> Arm:
        """The arm with one trial's settings in place, and no grid. Raises `ValueError` for values that do not fit."""
        changed: dict[str, Any] = {"options": copy.deepcopy(self.options), "training": dict(self.training)}
        trial = self.trials()[number]
        for key, value in trial.items():
            *parents, last = key.split(".")
            section: Any = changed
            for parent in parents:
                section = section.setdefault(parent, {}) if isinstance(section, dict) else None
            if not isinstance(section, dict):
                raise ValueError(f"grid key {key!r}: what it stands in is a plain value, not a section")
            section[last] = value
        arm = self.model_copy(update={**changed, "grid": {}})
        try:
            Training.model_validate(changed["training"])
            arm.build()
        except ValidationError as error:
            raise ValueError(f"training: {first_line(error)}{_of(trial)}") from None
        except ValueError as error:
            raise ValueError(f"{error}{_of(trial)}") from None
        return arm


def _of(trial: dict[str, Any]) -> str:
    return f" (grid {trial})" if trial else ""


def overlaid(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, section by section, neither changed.

    A section that says its `kind` is one choice, and is replaced as a whole: a constant rate has no use for the
    base of a linear one.
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
    """Every arm gets as many trials as any other. Raises `ValueError` naming the counts."""
    counts = {name: len(arm.trials()) for name, arm in arms.items()}
    if not unequal and len(set(counts.values())) > 1:
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(
            f"the arms have unequal numbers of trials ({shown}): give each as many, or set unequal_budget = true"
        )
