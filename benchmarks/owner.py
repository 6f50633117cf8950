"""Which process this is, said so that another one can tell whether it still lives.

A process id alone is no proof: ids are used again, and every machine and container counts its own. So an owner is a
machine (name, boot and process-id namespace), a process id with the time it started, and a random token of its own.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import uuid
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

PROC = Path("/proc")
FIRST_NAMESPACE = "4026531836"  # of process ids, on every Linux that is not in a container
ENDED = {"Z", "X"}  # a process that is over and was not waited for yet


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""


def _namespace() -> str:
    """Of process ids; "" outside containers, where it is the same everywhere."""
    with contextlib.suppress(OSError):
        found = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
        return "" if found == FIRST_NAMESPACE else found
    return ""


# a name for folders; containers that share their host's name count processes each for itself
HOST = (re.sub(r"[^A-Za-z0-9]", "", platform.node()) or "here") + _namespace()


@cache
def _machine() -> str:
    """Where a process id means one process: this boot of this machine, this namespace."""
    boot = _read(PROC / "sys/kernel/random/boot_id") or f"{uuid.getnode():012x}"
    return f"{HOST}/{boot}"


def _started(pid: int) -> str | None:
    """When the process started, in a form that no clock setting moves; None where it is gone, "" where unknown."""
    text = _read(PROC / str(pid) / "stat")
    if text:  # pid (name, which may hold anything) state parent …
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in ENDED else fields[19]
    if PROC.joinpath("self/stat").exists():
        return ""
    import psutil  # where there is no /proc

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return ""


@dataclass(frozen=True)
class Owner:
    """One process on one machine. `token` is unique, whatever else two owners share."""

    machine: str
    pid: int
    started: str
    token: str

    @staticmethod
    def of(pid: int | None = None) -> Owner:
        """This process, or another one of this machine."""
        pid = pid or os.getpid()
        return Owner(_machine(), pid, _started(pid) or "", secrets.token_hex(8))

    @staticmethod
    def read(document: Any) -> Owner | None:
        """What `document` wrote, or None where that is not an owner."""
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
        """Is it certain that this process is over? Of another machine's processes nothing is."""
        if self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass  # somebody else's, whose details may be hidden
        started = _started(self.pid)
        return started is None or (bool(started) and bool(self.started) and started != self.started)
