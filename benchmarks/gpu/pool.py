"""The worker processes of `benchmarks.gpu`, one per concurrent run, each in a pool of its own.

Each process has its own pool, because the two parts of a measurement (prepare a case, then time it from a common start)
must reach the same process, and because a process that died or broke its CUDA context is replaced alone. Without
NVIDIA's MPS the processes take turns on the device.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from benchmarks.machine.settings import Device
from benchmarks.machine.workers import set_environment, start_worker

BROKEN = (
    "CUDA error",
    "device-side assert",
    "cuDNN error",
    "CUBLAS_STATUS",
)  # after these errors a process cannot go on


class Failed(Exception):
    """A measurement failed; the message is the reason in one line."""


def answer(question: str, number: int, arguments: tuple[Any, ...]) -> Any:
    """Call a function of `benchmarks.gpu.worker` in a worker. Raises `Failed` after freeing the current case, so that
    the worker can go on."""
    from benchmarks.gpu import worker  # start-up: its imports take seconds, and the parent process does not need them

    try:
        return getattr(worker, question)(number, *arguments)
    except Exception as error:  # any error becomes a row with the reason
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    # After the `except` block the error is gone, and with it the frames that refer to tensors.
    with contextlib.suppress(Exception):  # in a broken CUDA context freeing fails too
        worker.drop()
    raise Failed(reason)


def process(device: Device) -> Executor:
    """A pool of one worker process with the suite's device settings; it starts at the first call."""
    set_environment(device)
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_start, initargs=(device,))


def _start(device: Device) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    start_worker(device)


class Workers:
    """One worker per concurrent run. `start` makes its pool: at the first call, and again after the worker was lost."""

    def __init__(self, start: Callable[[], Executor]) -> None:
        self._start, self._others = start, set(multiprocessing.active_children())
        self._pools: dict[int, Executor] = {}

    def ask(self, count: int, until: float, question: str, *arguments: Any) -> list[Any]:
        """Ask the first `count` workers the same question at once; returns their answers.

        Raises `Failed` if one fails, dies, or has not answered by `until` (of the monotonic clock).
        """
        futures = [self._submit(number, question, number, arguments) for number in range(count)]
        if wait(futures, timeout=max(1.0, until - time.monotonic())).not_done:
            self.end()
            raise Failed("no answer within the time limit")
        reasons = []
        for number, error in enumerate(future.exception() for future in futures):
            if error:
                reasons.append(str(error))
            if isinstance(error, BrokenProcessPool) or any(sign in str(error) for sign in BROKEN):
                self._pools.pop(number).shutdown(wait=False)  # it cannot be used again
        if reasons:
            raise Failed(reasons[0])
        return [future.result() for future in futures]

    def _submit(self, number: int, *asked: Any) -> Future[Any]:
        try:
            return self._pools[number].submit(answer, *asked)
        except (KeyError, BrokenProcessPool):  # it has not started, or has died since its last answer
            self._pools[number] = self._start()
            return self._pools[number].submit(answer, *asked)

    def end(self, patience: float = 0.0) -> None:
        """End all workers; `patience`: seconds in which they may exit by themselves."""
        until = time.monotonic() + patience
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - self._others:
            process.join(max(0.0, until - time.monotonic()))
            process.kill()
        self._pools.clear()
