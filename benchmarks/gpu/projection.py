"""Device-hours of the paper's Table 2, from measured steps: five rows x eight tasks x the seeds of the `paper` suite.

    training      steps of the suite (its epochs, batch size and rows per task) x a step's measured time on that task
    evaluation    evaluations (its `evaluate_every`) x dev examples x an example's measured time without gradients
    outputs       one pass per predecessor over the training set, for the outputs that KD and PKD need

Each is divided by the number of runs at once. The time of a Theseus step is interpolated between its steps at p = 0.5
and at p = 1, by the mean of p over the run. Not included: loading, tokenising, scoring and saving (seconds a run), and
the end of a grid, when fewer runs are left than could run at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from baselines.theseus import TheseusMethod
from benchmarks.gpu.cases import AS_RELEASED, METHODS
from benchmarks.suites.suite import Suite
from benchmarks.tasks.table import find_task
from benchmarks.training.schedule import planned_steps, steps_per_epoch

KEY = ("name", "precision", "runs", "groups", "compiled")
Measured = Mapping[tuple[Any, ...], Mapping[str, Any]]  # a case's entry in gpu.json by its values of KEY


class NotMeasured(LookupError):
    """A time that the projection needs was not measured."""


@dataclass(frozen=True)
class Work:
    """The work of one row on one task, per seed. `mean_rate` is the mean of the replacing rate p over the steps."""

    steps: int
    evaluations: int
    evaluated: int
    train_rows: int
    mean_rate: float


def work_of(suite: Suite) -> dict[str, dict[str, Work]]:
    """The work of each row of the table, by task."""
    return {row: {task: _work(suite, row, task) for task in suite.tasks} for row in METHODS}


def _work(suite: Suite, row: str, name: str) -> Work:
    task, resolved = find_task(name), suite.resolve(name, row)
    training, method = resolved.training, resolved.method
    steps, every = planned_steps(training, task.train_rows), training.evaluate_every
    rate = method.rate.rate(steps) if isinstance(method, TheseusMethod) else float
    evaluations = math.ceil(steps / (every if isinstance(every, int) else steps_per_epoch(training, task.train_rows)))
    return Work(steps, evaluations, sum(task.dev.values()), task.train_rows, fmean(map(rate, range(steps))))


def shares(work: dict[str, dict[str, Work]]) -> dict[str, float]:
    """Optimizer steps of all rows by task: the weights of the mix."""
    return {task: float(sum(row[task].steps for row in work.values())) for task in work[METHODS[0]]}


@dataclass
class _Times:
    """Measured seconds at one precision and number of runs at once; `notes` name the substitutes that were used."""

    measured: Measured
    precision: str
    runs: int
    groups: int
    compiled: bool
    notes: set[str]

    def step(self, row: str, task: str, mean_rate: float) -> float:
        """Seconds of one optimizer step of one run."""
        if row != "theseus":
            return self._seconds(row, task)
        try:
            half, full = (self._seconds(name, task) for name in AS_RELEASED)
        except NotMeasured:
            self.notes.add("theseus: the library's own step at p = 0.5 is used for the whole run")
            return self._seconds(row, task)
        return full + 2 * (1 - mean_rate) * (half - full)

    def example(self, name: str, task: str) -> float:
        """Seconds of one example of a pass, all runs together."""
        known = [key for key in self.measured if key[:2] == (name, self.precision) and key[2] <= self.runs]
        if not known:
            raise NotMeasured(f"{name} in {self.precision}")
        best = max(known, key=lambda key: key[2])
        if best[2] != self.runs:
            self.notes.add(f"passes without gradients as measured with {best[2]} at once")
        found = _of(self.measured[best], task)
        return found["seconds"] / found["examples"] / best[2]

    def _seconds(self, name: str, task: str) -> float:
        found = self.measured.get((name, self.precision, self.runs, self.groups, self.compiled))
        if found is None:
            raise NotMeasured(f"{name} in {self.precision} with {self.runs} at once")
        return _of(found, task)["seconds"]


def _of(entry: Mapping[str, Any], task: str) -> dict[str, float]:
    """Means of a case on that task, or on the mix if the time was too short for one of its batches."""
    found: dict[str, float] = entry["tasks"].get(task) or entry["mix"]
    return found


def project(suite: Suite, measured: Measured, precision: str, runs: int, compiled: bool = False) -> dict[str, Any]:
    """Device-hours at this precision and number of runs at once. Raises `NotMeasured` naming what is missing."""
    groups, seeds = suite.training.length_groups, len(suite.seeds)
    times, work = _Times(measured, precision, runs, groups, compiled, set()), work_of(suite)
    rows: dict[str, Any] = {}
    for row, tasks in work.items():
        dev = "evaluate-predecessor" if row == "predecessor" else "evaluate-successor"
        own = {task: (w.steps * times.step(row, task, w.mean_rate) / runs,
                      w.evaluations * w.evaluated * times.example(dev, task)) for task, w in tasks.items()}  # fmt: skip
        training, evaluation = (seeds / 3600 * sum(part) for part in zip(*own.values(), strict=True))
        rows[row] = {"hours": training + evaluation, "training_hours": training, "evaluation_hours": evaluation,
                     "tasks": {task: seeds / 3600 * sum(pair) for task, pair in own.items()}}  # fmt: skip
    passes = [w.train_rows * times.example("predecessor-outputs", task) for task, w in work["predecessor"].items()]
    outputs = seeds / 3600 * sum(passes)
    hours = outputs + sum(row["hours"] for row in rows.values())
    spared = (seeds - 1) / seeds * (rows["predecessor"]["hours"] + outputs)
    return {
        "precision": precision, "runs": runs, "compiled": compiled, "length_groups": groups, "device_hours": hours,
        "device_hours_with_one_predecessor_per_task": hours - spared, "outputs_hours": outputs, "rows": rows,
        "notes": sorted(times.notes),
    }  # fmt: skip
