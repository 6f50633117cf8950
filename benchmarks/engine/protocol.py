"""The worker protocol: the promises between the schedule and an engine.

The schedule (schedule.py) decides which run starts next; an engine gives runs to worker processes and reports how they
ended. `local.py` uses processes of this machine. An engine for a cluster is one more file with a class that implements
`Workers`, and one more name in `schedule.ENGINES`. Planning, training and storing do not depend on the engine.

Three rules hold for every engine:

- **A run's numbers do not depend on where it runs.** A worker process starts in the environment of
  `machine.workers.set_environment`, calls `machine.workers.start_worker` once before it computes (number of threads,
  determinism flags), and carries out one job at a time, because the stop request, the memory peak and torch's settings
  belong to the whole process. A process in which a run failed gets no other run: after a CUDA error every later
  operation of that process fails too, and its memory stays taken.
- **The schedule owns the leases.** It takes one before `start` and gives it back after the answer. An engine never
  changes a lease; `perform` only asks, through the job's ticket, whether the lease still holds.
- **Every started job is answered exactly once**, even if its worker dies, and only after its worker has ended or is
  ready for the next job: the schedule gives the lease back as soon as it has the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.base import stop
from benchmarks.engine.lease import Ticket
from benchmarks.machine.settings import Device
from benchmarks.machine.workers import to_finish
from benchmarks.plans.run import Run
from benchmarks.runs.execute import RunOptions, execute
from benchmarks.runs.faults import reason
from benchmarks.runs.store import Store
from results.format.documents.run import Outcome


@dataclass(frozen=True)
class Job:
    """A run to execute, and its lease. It can be sent to another machine if `results` is the same path there."""

    run: Run
    results: Path
    options: RunOptions
    ticket: Ticket


@dataclass(frozen=True)
class Answer:
    """How a job ended: either `perform` returned, or its worker died.

    `result` is what `perform` returned, or None after a death. `exitcode` then says how the worker died: `-9` for
    signal 9, `3` for `exit(3)`, None if the engine cannot know. Unless it is stopping, the schedule runs the job once
    more, alone; if its worker dies again, the run has failed, and its result explains this exit code.
    """

    job: Job
    result: Outcome | None
    exitcode: int | None = None


class Workers(Protocol):
    """The workers of one runner. Only the runner's main thread calls them.

    A worker's death never raises an exception; `wait` reports it. Any exception ends the runner, after `close`.
    """

    @property
    def free(self) -> int:
        """How many more jobs `start` takes now."""

    @property
    def active(self) -> list[Job]:
        """The started jobs that `wait` has not answered yet."""

    def start(self, job: Job) -> None:
        """Give the job to a worker, and return without waiting for it. Called only while `free` is above 0.

        Before the worker calls `perform(job)`, it calls `benchmarks.base.stop.forget()`: a stop request that was meant
        for its previous job must not stop this one.
        """

    def wait(self, timeout: float, also: Iterable[Any] = ()) -> list[Answer]:
        """Answer the jobs that have ended since the last call; each leaves `active` and makes room in `free`.

        Returns at the first answer, when a socket or connection in `also` becomes readable, or after `timeout` seconds;
        the list may be empty. The schedule calls it about once a second, and looks at other runners in between.
        """

    def stop(self, run_ids: Iterable[str] | None = None) -> None:
        """Ask all active jobs, or those of these runs, to stop; return without waiting. The request may come too late.

        Their workers call `benchmarks.base.stop.ask()`. A run that trains stops after the step under way, a run that
        does not train yet before its next phase; the answer has the status `interrupted`. If all jobs shall stop, the
        engine should end every worker that is still importing or whose `to_finish` is not set, because the command has
        two seconds. The answer then has no result.
        """

    def close(self, patience: float = 0.0) -> None:
        """End every worker, active or not: at once, or after `patience` seconds in which they may end by themselves.

        After it no worker computes or writes any more, and no method is called.
        """


OpenWorkers = Callable[[int, Device], Workers]
"""Opens an engine, given the largest number of workers at a time and the device settings of the suite."""


def perform(job: Job) -> Outcome:
    """Carry out the job in this process; every engine's workers call it. It returns the answer's `result`.

    The status is that of the run's result.json (`done`, `diverged` or `failed`); `interrupted` for a run that was asked
    to stop or lost its lease; or `failed`, with the reason, for a run whose result could not be written.
    """
    stop.begin(job.ticket.held)
    to_finish.clear()
    try:
        return execute(job.run, job.results, job.options)
    except stop.Stopped:
        return Outcome("interrupted")
    except Exception as error:  # `execute` records every fault of a run, so this one is a fault of writing
        Store(job.results).discard()
        return Outcome("failed", reason(error, job.run))
