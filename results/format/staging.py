"""Temporary folders in which runs and imports are filled before they are renamed into place.

    staged = stage(results)       # results/.partial/<host>-<pid>-<random>
    discard(results)              # remove the folders of this process
    sweep(results)                # remove the folders of dead processes of this machine

The name tells which process fills the folder. `layout.HOST` includes the namespace of process ids, because an id names
different processes on the host and in a container that shares the results folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from results.format.layout import HOST, STAGING


def stage(results: Path) -> Path:
    """A new empty folder on the disk of the results folder."""
    parent = results / STAGING
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent, prefix=f"{HOST}-{os.getpid()}-"))


def discard(results: Path) -> None:
    """Remove the folders that this process began to fill."""
    for folder in (results / STAGING).glob(f"{HOST}-{os.getpid()}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def sweep(results: Path) -> None:
    """Remove the folders that dead processes of this machine left."""
    for folder in (results / STAGING).glob(f"{HOST}-*-*"):
        owner = int(folder.name.removeprefix(f"{HOST}-").partition("-")[0])
        try:
            os.kill(owner, 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:
            continue
