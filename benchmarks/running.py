"""From a plan to its finished runs: what `run` and `reproduce` do between reading a suite and saying how it went."""

from __future__ import annotations

from benchmarks import space
from benchmarks.cost import estimates
from benchmarks.data import load_splits
from benchmarks.engine import find_engine
from benchmarks.errors import DONE, FAILED, SuiteError
from benchmarks.execute import RunOptions
from benchmarks.lease import Leases
from benchmarks.loading import fetch
from benchmarks.plan import Plan, Run
from benchmarks.probe import probe_suite
from benchmarks.rates import rates_of
from benchmarks.show import Progress
from benchmarks.stale import older_runs
from benchmarks.store import Store
from benchmarks.terminal import say
from benchmarks.workers import default_workers


def execute_missing(
    planned: Plan, store: Store, runs: list[Run], workers: int | None, engine: str, checkpoint_seconds: float = 60.0
) -> int:
    """Execute those of `runs` that are not done; the exit code. Raises KeyboardInterrupt when it was stopped."""
    execute_all = find_engine(engine)
    refuse_random(planned)
    store.open()
    store.sweep()
    settled = {run.id for run in runs if store.settled(run)}
    Leases(store.path).clear(settled)
    store.forget_checkpoints(run for run in runs if run.id in settled)
    missing = fetch_inputs(planned, [run for run in runs if run.id not in settled])
    at_once = min(workers or default_workers(planned.device), max(1, len(missing)))
    if older := older_runs(runs, store.path):
        say(older)
    space.check(planned, missing, store, at_once)
    probes = probe_suite(planned, missing, say)
    store.write_suite(planned)
    known = settled | {run.id for run in missing}  # what was left out may have no tokenizer to count with
    rates = rates_of(planned, None)
    guesses = estimates([run for run in runs if run.id in known], planned, store, rates) if rates else None
    with Progress(runs, missing, guesses, at_once) as progress:
        options = {run.id: RunOptions(checkpoint_seconds, probes.get(run.arm)) for run in missing}
        execute_all(missing, store.path, at_once, progress.report, options, progress.say)
    return FAILED if progress.failed else DONE


def refuse_random(planned: Plan) -> None:
    """Raises `SuiteError` for a suite of random weights."""
    if planned.encoder.random:
        raise SuiteError("encoder.random is for plan and run --dry-run only: its numbers would mean nothing")


def fetch_inputs(planned: Plan, missing: list[Run]) -> list[Run]:
    """Data and encoder from the hub, if that is where they are: here once, not in every worker.

    Returns the runs that can be executed: an optional arm whose own checkpoint cannot be had is left out, and said
    to be.
    """
    if not missing:
        return missing
    fetch(planned.encoder, planned.suite.encoder.sha256)
    lost = set()
    for name, encoder in {run.arm: run.encoder for run in missing if run.method == "pretrained"}.items():
        arm = planned.suite.arms[name]
        try:
            fetch(encoder, arm.encoder.sha256 if arm.encoder else None)
        except SuiteError as error:
            if not arm.optional:
                raise
            say(f"warning: arm {name} is left out: {error}")
            lost.add(name)
    missing = [run for run in missing if run.arm not in lost]
    for source in {run.task.name: run.source for run in missing}.values():
        load_splits(source)
    return missing
