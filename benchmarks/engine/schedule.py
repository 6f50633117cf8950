"""Which run starts when, on the workers of any engine, beside any number of other runners.

A run starts when its inputs are done; predecessors and long runs go first. Any number of runners, here or on other
machines, may work on one results folder: each executes the runs for which it gets a lease (lease.py), waits for those
that other runners execute, and takes over what a dead runner left.

An engine is one file and one name: a class that implements `Workers` (protocol.py), and an entry in `ENGINES`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.base.errors import SuiteError, nearest
from benchmarks.base.terminal import say
from benchmarks.engine.lease import Leases
from benchmarks.engine.local import LocalWorkers
from benchmarks.engine.protocol import Answer, Job, OpenWorkers, Workers
from benchmarks.machine.signals import Signals
from benchmarks.plans.run import Run
from benchmarks.runs.execute import RunOptions
from benchmarks.runs.faults import killed, reason
from benchmarks.runs.record import Elsewhere, fail
from benchmarks.runs.store import Store
from results.format.documents.codec import joined
from results.format.documents.run import Outcome

Report = Callable[[Run, Outcome], None]
Say = Callable[[str], None]
Options = Mapping[str, RunOptions]  # by run id
Engine = Callable[[Sequence[Run], Path, int, Report, Options, Say, Collection[str]], None]

ENGINES: dict[str, OpenWorkers] = {"local": LocalWorkers}

LOOK = 1.0  # seconds between two looks at what other runners do: a look at 200 leases takes 16 ms on a local disk
LEAVE = 2.0  # seconds in which a worker may end by itself
STOPPING = "stopping: finishing the step under way; Ctrl-C again stops at once"


def find_engine(name: str) -> Engine:
    """`execute_runs` on the engine of that name. Raises `SuiteError` if there is no such engine."""
    if name in ENGINES:
        return partial(execute_runs, ENGINES[name])
    if name == "ray":
        raise SuiteError("--engine ray is not available yet: use --engine local with --workers N")
    raise SuiteError(f"unknown engine {name!r}: {nearest(name, ENGINES)}")


def execute_runs(
    open_workers: OpenWorkers, runs: Sequence[Run], results: Path, workers: int, report: Report, options: Options,
    say: Say = say, settled: Collection[str] = (),
) -> None:  # fmt: skip
    """Execute `runs`, and `report` each of them as it ends, here or in another runner.

    The caller leaves out runs that are already done, and names them in `settled`: leases that dead runners left on
    them are removed. Raises KeyboardInterrupt when a signal left some of them undone;
    all workers have ended by then.
    """
    Leases(results).clear(settled)
    if not runs:
        return
    opened = open_workers(min(workers, len(runs)), runs[0].device)
    with Signals() as signals, Leases(results) as leases:
        try:
            _Schedule(runs, Store(results), opened, leases, signals, options, report, say).work()
        except BaseException:
            opened.close()
            raise
        opened.close(LEAVE)


@dataclass
class _Schedule:
    """The runs that are still open, and the state of each: under way here, under way elsewhere, or suspect.

    **Suspects run alone.** When a worker dies without an answer, its run may be the cause (it needs more memory than
    the machine has) or a victim (the system killed the largest of several processes). The runner cannot know which, so
    the run becomes a suspect, and runs again when no other run is under way here and none can start. If its worker dies
    again, no other run of this runner can be the cause, and the run has failed. A death costs one repetition, and a run
    that always dies costs two attempts.

    **Done elsewhere.** Another runner may finish a run at any moment, so its result is read twice: before the lease is
    acquired, which may save acquiring it, and afterwards, which decides, because a runner writes its result before it
    gives its lease back. A result counts if it is settled. A failure counts only if it was written after this runner
    began: this runner was started to repeat older failures, but if new ones did not count, every runner would repeat
    them in turn. `Store.stamp` tells the two apart without comparing the clocks of two machines: the file was replaced
    after this runner began, or it was not.
    """

    runs: Sequence[Run]
    store: Store
    workers: Workers
    leases: Leases
    signals: Signals
    options: Options
    report: Report
    say: Say
    open: dict[str, Run] = field(init=False)  # in the order in which they should start
    before: dict[str, tuple[int, int] | None] = field(init=False)  # stamps of the results when this runner began
    suspects: list[str] = field(default_factory=list)  # their worker died
    alone: str | None = None  # the suspect under way
    elsewhere: set[str] = field(default_factory=set)  # under way in other runners, as of the last look
    looked: float = -LOOK
    waiting: bool = False  # the user has been told that only other runners' runs are left
    told: set[str] = field(default_factory=set)  # runs that were asked to stop because their lease is lost

    def __post_init__(self) -> None:
        # Others wait for predecessors, and a long run that starts last would leave the other workers without work.
        needed = {name for run in self.runs for name in run.inputs}
        order = sorted(self.runs, key=lambda run: (run.id not in needed, -run.steps * run.layers))
        self.open = {run.id: run for run in order}
        self.before = {run.id: self.store.stamp(run) for run in self.runs}

    def work(self) -> None:
        """Work until every run is closed. Raises KeyboardInterrupt after a signal, once no job is under way."""
        stopping = False
        while self.open:
            if self.signals.requested and not stopping:
                stopping = True
                self.say(STOPPING)
                self.workers.stop()
            if stopping and not self.workers.active:
                raise KeyboardInterrupt
            if not stopping:
                self._look()
                self._start()
                self._say_waiting()
            for answer in self.workers.wait(LOOK if self.open else 0.0, [self.signals.wake]):
                self._take(answer, stopping)
            self.signals.drain()

    def _look(self) -> None:
        """Read which runs other runners hold, which of those are finished, and whether they have taken one of ours."""
        now = time.monotonic()
        if now - self.looked < LOOK:
            return
        self.looked = now
        before, self.elsewhere = self.elsewhere, self.leases.elsewhere()
        for run_id in (before - self.elsewhere) & self.open.keys():
            self._done_elsewhere(self.open[run_id])
        lost = self.leases.lost() - self.told
        self.workers.stop(lost)
        self.told |= lost

    def _say_waiting(self) -> None:
        """Say once that other runners hold all remaining runs; otherwise this runner would seem to hang."""
        if self.open and not self.workers.active and self.elsewhere and not self.waiting:
            self.waiting = True
            self.say(f"waiting for other runners ({len(self.elsewhere & self.open.keys())} run(s) under way there)")

    def _start(self) -> None:
        """Start ready runs while workers are free. If nothing is under way after that, start one suspect."""
        if self.alone is not None:
            return
        for run in list(self.open.values()):
            if self.workers.free <= 0:
                return
            if run.id not in self.suspects and self._ready(run):
                self._lease_and_start(run)
        if self.workers.active:
            return
        for run in [self.open[run_id] for run_id in self.suspects if run_id in self.open]:
            if self._ready(run) and self._lease_and_start(run):
                self.alone = run.id
                return

    def _ready(self, run: Run) -> bool:
        if run.id not in self.open or run.inputs & self.open.keys() or run.id in self.elsewhere:
            return False
        return all(job.run.id != run.id for job in self.workers.active)

    def _lease_and_start(self, run: Run) -> bool:
        """Start the run, unless another runner has it or has finished it, or its inputs cannot be used."""
        if self._done_elsewhere(run):
            return False
        if missing := self.store.cannot_start(run):  # not written down, so that it runs once its inputs are there
            self._close(run, Outcome("failed", f"not started: {missing}"))
            return False
        try:
            ticket = self.leases.acquire(run.id)
        except OSError as error:
            self._close(run, Outcome("failed", f"not started: {reason(error, run)}"))
            return False
        if ticket is None:
            self.elsewhere.add(run.id)  # until the next look
            return False
        if self._done_elsewhere(run):  # the look that decides: the lease is ours now
            self.leases.release(run.id)
            return False
        self.told.discard(run.id)
        self.workers.start(Job(run, self.store.path, self.options[run.id], ticket))
        return True

    def _done_elsewhere(self, run: Run) -> bool:
        """Close the run if another runner has finished it since this one began."""
        stamp = self.store.stamp(run)
        result = self.store.result(run) if stamp else None
        if result is None:
            return False
        failed_now = result.status == "failed" and stamp != self.before[run.id]
        if not failed_now and not self.store.settled(run):
            return False
        self.leases.clear([run.id])
        self._close(run, joined(Elsewhere, result))
        return True

    def _take(self, answer: Answer, stopping: bool) -> None:
        """A job ended: close its run, or keep it open as a suspect or as interrupted; give the lease back."""
        run, result = answer.job.run, answer.result
        was_alone = self.alone == run.id
        self.alone = None if was_alone else self.alone
        if result is None:
            self.store.sweep()  # remove the folder that the dead worker had begun to fill
        if result is None and not stopping:
            died = killed(answer.exitcode)
            if was_alone:
                result = self._failed(run, died)
            else:
                self.suspects.append(run.id)
                self.say(f"warning: {run.task.name} {run.arm} seed {run.seed}: {died}; it will run again, alone")
        if result is not None and result.status != "interrupted":
            self._close(run, result)
        self.leases.release(run.id)

    def _failed(self, run: Run, why: str) -> Outcome | None:
        """Write the failed result of a run whose worker is dead; None if the run is no longer ours."""
        if not self.leases.held(run.id):
            return None
        try:
            return fail(run, self.store, why, self.options[run.id].probe)
        except OSError as error:
            return Outcome("failed", f"{why}; not written down: {reason(error, run)}")

    def _close(self, run: Run, result: Outcome) -> None:
        del self.open[run.id]
        self.report(run, result)
