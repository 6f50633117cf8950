"""Load, check and plan a suite, as every command that computes does first; and the commands `plan` and `status`.

`plan` must answer at once, so nothing here imports transformers.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.base.errors import RESULTS
from benchmarks.base.terminal import say
from benchmarks.cli.asked import Asked
from benchmarks.cli.show import plan_table, status_text
from benchmarks.models.encoder import find_encoder
from benchmarks.plans.older_runs import older_runs
from benchmarks.plans.planner import make_plan
from benchmarks.plans.run import Plan, Run
from benchmarks.preflight.cost import Estimate, estimates, pace_of, wall_seconds
from benchmarks.preflight.first_step import try_first_steps, untried
from benchmarks.preflight.token_facts import describe, facts_of, here
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.data import find_source, load_splits
from benchmarks.tasks.own.facts import Facts
from benchmarks.tasks.table import find_task
from results.format.errors import UserError

UNKNOWN = "this machine's step times are not known, so some runs have no estimate: plan SUITE --calibrate measures them"


@dataclass(frozen=True)
class Planned:
    """The whole plan, the requested runs and the folder of their results."""

    plan: Plan
    runs: list[Run]
    store: Store


def planned(asked: Asked) -> Planned:
    """Load, check and plan the suite. Raises `SuiteError`."""
    suite = load_suite(_resolve(asked.suite), asked.settings)
    plan = make_plan(suite, asked.tasks)
    for warning in plan.warnings:
        say(f"warning: {warning}")
    runs = plan.select(asked.tasks, asked.methods, asked.seeds)
    store = Store(asked.results or RESULTS / suite.name)
    store.belongs_to(suite.name)
    return Planned(plan, runs, store)


def _resolve(name: str) -> str:
    """The suite's name. "auto" becomes "paper" if a GPU, the data and the encoder are available, else "demo"."""
    if name != "auto":
        return name
    reason = _why_not_paper()
    say(
        f"suite: demo, because {reason}"
        if reason
        else "suite: paper, because CUDA, the data and the encoder are available"
    )
    return "demo" if reason else "paper"


def _why_not_paper() -> str | None:
    if not torch.cuda.is_available():
        return "there is no CUDA device (SUITE=minilm runs real GLUE on a CPU)"
    from benchmarks.models.checks import fetch  # loads transformers: only where there is a GPU

    suite = load_suite("paper")
    try:
        fetch(find_encoder(suite.encoder), suite.encoder.sha256)
        for task in suite.tasks:
            load_splits(find_source(find_task(task), suite.data))
    except UserError as error:
        return f"the paper's suite cannot run here: {error}"
    return None


def plan_text(asked: Asked, calibrate: bool, as_json: bool, check: bool = False) -> str:
    """List the runs and the time that they will take. `calibrate`: measure unknown step times first. `check`: try the
    first step of every kind of run, as `run` does."""
    found = planned(asked)
    if older := older_runs(found.runs, found.store.path):
        say(older)
    for name, facts in _own_data(found.plan).items():
        say(f"{name}: {facts.line()}")
    _first_steps(found, check)
    document = _document(found, calibrate)
    if document["estimated_seconds"] is None:
        say(UNKNOWN)
    return json.dumps(document, indent=1) if as_json else plan_table(document)


def _own_data(plan: Plan) -> dict[str, Facts]:
    """What was found in the user's own data, by task."""
    return {run.task.name: run.source.facts for run in plan.runs if run.source.facts}


def _first_steps(found: Planned, check: bool) -> None:
    """Say what the tokenizers do, and whether the first steps of runs were tried on this machine."""
    runs = here(found.runs)
    facts = describe(runs, found.plan.device, say)
    runs = [run for run in runs if found.store.result(run) is None]
    if check:
        try_first_steps(found.plan, runs, facts, say)
    elif todo := len(untried(found.plan, runs, facts)):
        say(f"the first steps of {todo} kinds of run were not tried here: `run` begins with it, or plan SUITE --check")


def progress_text(asked: Asked, as_json: bool) -> str:
    """Show how many runs are done and how long the others will take."""
    found = planned(asked)
    facts_of(here(found.runs), found.plan.device)  # in a process with a time limit; the estimates tokenise here
    document = _document(found)
    return json.dumps(document, indent=1) if as_json else status_text(document)


def _document(found: Planned, calibrate: bool = False) -> dict[str, Any]:
    """The plan as plain data, printed by `plan --json`. Seconds are None for a run without an estimate: this machine's
    step times are not known, and no seed of its cell is done."""
    plan, runs, store = found.plan, found.runs, found.store
    times = pace_of(plan).times
    if times is None and calibrate:
        from benchmarks.preflight.calibration import calibrated  # loads transformers: two seconds

        times = calibrated(plan, say)
    guesses = estimates(runs, plan.suite.encoder, store.took(runs), times)
    rows = [_row(run, guesses[run.id], store, times is not None) for run in runs]
    missing = [run for run, row in zip(runs, rows, strict=True) if row["status"] == "missing"]
    complete = times is not None or all(guesses[run.id].measured for run in missing)
    seconds = sum(guesses[run.id].seconds for run in missing)
    share = sum(guesses[run.id].evaluation for run in missing) / seconds if seconds else None
    return {
        "suite": plan.suite.name,
        "title": plan.suite.title,
        "device": plan.device.model_dump(mode="json"),
        "workers": plan.workers,
        "runs": rows,
        "missing": len(missing),
        "estimated_operations": sum(guesses[run.id].operations for run in missing),
        "estimated_seconds": round(wall_seconds(missing, guesses, plan.workers), 1) if complete else None,
        "estimated_device_hours": round(seconds / plan.workers / 3600, 3) if complete else None,
        "estimated_evaluation_share": round(share, 3) if complete and share is not None else None,
        "warnings": plan.warnings,
        "own_data": {name: asdict(facts) for name, facts in _own_data(plan).items()},
    }


def _row(run: Run, guess: Estimate, store: Store, calibrated: bool) -> dict[str, Any]:
    result = store.result(run)
    return {
        "run_id": run.id,
        "task": run.task.name,
        "method": run.method,
        "arm": run.arm,
        "seed": run.seed,
        "trial": run.trial,
        "layers": run.layers,
        "steps": run.steps,
        "predecessor": run.predecessor,
        "start": run.start,
        "status": result.status if result else "missing",
        "origin": "imported" if store.imported(run) else "",
        "estimated_seconds": round(guess.seconds, 1) if calibrated or guess.measured else None,
        "estimated_evaluation_seconds": round(guess.evaluation, 1) if calibrated else None,
        "estimated_operations": guess.operations,
        "folder": str(store.path / run.folder),
    }
