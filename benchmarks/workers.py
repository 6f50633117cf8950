"""The processes that compute: how they are started, so that what is measured beside a run is measured as it runs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection
from typing import Any

import torch

from benchmarks import device as devices
from benchmarks import kept
from benchmarks.settings import Device
from benchmarks.stopping import unsignalled


def possible_workers(device: Device) -> list[int]:
    """The numbers of workers worth measuring: 1, 2, 4 and 8 on a GPU, up to one per `threads` cores on a CPU."""
    most = 8 if device.device == "cuda" else max(1, len(os.sched_getaffinity(0)) // device.threads)
    return [count for count in (1, 2, 4, 8, 16, 32, 64) if count < most] + [most]


def best_workers(steps_a_second: dict[int, float]) -> int:
    """The fewest workers that get within 5 % of the most steps a second: each costs memory."""
    most = max(steps_a_second.values())
    return min(count for count, rate in steps_a_second.items() if rate >= 0.95 * most)


def default_workers(device: Device) -> int:
    """What `doctor` measured as best on this machine; before that one worker per `threads` cores, or one on a GPU."""
    if (measured := kept_throughput(device)) is not None:
        return best_workers(measured)
    return 1 if device.device == "cuda" else possible_workers(device)[-1]


def _key(device: Device) -> dict[str, Any]:
    return {**device.model_dump(mode="json"), "name": devices.device_name(device), "torch": torch.__version__}


def kept_throughput(device: Device) -> dict[int, float] | None:
    """Steps a second by number of workers, as `doctor` measured them under these settings."""
    try:
        return {int(count): float(rate) for count, rate in kept.read("workers", _key(device)).items()} or None
    except (ValueError, AttributeError):  # none, or damaged
        return None


def keep_throughput(device: Device, steps_a_second: dict[int, float]) -> None:
    """Keep them for this machine."""
    kept.write("workers", _key(device), steps_a_second)


def set_environment(device: Device) -> None:
    """What workers read when they start; before any of them is made."""
    os.environ |= {
        "OMP_NUM_THREADS": str(device.threads),  # read when a worker loads torch
        "TOKENIZERS_PARALLELISM": "false",
        # glibc gives buffers over 32 MiB back to the system after every use and faults them in again: keeping them
        # took 3.5 times fewer page faults and 13 % off a MiniLM step on one core. Other C libraries ignore these.
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
        "MALLOC_TRIM_THRESHOLD_": str(2**33),
    }


class _Measuring(ProcessPoolExecutor):
    def submit(self, *arguments: Any, **named: Any) -> Any:
        with unsignalled():  # it is here that processes are started
            return super().submit(*arguments, **named)


def pool_of(workers: int, device: Device) -> ProcessPoolExecutor:
    """Fresh processes under the suite's device settings, each with its own threads, for what measures."""
    set_environment(device)
    context = multiprocessing.get_context("spawn")
    return _Measuring(workers, context, initializer=_start_measuring, initargs=(device,))


def _start_measuring(device: Device) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    start_worker(device)


def start_worker(device: Device) -> None:
    """Called once in every process that computes, before it does."""
    threading.Thread(target=_follow_parent, daemon=True).start()
    devices.apply(device)


def _follow_parent() -> None:
    """End with the parent, however it ends: an orphan would go on training for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
