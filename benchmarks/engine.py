"""Where runs execute. `local`: worker processes on this machine; `ray` is the seam for a cluster.

Each worker computes with the suite's fixed number of threads, so a run's numbers do not depend on how many
others run beside it. A run starts when its predecessor is done; predecessors and long runs go first.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from benchmarks.errors import SuiteError
from benchmarks.execute import execute
from benchmarks.plan import Run
from benchmarks.store import Store
from benchmarks.workers import pool_of

Report = Callable[[Run, dict[str, Any]], None]
Engine = Callable[[Sequence[Run], Path, int, Report], None]


class WorkerDied(RuntimeError):
    """A worker process ended without an answer; what it ran has no result and will run again."""


def find_engine(name: str) -> Engine:
    """The engine of that name. Raises `SuiteError` for one that is not built yet or unknown."""
    if name == "local":
        return run_local
    if name == "ray":
        raise SuiteError("--engine ray is not available yet: use --engine local with --workers N")
    raise SuiteError(f"unknown engine {name!r}: there is local (ray will follow)")


def run_local(runs: Sequence[Run], results: Path, workers: int, report: Report) -> None:
    """Execute `runs` (those already done left out by the caller) and `report` each as it ends.

    Raises `WorkerDied` if the system kills a worker; KeyboardInterrupt passes through with all workers stopped.
    """
    if not runs:
        return
    device = runs[0].device
    pool = pool_of(min(workers, len(runs)), device)
    try:
        _schedule(pool, runs, results, report)
    except BrokenProcessPool:
        raise WorkerDied("a worker process was killed (out of memory?): run the same command to go on") from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _schedule(pool: ProcessPoolExecutor, runs: Sequence[Run], results: Path, report: Report) -> None:
    handed_on = {name for run in runs for name in run.inputs}
    waiting = sorted(runs, key=lambda run: (run.id not in handed_on, -run.steps * run.layers))
    open_ids = {run.id for run in runs}
    store = Store(results)
    active: dict[Future[dict[str, Any]], Run] = {}
    while waiting or active:
        ready = [run for run in waiting if not run.inputs & open_ids]
        waiting = [run for run in waiting if run.inputs & open_ids]
        for run in ready:
            if reason := store.cannot_start(run):  # no result, so it runs once what it needs is there
                report(run, {"status": "failed", "reason": f"not started: {reason}"})
                open_ids.discard(run.id)
            else:
                active[pool.submit(execute, run, results)] = run
        if not active:
            continue
        done, _ = wait(active, return_when=FIRST_COMPLETED)
        for future in done:
            run = active.pop(future)
            report(run, future.result())
            open_ids.discard(run.id)
