"""Device-hours of the paper's Table 2, from measured steps: five rows x eight tasks x five seeds of the `paper` suite.

    training      steps of the suite (its epochs, batch size and rows per task) x a step's measured time on that task
    evaluation    evaluations (its `evaluate_every`) x dev examples x an example's measured time without gradients
    outputs       one pass of the predecessor over the training set per predecessor, for what KD and PKD need of it

Each is divided by the number of runs at once. Theseus is taken as the suite trains it, between its step at p = 0.5 and
at p = 1, in proportion to the mean of p over the run. Left out: loading, tokenising, scoring and saving (seconds a
run), and what the last runs of a grid lose when fewer are left than could run at once.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import ROOT
from benchmarks.gpu_cases import METHODS
from benchmarks.tasks import find_task

SUITE = ROOT / "benchmarks" / "suites" / "paper.toml"
PRESETS = ROOT / "benchmarks" / "presets.toml"
PADDED = 1  # passes without gradients are padded, in the order of length


class NotMeasured(LookupError):
    """What the projection needs and has not."""


# (name, precision, runs, groups, compiled) -> a case's entry in gpu.json
Measured = Mapping[tuple[str, str, int, int, bool], Mapping[str, Any]]


@dataclass(frozen=True)
class Work:
    """What the suite asks of one row on one task, per seed. `mean_rate`: of Theseus' p over the steps."""

    steps: int
    evaluations: int
    evaluated: int
    train_rows: int
    mean_rate: float


@dataclass(frozen=True)
class Table:
    """Table 2 as the suite has it: `work[row][task]`."""

    work: dict[str, dict[str, Work]]
    seeds: int
    batch_size: int
    precision: str
    length_groups: int

    @property
    def shares(self) -> dict[str, float]:
        """Optimizer steps by task, all rows: the weights of the mix."""
        tasks = next(iter(self.work.values()))
        return {task: float(sum(row[task].steps for row in self.work.values())) for task in tasks}


def mean_rate(base: float, reach: float, steps: int) -> float:
    """Mean of min(1, base + (1 - base) t / reach) over steps 0 .. steps - 1; a `reach` below 1 is a share of them."""
    whole = max(1, round(reach * steps)) if reach < 1 else int(reach)
    ramp = min(whole, steps)
    return (ramp * base + (1 - base) * ramp * (ramp - 1) / (2 * whole) + (steps - ramp)) / steps


def read_table(suite: Path = SUITE, presets: Path = PRESETS) -> Table:
    """The suite's five rows, from its file."""
    document = tomllib.loads(suite.read_text(encoding="utf-8"))
    arm = document["arms"]["theseus"]
    preset = tomllib.loads(presets.read_text(encoding="utf-8")).get(arm.get("preset", ""), {})
    rate = {**preset.get("options", {}), **arm.get("options", {})}["rate"]
    work: dict[str, dict[str, Work]] = {row: {} for row in METHODS}
    for name in document["tasks"]:
        own = document.get("task", {}).get(name, {})
        for row in METHODS:
            training = {**document["training"], **own.get("training", {})}
            if row == "predecessor":
                training |= document.get("predecessor", {}).get("training", {})
            task_rate = own.get("options", {}).get("theseus", {}).get("rate", rate)
            work[row][name] = _work(name, training, task_rate)
    training = document["training"]
    return Table(work, len(document["seeds"]), training["batch_size"], document["device"]["precision"],
                 training["length_groups"])  # fmt: skip


def _work(name: str, training: dict[str, Any], rate: dict[str, Any]) -> Work:
    task = find_task(name)
    per_epoch = math.ceil(task.train_rows / training["batch_size"])
    steps = max(1, round(training["epochs"] * per_epoch))
    every = training["evaluate_every"] if isinstance(training["evaluate_every"], int) else per_epoch
    return Work(steps, math.ceil(steps / every), sum(task.dev.values()), task.train_rows,
                mean_rate(rate["base"], rate["reach"], steps))  # fmt: skip


def project(table: Table, measured: Measured, precision: str, runs: int, compiled: bool = False) -> dict[str, Any]:
    """Device-hours at this precision and number of runs at once. Raises `NotMeasured` naming what is missing."""
    groups = table.length_groups
    notes: set[str] = set()

    def entry(name: str, at_once: int, parts: int, is_compiled: bool) -> Mapping[str, Any]:
        found = measured.get((name, precision, at_once, parts, is_compiled))
        if found is None:
            raise NotMeasured(f"{name} in {precision} with {at_once} at once")
        return found

    def step(row: str, task: str) -> float:
        if row != "theseus":
            return seconds_of(entry(row, runs, groups, compiled), task)
        half, full = (measured.get((name, precision, runs, groups, compiled))
                      for name in ("theseus-code", "theseus-code-full"))  # fmt: skip
        if half is None or full is None:
            notes.add("theseus: the library's own step at p = 0.5 stands for the whole run")
            return seconds_of(entry("theseus", runs, groups, compiled), task)
        at_half, at_full = seconds_of(half, task), seconds_of(full, task)
        return at_full + 2 * (1 - table.work[row][task].mean_rate) * (at_half - at_full)

    def example(name: str, task: str) -> float:
        known = [count for other, kind, count, *_ in measured if (other, kind) == (name, precision) and count <= runs]
        at_once = max(known, default=1)
        if at_once != runs:
            notes.add(f"passes without gradients as measured with {at_once} at once")
        return seconds_of(entry(name, at_once, PADDED, False), task, "example") / at_once

    rows: dict[str, Any] = {}
    for row, tasks in table.work.items():
        pass_name = "evaluate-predecessor" if row == "predecessor" else "evaluate-successor"
        training = {task: work.steps * step(row, task) / runs for task, work in tasks.items()}
        evaluation = {
            task: work.evaluations * work.evaluated * example(pass_name, task) for task, work in tasks.items()
        }
        rows[row] = _row(training, evaluation, table.seeds)
    outputs = sum(work.train_rows * example("predecessor-outputs", task)
                  for task, work in table.work["predecessor"].items()) / 3600  # fmt: skip
    hours = sum(row["hours"] for row in rows.values())
    spared = (table.seeds - 1) / table.seeds * rows["predecessor"]["hours"] + (table.seeds - 1) * outputs
    return {
        "precision": precision, "runs": runs, "compiled": compiled, "length_groups": groups,
        "device_hours": hours + table.seeds * outputs,
        "device_hours_with_one_predecessor_per_task": hours + table.seeds * outputs - spared,
        "outputs_hours": table.seeds * outputs, "rows": rows, "notes": sorted(notes),
    }  # fmt: skip


def _row(training: dict[str, float], evaluation: dict[str, float], seeds: int) -> dict[str, Any]:
    """Hours of one row, all seeds, from seconds by task of one."""
    scale = seeds / 3600
    tasks = {task: scale * (training[task] + evaluation[task]) for task in training}
    return {"hours": sum(tasks.values()), "training_hours": scale * sum(training.values()),
            "evaluation_hours": scale * sum(evaluation.values()), "tasks": tasks}  # fmt: skip


def seconds_of(entry: Mapping[str, Any], task: str, of: str = "step") -> float:
    """Seconds of one step or example on that task; of the mix where the window held none of it."""
    found = entry["tasks"].get(task) or entry["mix"]
    seconds = float(found["seconds"])
    return seconds / float(found["examples"]) if of == "example" else seconds
