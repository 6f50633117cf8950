"""The `local` engine: worker processes on this machine, one run at a time each.

Each worker has its own pipe: jobs and stop requests go in, results come out, and each side notices when the other ends.
The death of a worker therefore costs its run only. (concurrent.futures ends every worker when the system kills one, and
does not say which run it had.) Workers ignore signals, because the runner decides what a signal means; they end when
their runner ends.

A command must stop within two seconds, but imports take longer, and so does tokenising a large task. The runner
therefore kills a worker that is still importing, and a worker that has nothing to finish ends itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.base import stop
from benchmarks.base.errors import INTERRUPTED
from benchmarks.engine.protocol import Answer, Job, perform
from benchmarks.machine import signals
from benchmarks.machine.settings import Device
from benchmarks.machine.workers import set_environment, start_worker, to_finish

READY = "ready"  # a worker's first message: from now on it listens
STOP, LEAVE = "stop", "leave"  # requests to a worker: LEAVE also ends a worker that has nothing to finish
GRACE = 0.5  # seconds in which such a worker may still give its run back by itself


class _Worker:
    def __init__(self, device: Device) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(theirs, device), daemon=True)
        with signals.unsignalled():
            self.process.start()
        theirs.close()  # so that the pipe ends with the worker
        self.job: Job | None = None
        self.ready = False

    def send(self, message: Job | str) -> None:
        with contextlib.suppress(OSError):  # `wait` finds a dead worker by its sentinel
            self.connection.send(message)

    def leave(self) -> None:
        if self.ready or self.connection.poll():  # its READY may still be unread
            self.send(LEAVE)
        else:
            self.process.kill()


class LocalWorkers:
    """Up to `size` worker processes; each is started for a job and then kept for the next ones."""

    def __init__(self, size: int, device: Device) -> None:
        self.size, self.device = size, device
        self._workers: list[_Worker] = []
        set_environment(device)

    @property
    def active(self) -> list[Job]:
        return [worker.job for worker in self._workers if worker.job is not None]

    @property
    def free(self) -> int:
        return self.size - len(self.active)

    def start(self, job: Job) -> None:
        worker = next((worker for worker in self._workers if worker.job is None), None)
        if worker is None:
            worker = _Worker(self.device)
            self._workers.append(worker)
        worker.job = job
        worker.send(job)

    def wait(self, timeout: float, also: Iterable[Any] = ()) -> list[Answer]:
        watched = [end for worker in self._workers for end in (worker.connection, worker.process.sentinel)]
        ready = connection.wait([*watched, *also], timeout)
        answers = []
        for worker in list(self._workers):
            if worker.connection in ready or worker.process.sentinel in ready:
                answers += self._answer(worker)
        return answers

    def _answer(self, worker: _Worker) -> list[Answer]:
        """The answer of a worker that sent something or died; none if it became ready or died between two jobs."""
        job, result = worker.job, None
        with contextlib.suppress(EOFError, OSError):
            if worker.connection.poll():  # a result that was sent right before the death still counts
                result = worker.connection.recv()
        if result == READY:
            worker.ready = True
            return []
        worker.job = None
        if result is None:
            worker.process.join(5)  # its end of the pipe is closed, so it has ended or will at once
            self._retire(worker)
            return [Answer(job, None, worker.process.exitcode)] if job else []
        if result.status == "failed":  # after a CUDA error every later operation fails too, and memory stays taken
            self._retire(worker)
        return [Answer(job, result)] if job else []

    def _retire(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.kill()
        worker.process.join()

    def stop(self, run_ids: Iterable[str] | None = None) -> None:
        wanted = None if run_ids is None else set(run_ids)
        for worker in self._workers:
            if worker.job is None:
                continue
            if wanted is None:
                worker.leave()
            elif worker.job.run.id in wanted:
                worker.send(STOP)

    def close(self, patience: float = 0.0) -> None:
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
    """A worker's main function: carry out jobs until the pipe closes."""
    for number in signals.STOPS:  # blocked while this process imported, ignored from here on
        signal.signal(number, signal.SIG_IGN)
    start_worker(device)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()
    while True:
        result = perform(jobs.get())
        try:
            pipe.send(result)
        except OSError:
            os._exit(1)


def _listen(pipe: Connection, jobs: queue.SimpleQueue[Job]) -> None:
    """Receive the runner's messages while a run is under way. End this process when the runner has ended."""
    with contextlib.suppress(EOFError, OSError):
        pipe.send(READY)
        while True:
            message = pipe.recv()
            if isinstance(message, Job):
                stop.forget()  # drop a stop request that was meant for the previous run
                jobs.put(message)
                continue
            stop.ask()
            if message == LEAVE and not pipe.poll(GRACE) and not to_finish.is_set():
                os._exit(INTERRUPTED)
    os._exit(0)
