"""Where runs execute. `local`: worker processes on this machine; `ray` is the seam for a cluster.

Each worker computes with the suite's fixed number of threads, so a run's numbers do not depend on how many
others run beside it. A run starts when its predecessor is done; predecessors and long runs go first. Any number of
runners, here or on other machines, may work on one results folder: each takes the runs it can have a lease for
(lease.py), waits for what the others have, and goes on with what a dead one left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import SuiteError
from benchmarks.execute import RunOptions
from benchmarks.faults import killed, reason
from benchmarks.lease import Leases
from benchmarks.outcome import fail
from benchmarks.plan import Run
from benchmarks.pool import Answer, Job, Pool
from benchmarks.stopping import Signals
from benchmarks.store import Store
from benchmarks.terminal import say

Report = Callable[[Run, dict[str, Any]], None]
Say = Callable[[str], None]
Options = Mapping[str, RunOptions]  # by run id
Engine = Callable[[Sequence[Run], Path, int, Report, Options, Say], None]

LOOK = 1.0  # seconds between two looks at what other runners do
STOPPING = "stopping: finishing the step under way; Ctrl-C again stops at once"
LEAVE = 2.0  # seconds a worker has to end by itself


def find_engine(name: str) -> Engine:
    """The engine of that name. Raises `SuiteError` for one that is not built yet or unknown."""
    if name == "local":
        return run_local
    if name == "ray":
        raise SuiteError("--engine ray is not available yet: use --engine local with --workers N")
    raise SuiteError(f"unknown engine {name!r}: there is local (ray will follow)")


def run_local(
    runs: Sequence[Run], results: Path, workers: int, report: Report, options: Options, say: Say = say
) -> None:
    """Execute `runs` (those already done left out by the caller) and `report` each as it ends, here or elsewhere.

    Raises KeyboardInterrupt where a signal left some undone; all workers have ended by then.
    """
    if not runs:
        return
    pool = Pool(min(workers, len(runs)), runs[0].device)
    with Signals() as signals, Leases(results) as leases:
        try:
            _Schedule(runs, Store(results), pool, leases, signals, options, report, say).work()
        except BaseException:
            pool.close()
            raise
        pool.close(LEAVE)


class _Schedule:
    """What is to be done, what is under way here, and what other runners have."""

    def __init__(
        self, runs: Sequence[Run], store: Store, pool: Pool, leases: Leases, signals: Signals, options: Options,
        report: Report, say: Say,
    ) -> None:  # fmt: skip
        handed_on = {name for run in runs for name in run.inputs}
        order = sorted(runs, key=lambda run: (run.id not in handed_on, -run.steps * run.layers))
        self.open = {run.id: run for run in order}
        self.before = {run.id: store.stamp(run) for run in runs}
        self.suspects: list[str] = []  # their worker was killed: to be run again, alone
        self.alone: str | None = None
        self.elsewhere: set[str] = set()
        self.looked = -LOOK
        self.waiting = False
        self.told: set[str] = set()  # to stop
        self.store, self.pool, self.leases, self.signals = store, pool, leases, signals
        self.options, self.report, self.say = options, report, say

    def work(self) -> None:
        stopping = False
        while self.open:
            if self.signals.requested and not stopping:
                stopping = True
                self.say(STOPPING)
                self.pool.stop()
            if stopping and not self.pool.active:
                raise KeyboardInterrupt
            if not stopping:
                self._look()
                self._start()
                self._say_waiting()
            for answer in self.pool.wait(LOOK if self.open else 0.0, [self.signals.wake]):
                self._take(answer, stopping)
            self.signals.drain()

    def _look(self) -> None:
        """See what other runners have, which of theirs are finished, and whether they have taken ours."""
        now = time.monotonic()
        if now - self.looked < LOOK:
            return
        self.looked = now
        before, self.elsewhere = self.elsewhere, self.leases.elsewhere()
        for run_id in (before - self.elsewhere) & self.open.keys():
            self._done_elsewhere(self.open[run_id])
        lost = self.leases.lost() - self.told
        self.pool.stop(lost)
        self.told |= lost

    def _say_waiting(self) -> None:
        """Once, where all that is left is with others: it would look as if nothing happened."""
        if self.open and not self.pool.active and self.elsewhere and not self.waiting:
            self.waiting = True
            self.say(f"waiting for other runners ({len(self.elsewhere & self.open.keys())} run(s) under way there)")

    def _start(self) -> None:
        """Start what is ready and can be had, as long as there are workers for it; then a suspect, alone."""
        if self.alone is not None:
            return
        for run in list(self.open.values()):
            if self.pool.free <= 0:
                return
            if run.id not in self.suspects and self._ready(run):
                self._lease_and_start(run)
        if self.pool.active:
            return
        for run in [self.open[run_id] for run_id in self.suspects if run_id in self.open]:
            if self._ready(run) and self._lease_and_start(run):
                self.alone = run.id
                return

    def _ready(self, run: Run) -> bool:
        if run.id not in self.open or run.inputs & self.open.keys() or run.id in self.elsewhere:
            return False
        return all(job.run.id != run.id for job in self.pool.active)

    def _lease_and_start(self, run: Run) -> bool:
        """Start it, unless somebody else has it or had it, or what it needs will never be there."""
        if self._done_elsewhere(run):
            return False
        if missing := self.store.cannot_start(run):  # no result, so it runs once what it needs is there
            self._close(run, {"status": "failed", "reason": f"not started: {missing}"})
            return False
        try:
            ticket = self.leases.acquire(run.id)
        except OSError as error:
            self._close(run, {"status": "failed", "reason": f"not started: {reason(error, run)}"})
            return False
        if ticket is None:
            self.elsewhere.add(run.id)  # until the next look
            return False
        if self._done_elsewhere(run):  # between the look before and the lease
            self.leases.release(run.id)
            return False
        self.told.discard(run.id)
        self.pool.start(Job(run, self.store.path, self.options[run.id], ticket))
        return True

    def _done_elsewhere(self, run: Run) -> bool:
        """Has another runner finished it since we began? A failure of before is tried again, one of now is not."""
        stamp = self.store.stamp(run)
        result = self.store.result(run) if stamp else None
        if result is None:
            return False
        failed_now = result["status"] == "failed" and stamp != self.before[run.id]
        if not failed_now and not self.store.settled(run):
            return False
        self.leases.clear([run.id])
        self._close(run, {**result, "elsewhere": True})
        return True

    def _take(self, answer: Answer, stopping: bool) -> None:
        """A worker's job ended."""
        run, result = answer.job.run, answer.result
        was_alone, self.alone = self.alone == run.id, None if self.alone == run.id else self.alone
        if result is None:
            self.store.sweep()  # what its worker had begun to fill
        if result is None and not stopping:
            died = killed(answer.exitcode)
            if was_alone:
                result = self._failed(run, died)
            else:
                self.suspects.append(run.id)
                self.say(f"warning: {run.task.name} {run.arm} seed {run.seed}: {died}; it will run again, alone")
        if result is not None and result["status"] != "interrupted":
            self._close(run, result)
        self.leases.release(run.id)

    def _failed(self, run: Run, why: str) -> dict[str, Any] | None:
        """Write down the failure of a run whose worker cannot; None where it is no longer ours."""
        if not self.leases.held(run.id):
            return None
        try:
            return fail(run, self.store, why, {"determinism_probe": self.options[run.id].probe})
        except OSError as error:
            return {"status": "failed", "reason": f"{why}; not written down: {reason(error, run)}"}

    def _close(self, run: Run, result: dict[str, Any]) -> None:
        del self.open[run.id]
        self.report(run, result)
