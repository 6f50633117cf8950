"""suite.json: the description of a suite in its results folder."""

from __future__ import annotations

from typing import Any

from benchmarks.plans.run import Plan
from benchmarks.suites import arms
from benchmarks.suites import suite as settings
from benchmarks.suites.arms import PREDECESSOR, PREDECESSOR_ARM
from benchmarks.tasks import table
from benchmarks.tasks.table import find_task
from results.format.documents.suite import Arm, Contrast, Planned, Registered, Suite, SuiteEncoder, Task

# settings that name folders of this machine are left out
OWN_ENCODER: dict[str, Any] = dict(encoder={"path"})
OWN_DATA: dict[str, Any] = dict(own={"train", "dev"})
LOCAL = OWN_ENCODER | dict(data={"path"}, predecessor={"paths"})


def describe(plan: Plan, registered: tuple[Registered, ...]) -> Suite:
    """The suite as a report needs it, with its planned runs and the seeds as they were `registered`."""
    suite = plan.suite
    encoder = suite.encoder
    known = {run.task.name: run.task for run in plan.runs}
    return Suite(
        name=suite.name,
        title=suite.title,
        description=suite.description.strip(),
        synthetic=suite.synthetic,
        comparable=suite.comparison.comparable,
        comparison=suite.comparison.reason,
        table=suite.comparison.table,
        protocol=suite.protocol,
        statistic=suite.statistic,
        held_out=suite.held_out,
        unequal_budget=suite.unequal_budget,
        steps=tuple(suite.steps),
        contrasts=contrasts_of(suite),
        x_title=suite.x_title,
        encoder=SuiteEncoder(encoder.name, encoder.revision, encoder.layers, encoder.hidden_size),
        successor_layers=suite.successor_layers,
        tasks=tuple(_task(known.get(name) or find_task(name)) for name in suite.tasks),
        arms=tuple(_arm(name, arm, plan) for name, arm in ((PREDECESSOR, PREDECESSOR_ARM), *suite.arms.items())),
        seeds=tuple(suite.seeds),
        predecessor_per_seed=suite.predecessor.per_seed,
        registered=registered,
        runs=tuple(
            Planned(run.id, run.task.name, run.arm, run.method, run.seed, run.trial, run.folder) for run in plan.runs
        ),
        resolved=_resolved(plan),
    )


def contrasts_of(suite: settings.Suite) -> tuple[Contrast, ...]:
    """The questions of a suite file."""
    return tuple(Contrast(c.question, c.first, c.second) for c in suite.contrasts)


def _resolved(plan: Plan) -> dict[str, Any]:
    """The suite file with all defaults, and with what was found in the user's own data in their place."""
    suite = plan.suite
    places = dict(arms=dict.fromkeys(suite.arms, OWN_ENCODER), task=dict.fromkeys(suite.task, OWN_DATA))
    resolved = suite.model_dump(mode="json", exclude=LOCAL | places)
    for name, facts in {run.task.name: run.source.facts for run in plan.runs if run.source.facts}.items():
        found = dict(kind=facts.kind, score=facts.score, labels=facts.labels or None, scale=facts.scale)
        resolved["task"][name]["own"] |= {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}
    return resolved


def _task(task: table.Task) -> Task:
    notes = tuple(task.notes)
    return Task(task.name, task.title, task.published, task.score, task.in_macro, task.train_rows, task.dev, notes)


def _arm(name: str, arm: arms.Arm, plan: Plan) -> Arm:
    layers = min((run.layers for run in plan.runs if run.arm == name), default=None)
    return Arm(name, arm.title, arm.method, layers, arm.published, arm.group, arm.x, tuple(arm.trials()))
