"""Check and find everything that is needed before the first run starts, in one call.

    found = ready(plan, runs, store, workers, say)      # found.missing are the runs to execute

It prepares the results folder, finds the runs that are not done, downloads data and encoders from the hub, checks the
disk space, tries a step of every kind of run, probes whether training is deterministic, and estimates times. Every
problem raises a `SuiteError` here, before any run starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.base.errors import SuiteError
from benchmarks.base.hub import stay_offline_if_out_of_reach
from benchmarks.models.checks import fetch
from benchmarks.models.source import EncoderSource
from benchmarks.plans.older_runs import older_runs
from benchmarks.plans.run import Plan, Run
from benchmarks.preflight import disk_space
from benchmarks.preflight.cost import Estimate, estimates, pace_of
from benchmarks.preflight.determinism import probe_suite
from benchmarks.preflight.first_step import try_first_steps
from benchmarks.preflight.token_facts import describe
from benchmarks.runs.store import Store
from benchmarks.tasks.data import load_splits
from results.format.documents.run import Probe
from results.format.errors import UserError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ready:
    """`settled`: ids of finished runs. `missing`: the runs to execute, by `workers` at once. `probes`: results of the
    determinism probe, by arm. `estimates`: by run id; None if this machine's step times are unknown."""

    settled: frozenset[str]
    missing: list[Run]
    workers: int
    probes: dict[str, Probe]
    estimates: dict[str, Estimate] | None


def ready(plan: Plan, runs: Sequence[Run], store: Store, workers: int | None, say: Say) -> Ready:
    """Prepare to execute the unfinished `runs`. `workers`: None for the best number on this machine."""
    refuse_random(plan)
    pace = pace_of(plan)
    settled = store.prepare(runs)
    missing, folders = fetched(plan, [run for run in runs if run.id not in settled], say)
    at_once = min(workers or plan.workers, max(1, len(missing)))
    if older := older_runs(runs, store.path):
        say(older)
    disk_space.check(missing, plan.suite.encoder.hidden_size, folders, store.path, at_once)
    facts = describe(missing, plan.device, say)
    try_first_steps(plan, missing, facts, say)
    probes = probe_suite(plan, missing, pace.shape, say)
    countable = settled | {run.id for run in missing}  # an arm that was left out may have no tokenizer
    counted = [run for run in runs if run.id in countable]
    guesses = estimates(counted, plan.suite.encoder, store.took(counted), pace.times) if pace.times else None
    return Ready(settled, missing, at_once, probes, guesses)


def refuse_random(plan: Plan) -> None:
    """Raises `SuiteError` if the suite's encoder has random weights."""
    if plan.encoder.random:
        raise SuiteError("encoder.random is for plan and run --dry-run only: its numbers would mean nothing")


def fetched(plan: Plan, runs: list[Run], say: Say) -> tuple[list[Run], dict[EncoderSource, Path]]:
    """Download data and encoders that are on the hub, once for all workers. Returns the runs that can be executed and
    the encoders' folders; an optional arm whose own checkpoint cannot be downloaded is left out with a warning."""
    if not runs:
        return runs, {}
    wanted: dict[str | None, EncoderSource] = {None: plan.encoder}
    wanted |= {run.arm: run.tokenizer for run in runs if run.tokenizer != plan.encoder}
    if any(encoder.revision for encoder in wanted.values()) or any(run.source.revision for run in runs):
        stay_offline_if_out_of_reach(say)
    lost, folders = set[str | None](), {}
    for name, source in wanted.items():
        arm = plan.suite.arms[name] if name else None
        own = arm.encoder if arm else plan.suite.encoder
        try:
            folders[source] = fetch(source, own.sha256 if own else None)
        except UserError as error:
            if arm is None or not arm.optional:
                raise
            say(f"warning: arm {name} is left out: {error}")
            lost.add(name)
    left = [run for run in runs if run.arm not in lost]
    for data in {run.task.name: run.source for run in left}.values():
        load_splits(data)
    return left, folders
