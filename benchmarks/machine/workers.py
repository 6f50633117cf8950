"""Start worker processes, and choose their number.

Calibration and the determinism probe use the same start-up as real runs, so their measurements apply to runs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.base import machine_cache
from benchmarks.base.errors import SuiteError
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.machine.signals import at_end, unsignalled

# Set in a worker from a run's first optimizer step to its next run. While it is unset, ending the worker costs nothing.
to_finish = threading.Event()


def possible_workers(device: Device) -> list[int]:
    """Numbers of workers to measure: 1, 2, 4 and 8 on a GPU; on a CPU up to one per `threads` cores."""
    most = 8 if device.device == "cuda" else max(1, len(os.sched_getaffinity(0)) // device.threads)
    return [count for count in (1, 2, 4, 8, 16, 32, 64) if count < most] + [most]


def best_workers(steps_a_second: dict[int, float]) -> int:
    """The fewest workers that get within 5 % of the most steps a second, because each worker costs memory."""
    most = max(steps_a_second.values())
    return min(count for count, rate in steps_a_second.items() if rate >= 0.95 * most)


def default_workers(machine: devices.Machine) -> int:
    """The best number that `doctor` measured on this machine; otherwise one per `threads` cores, or one on a GPU."""
    usual = 1 if machine.device.device == "cuda" else possible_workers(machine.device)[-1]
    kept: dict[int, float] | None = machine_cache.read("workers", dict[int, float], _key(machine))
    return best_workers(kept) if kept and min(kept) > 0 else usual


def _key(machine: devices.Machine) -> dict[str, Any]:
    return {**machine.device.model_dump(mode="json"), "name": machine.name, "torch": torch.__version__}


def keep_throughput(machine: devices.Machine, steps_a_second: dict[int, float]) -> None:
    """Cache the measured steps a second for `default_workers`."""
    machine_cache.write("workers", _key(machine), steps_a_second)


def set_environment(device: Device) -> None:
    """Set the variables that workers read when they start; call this before starting any."""
    os.environ |= {
        "OMP_NUM_THREADS": str(device.threads),  # read when a worker loads torch
        "TOKENIZERS_PARALLELISM": "false",
        # glibc returns buffers over 32 MiB to the system after every use and faults them in again. Keeping them divided
        # page faults by 3.5 and made a MiniLM step on one core 13 % shorter. Other C libraries ignore these variables.
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
        "MALLOC_TRIM_THRESHOLD_": str(2**33),
    }


class WorkerDied(SuiteError):
    """A measuring process was killed."""


def side_by_side(
    workers: int, device: Device, work: Callable[..., Any], *arguments: Any, seconds: float | None = None
) -> list[Any]:
    """Call `work(*arguments)` in `workers` fresh processes at the same time, and return the results.

    Raises the first exception of `work`, or `WorkerDied` if a process was killed or took longer than `seconds`. A
    process pool would not do: it lets no signal end the command before its work has ended, and leaks semaphores when it
    is interrupted.
    """
    set_environment(device)
    with contextlib.ExitStack() as stack:
        pipes = [stack.enter_context(_measuring(device, work, arguments)) for _ in range(workers)]
        answers = [_answer_of(pipe, seconds) for pipe in pipes]
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


@contextlib.contextmanager
def _measuring(device: Device, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[Connection]:
    """Start a process that does the work; yields the pipe of its answer. It has ended afterwards, even on a signal."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, device, work, arguments), daemon=True)

    def kill() -> None:
        if process.pid is not None:
            process.kill()

    with at_end(kill):
        with unsignalled():
            process.start()
        theirs.close()
        yield ours
    process.join()


def _answer_of(pipe: Connection, seconds: float | None) -> Any:
    try:
        if not pipe.poll(seconds):
            return WorkerDied(f"a worker process did not answer within {seconds:g} seconds")
        return pipe.recv()
    except EOFError:
        return WorkerDied("a worker process was killed by the system while it measured (out of memory?)")


def _measure(pipe: Connection, device: Device, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """A measuring process's main function. Signals stay blocked, because the parent decides what they mean."""
    start_worker(device)
    try:
        pipe.send(work(*arguments))
    except Exception as error:
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        pipe.send(error)


def start_worker(device: Device) -> None:
    """Prepare this process for computing; every worker calls it once."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    devices.apply(device)


def _follow_parent() -> None:
    """End this process when its parent ends for any reason; otherwise it would go on training for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
