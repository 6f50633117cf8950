"""The commands `run`, `reproduce`, `speed` and `submit`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.base.errors import DONE, FAILED
from benchmarks.base.terminal import say
from benchmarks.cli.asked import Asked
from benchmarks.cli.planning import Planned, planned
from benchmarks.cli.show import Progress
from benchmarks.engine.schedule import find_engine
from benchmarks.models.checks import fetch
from benchmarks.preflight.ready import fetched, ready, refuse_random
from benchmarks.preflight.rehearsal import dry_run
from benchmarks.runs.execute import RunOptions
from benchmarks.speed.measure import measure, speed_key, subject_key
from benchmarks.submission import submit_runs
from benchmarks.suites.speed import MATRIX, Speed
from results.format.documents.speed import Speed as Timing


def run(asked: Asked, workers: int | None = None, engine: str = "local", checkpoint_seconds: float = 60.0) -> int:
    """Execute the runs that are not done; return the exit code."""
    return execute_missing(planned(asked), workers, engine, checkpoint_seconds)


def execute_missing(found: Planned, workers: int | None, engine: str, checkpoint_seconds: float = 60.0) -> int:
    """Execute the planned runs that are not done; return the exit code. Raises KeyboardInterrupt when stopped."""
    execute_all = find_engine(engine)
    known = ready(found.plan, found.runs, found.store, workers, say)
    found.store.write_suite(found.plan)
    with Progress(found.runs, known.missing, known.estimates, known.workers) as progress:
        options = {run.id: RunOptions(checkpoint_seconds, known.probes.get(run.arm)) for run in known.missing}
        execute_all(
            known.missing, found.store.path, known.workers, progress.report, options, progress.say, known.settled
        )
    if progress.failed:
        return FAILED
    found.store.check_kept(known.missing)
    return DONE


def rehearse(asked: Asked, steps: int) -> int:
    """Take a few optimizer steps of every cell and keep nothing; return the exit code."""
    found = planned(asked)
    runs, _ = fetched(found.plan, found.runs, say)
    dry_run(found.plan, runs, steps, say)
    return DONE


def reproduce(asked: Asked, workers: int | None) -> tuple[Path, int]:
    """Run a suite and time inference; return the results folder and the exit code of the runs."""
    found = planned(asked)
    code = execute_missing(found, workers, "local")
    plan = found.plan
    if plan.suite.speed and not found.store.speed_is_current(speed_key(plan), subject_key(plan)):
        _time(found, matrix=False)
    return found.store.path, code


def time_inference(asked: Asked, matrix: bool) -> tuple[Path, Timing]:
    """Time inference; `matrix`: under every variant, batch, length and thread count. Returns the results folder and the
    content of speed.json."""
    found = planned(Asked(asked.suite, asked.results, ((MATRIX,) if matrix else ()) + asked.settings))
    refuse_random(found.plan)
    found.store.open()
    found.store.write_suite(found.plan)
    return found.store.path, _time(found, matrix)


def _time(found: Planned, matrix: bool) -> Timing:
    """Write speed.json as measurements arrive, so that an interruption keeps them."""
    plan, timing = found.plan, Timing()
    fetch(plan.encoder, plan.suite.encoder.sha256)
    for timing in measure(plan, plan.suite.speed or Speed(), found.store.path, say):
        found.store.write_speed(timing, speed_key(plan), matrix)
    return timing


def submit(asked: Asked, output: Path) -> None:
    """Write the test predictions of one arm and seed as a zip for GLUE's server."""
    found = planned(asked)
    runs = [run for run in found.runs if {run.arm, run.method} & set(asked.methods) and run.seed in asked.seeds]
    for line in submit_runs(runs, found.store.path, output):
        say(line)
