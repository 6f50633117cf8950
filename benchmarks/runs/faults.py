"""Describe the error of a run in one line for its result.json: what happened, where, and what to do.

Nothing is retried. A run that did not fit into memory is not repeated in smaller parts, because that would be another
run under the same id; the message names the settings that would make it fit.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.plans.run import Run
from results.format.limits import GIB, MESSAGE
from results.format.untrusted import text

NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "ALLOC_FAILED",
             "bad_alloc")  # fmt: skip
FULL = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
# libraries that write files raise their own errors, which quote the system's message
FULL_TEXT = re.compile(r"No space left on device|Disk quota exceeded|StorageFull|os error (28|122)\b")


def reason(error: BaseException, run: Run) -> str:
    """Describe `error`, which ended `run`."""
    for cause in _chain(error):
        if _is_memory(cause):
            return text(f"out of memory: {_memory(run)}", MESSAGE)
        if _is_full(cause):
            return text(f"disk full: {_full(cause, run)}", MESSAGE)
        if isinstance(cause, OSError) and cause.errno in REFUSED:
            where = cause.filename or run.folder
            why = os.strerror(cause.errno)
            return text(f"cannot write {where} ({why}): change that and run the same command", MESSAGE)
    return text(f"{type(error).__name__}: {error}", MESSAGE)


def killed(exitcode: int | None) -> str:
    """Describe the end of a worker that gave no answer."""
    if exitcode is None or exitcode >= 0:
        return f"its worker ended by itself with exit code {exitcode}"
    try:
        name = f" {signal.Signals(-exitcode).name}"
    except ValueError:
        name = ""
    memory = "; out of memory?" if -exitcode == signal.SIGKILL else ""
    return f"its worker was killed by the system (signal {-exitcode}{name}{memory})"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its chain of causes."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch.OutOfMemoryError and the errors of torch's CPU allocator are RuntimeErrors
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign.lower() in str(error).lower() for sign in NO_MEMORY)
    )


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return FULL_TEXT.search(str(error)) is not None


def memory_limit(device: Device) -> int | None:
    """The memory limit of this process in bytes: of the GPU, of its control group, or of the machine."""
    if device.device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[1])
    limits = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # another version of control groups, or "max"
            continue
    import psutil

    return min([*limits, int(psutil.virtual_memory().total)])


def _memory(run: Run) -> str:
    try:
        peak, limit = devices.peak_memory(run.device), memory_limit(run.device)
    except Exception:  # a device that has just failed may not answer
        peak = limit = None
    size = " of ".join(f"{bytes_ / GIB:.1f} GiB" for bytes_ in (peak, limit) if bytes_ is not None)
    parts = 2 * run.training.micro_batches
    return (
        f"peak {size or 'unknown'} on {run.device.device}; fewer runs at once (--workers 1) leave more for each, and "
        f"--set training.micro_batches={parts} takes a batch in {parts} parts (it does not change the batch)"
    )


def _full(error: BaseException, run: Run) -> str:
    name = getattr(error, "filename", None)
    where = Path(os.fsdecode(name)) if isinstance(name, str | bytes) else Path(run.folder)
    code = getattr(error, "errno", None)
    what = os.strerror(code) if code else "No space left on device"
    folder = next((parent for parent in where.parents if parent.is_dir()), None) if where.is_absolute() else None
    free = f", {shutil.disk_usage(folder).free:,} bytes free" if folder else ""
    return f"{where} ({what}{free}): make room there or choose another folder with --results, and run the command again"
