"""Identify a process so that another process can tell whether it has ended.

A process id alone cannot do that: the system uses ids again, and every machine and every container counts its own. An
owner is therefore named by three things:

- the machine: host name, boot and process-id namespace. Only if these are equal does a process id mean the same
  process, so a process of another machine is never taken for dead;
- the process id, with the time at which the process started: a later process may get the same id, but not the same
  start time;
- a random token, which differs even between two owners within one process.

Taking a dead owner for living costs a minute, until its lease has stood still for long enough (lease.py). A living
owner must never be taken for dead, because it would lose its run.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from results.format.layout import MACHINE

PROC = Path("/proc")
ENDED = {"Z", "X"}  # states of a process that has ended and whose parent has not asked for its exit code yet


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _started(pid: int) -> str | None:
    """When the process started; None if it has ended, "" if that cannot be known.

    Linux counts in ticks since the boot, so setting the clock does not change the answer.
    """
    text = _read(PROC / str(pid) / "stat")
    if text:  # "pid (name) state parent ...": the name may contain spaces and brackets, so split after its last bracket
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in ENDED else fields[19]
    if PROC.joinpath("self/stat").exists():  # there is a /proc, but it hides this process
        return ""
    import psutil  # needed only without /proc, and takes time to import

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return ""


@dataclass(frozen=True)
class Owner:
    """One process on one machine. `token` differs even if everything else is equal."""

    machine: str
    pid: int
    started: str
    token: str

    @staticmethod
    def of(pid: int | None = None) -> Owner:
        """This process, or another one of this machine."""
        pid = pid or os.getpid()
        return Owner(MACHINE, pid, _started(pid) or "", secrets.token_hex(8))

    @staticmethod
    def read(document: Any) -> Owner | None:
        """The owner that `document` wrote; None for anything else."""
        try:
            owner = Owner(**document)
        except TypeError:
            return None
        found = owner.document()
        texts = all(isinstance(found[name], str) for name in ("machine", "started", "token"))
        return owner if texts and isinstance(found["pid"], int) and found["pid"] > 0 else None

    def document(self) -> dict[str, Any]:
        return asdict(self)

    def gone(self) -> bool:
        """Whether this process has certainly ended. False for a process of another machine."""
        if self.machine != MACHINE:
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass  # another user's process has this id
        started = _started(self.pid)  # a start time that is unknown, now or then, proves nothing
        return started is None or (bool(started) and bool(self.started) and started != self.started)
