"""Temporary folders in which runs and imports are filled before they are renamed into place.

    staged = stage(results)       # results/.partial/<machine>-<pid>-<random>
    discard(results)              # remove the folders of this process
    sweep(results)                # remove the folders of dead processes of this machine

The name tells which process fills the folder. `layout.MACHINE` includes the boot and the namespace of process ids,
because an id names another process on another machine of the same name, after a restart, and in a container. What such
a process left is never swept here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from results.format.errors import ReportError
from results.format.layout import MACHINE, STAGING

LONGEST_PID = 9  # digits; more are not a process id, and the system cannot be asked for one


def stage(results: Path) -> Path:
    """A new empty folder on the disk of the results folder."""
    parent = results / STAGING
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ReportError(f"{parent} is not a folder, and runs are filled there: move it away") from None
    return Path(tempfile.mkdtemp(dir=parent, prefix=f"{MACHINE}-{os.getpid()}-"))


def discard(results: Path) -> None:
    """Remove the folders that this process began to fill."""
    for folder in (results / STAGING).glob(f"{MACHINE}-{os.getpid()}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def sweep(results: Path) -> None:
    """Remove the folders that dead processes of this machine left."""
    for folder in (results / STAGING).glob(f"{MACHINE}-*-*"):
        owner = folder.name.removeprefix(f"{MACHINE}-").partition("-")[0]
        if not owner.isdecimal() or len(owner) > LONGEST_PID:
            continue  # it is not one of ours
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue
