"""The processes that compute: how they are started, so that what is measured beside a run is measured as it runs."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection

from benchmarks import device as devices
from benchmarks.settings import Device


def pool_of(workers: int, device: Device) -> ProcessPoolExecutor:
    """Fresh processes under the suite's device settings, each with its own threads."""
    os.environ |= {
        "OMP_NUM_THREADS": str(device.threads),  # read when a worker loads torch
        "TOKENIZERS_PARALLELISM": "false",
        # glibc gives buffers over 32 MiB back to the system after every use and faults them in again: keeping them
        # took 3.5 times fewer page faults and 13 % off a MiniLM step on one core. Other C libraries ignore these.
        "MALLOC_MMAP_THRESHOLD_": str(2**30),
        "MALLOC_TRIM_THRESHOLD_": str(2**33),
    }
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(device,))


def _start_worker(device: Device) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_follow_parent, daemon=True).start()
    devices.apply(device)


def _follow_parent() -> None:
    """End with the parent, however it ends: an orphan would go on training for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
