"""How a worker learns that its run should stop.

The worker asks `requested()` after every optimizer step; its runner sends the request through the pipe that also brings
the work. A run that stops raises `Stopped`. This is not a failure: the run has no result yet, and the next `run`
continues it. `benchmarks.machine.signals` is the runner's side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Stopped(Exception):
    """The run was asked to stop, or another runner has taken it; it has no result."""


_asked = threading.Event()
_held: Callable[[], bool] | None = None


def requested() -> bool:
    """Whether the current run should stop after this step. The call takes less than a microsecond."""
    return _asked.is_set()


def check() -> None:
    """Raise `Stopped` if the current run should stop; for long work that is not an optimizer step."""
    if _asked.is_set():
        raise Stopped("asked to stop")


def ask() -> None:
    """Make `requested()` true from now on."""
    _asked.set()


def forget() -> None:
    """Make `requested()` false again."""
    _asked.clear()


def begin(held: Callable[[], bool] | None) -> None:
    """Note that a run starts in this process; `held()` says whether its runner still holds the lease."""
    global _held
    _held = held


def lost() -> bool:
    """Whether another runner has taken the current run, after a minute without progress here: then it has no result."""
    return _held is not None and not _held()
