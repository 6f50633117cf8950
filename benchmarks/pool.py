"""The worker processes of a runner: one run at a time each, and known one by one, so that a death is one run's.

concurrent.futures would end every worker when the system kills one, and not say which run it was. Here each worker has
a pipe: work and the wish to stop go in, answers come out, and either end closing tells the other. A worker leaves
signals to its runner, and ends with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import stopping
from benchmarks.lease import Ticket
from benchmarks.settings import Device
from benchmarks.workers import set_environment, start_worker

if TYPE_CHECKING:  # a worker imports them after it has seen to its signals
    from benchmarks.execute import RunOptions
    from benchmarks.plan import Run


@dataclass(frozen=True)
class Job:
    """What a worker is told to do, and the lease it does it under."""

    run: Run
    results: Path
    options: RunOptions
    ticket: Ticket


@dataclass(frozen=True)
class Answer:
    """How a job ended: with the run's `result`, or its worker did, with this `exitcode` (negative: the signal)."""

    job: Job
    result: dict[str, Any] | None
    exitcode: int | None = None


class _Worker:
    def __init__(self, device: Device) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(theirs, device), daemon=True)
        with stopping.unsignalled():
            self.process.start()
        theirs.close()
        self.job: Job | None = None

    def send(self, message: Job | None) -> None:
        with contextlib.suppress(OSError):  # one that is gone is found by its sentinel
            self.connection.send(message)


class Pool:
    """Up to `size` workers, started when there is work for them."""

    def __init__(self, size: int, device: Device) -> None:
        self.size, self.device = size, device
        self._workers: list[_Worker] = []
        set_environment(device)

    @property
    def active(self) -> list[Job]:
        """The jobs under way."""
        return [worker.job for worker in self._workers if worker.job is not None]

    @property
    def free(self) -> int:
        return self.size - len(self.active)

    def start(self, job: Job) -> None:
        """Give the job to a worker that has none; there must be a free one."""
        worker = next((worker for worker in self._workers if worker.job is None), None)
        if worker is None:
            worker = _Worker(self.device)
            self._workers.append(worker)
        worker.job = job
        worker.send(job)

    def wait(self, timeout: float, also: Iterable[Any] = ()) -> list[Answer]:
        """The jobs that ended, after at most `timeout` seconds, or when something of `also` becomes readable."""
        watched = [end for worker in self._workers for end in (worker.connection, worker.process.sentinel)]
        ready = connection.wait([*watched, *also], timeout)
        answers = []
        for worker in list(self._workers):
            if worker.connection in ready or worker.process.sentinel in ready:
                answers += self._answer(worker)
        return answers

    def _answer(self, worker: _Worker) -> list[Answer]:
        job, result = worker.job, None
        with contextlib.suppress(EOFError, OSError):
            if worker.connection.poll():  # also of one that died right after: what it said holds
                result = worker.connection.recv()
        worker.job = None
        if result is None:
            worker.process.join(5)  # its end of the pipe is closed: it is about to go, or gone
            self._retire(worker)
            return [Answer(job, None, worker.process.exitcode)] if job else []
        if result["status"] == "failed":  # after an error of CUDA's all that follows fails too, and memory stays taken
            self._retire(worker)
        return [Answer(job, result)] if job else []

    def _retire(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.kill()
        worker.process.join()

    def stop(self, run_ids: Iterable[str] | None = None) -> None:
        """Ask the workers to stop after the step under way; `run_ids`: those that have one of these runs."""
        wanted = None if run_ids is None else set(run_ids)
        for worker in self._workers:
            if worker.job is not None and (wanted is None or worker.job.run.id in wanted):
                worker.send(None)

    def close(self, patience: float = 0.0) -> None:
        """End all of them now, or after `patience` seconds to leave by themselves."""
        for worker in self._workers:
            worker.connection.close()
        until = time.monotonic() + patience
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
        self._workers = []


def serve(pipe: Connection, device: Device) -> None:
    """A worker's main function: do jobs until the pipe is closed."""
    for number in stopping.STOPS:  # the runner decides what a signal means, also one to the whole process group
        signal.signal(number, signal.SIG_IGN)
    start_worker(device)
    from benchmarks.execute import execute

    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()  # all it may need is imported by now
    while True:
        answer = _do(jobs.get(), execute)
        try:
            pipe.send(answer)
        except OSError:
            os._exit(1)


def _listen(pipe: Connection, jobs: queue.SimpleQueue[Job]) -> None:
    """Take what the runner sends, while the run at hand goes on. Where the runner is gone, so are we."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            if job is None:
                stopping.ask()
            else:
                stopping.forget()  # a wish that came too late for the run before
                jobs.put(job)
    os._exit(0)


def _do(job: Job, execute: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    from benchmarks.faults import reason
    from benchmarks.store import Store

    stopping.begin(job.ticket.held)
    try:
        return execute(job.run, job.results, job.options)
    except stopping.Stopped:
        return {"status": "interrupted"}
    except Exception as error:  # the run could not even be written down: its runner says so
        Store(job.results).discard()
        return {"status": "failed", "reason": reason(error, job.run)}
