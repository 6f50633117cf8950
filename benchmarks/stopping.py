"""How a run learns that it should stop, and a runner that somebody wants it to.

A worker asks `requested()` after every optimizer step; its runner tells it through the pipe it gets its work by. A run
that stops raises `Stopped`, which is no failure: it has no result, and the next `run` goes on with it.

The first Ctrl-C, SIGTERM (a scheduler's notice) or SIGHUP (a lost terminal) asks for a stop, a Ctrl-C after any of them
stops at once: `Signals`. A second SIGTERM is no impatience: `timeout` and batch systems send it to a process and to its
group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from benchmarks.errors import INTERRUPTED

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAID = "interrupted: finished runs are kept, the same command goes on from here"


class Stopped(Exception):
    """The run was asked to stop, or belongs to another runner by now; it has no result."""


# --- in a worker -----------------------------------------------------------------------------------------------------

_asked = threading.Event()
_held: Callable[[], bool] | None = None


def requested() -> bool:
    """Should the run at hand stop after this step? Costs less than a microsecond."""
    return _asked.is_set()


def check() -> None:
    """Raise `Stopped` where the run at hand should stop: for what takes long and is no optimizer step."""
    if _asked.is_set():
        raise Stopped("asked to stop")


def ask() -> None:
    """Let `requested` say yes from now on."""
    _asked.set()


def forget() -> None:
    """Let `requested` say no again."""
    _asked.clear()


def begin(held: Callable[[], bool] | None) -> None:
    """A run starts in this process; `held()` says whether its lease is still its runner's."""
    global _held
    _held = held


def lost() -> bool:
    """Has another runner taken the run at hand, because this one did not move for a minute? Then it has no result."""
    return _held is not None and not _held()


# --- in a runner -----------------------------------------------------------------------------------------------------


class Signals:
    """While open, signals are requests: `requested` after the first, KeyboardInterrupt out of a Ctrl-C after that.

    `wake` becomes readable when one arrives. Outside the main thread, where Python takes none, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = False
        self.wake, self._waker = socket.socketpair()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for end in (self.wake, self._waker):
            end.setblocking(False)
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in STOPS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self.wake.close()
        self._waker.close()

    def _take(self, number: int, _: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again and number == signal.SIGINT:
            raise_once()
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def drain(self) -> None:
        """Make `wake` quiet again."""
        with contextlib.suppress(OSError):
            self.wake.recv(64)


def raise_once(*_: object) -> NoReturn:
    """KeyboardInterrupt for this signal; the next one finds a process that is cleaning up, and ends it."""
    quit_on_signals()
    raise KeyboardInterrupt


def quit_at_once(*_: object) -> NoReturn:
    """End this process in the middle of whatever it does: one line and the code for it, never a traceback.

    Nothing on disk minds: what is half-written has a temporary name, and workers end with their runner.
    """
    with contextlib.suppress(OSError):
        os.write(2, f"{SAID}\n".encode())
    os._exit(INTERRUPTED)


def quit_on_signals() -> None:
    """From now on a signal ends the process at once: while it starts, cleans up and ends."""
    for number in STOPS:
        signal.signal(number, quit_at_once)


def leave(end: SystemExit) -> None:
    """End an interrupted process here and now: while Python takes itself apart, one more Ctrl-C would kill it, and its
    exit code with it."""
    if end.code == INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """Each signal is a KeyboardInterrupt, once; afterwards the handlers are what they were."""
    before = {number: signal.signal(number, raise_once) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def unsignalled() -> Iterator[None]:
    """Processes started inside begin with the signals blocked: a terminal's Ctrl-C goes to them too, while they import.

    A signal that arrives meanwhile is taken right after.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # here, because starting it unblocks what is blocked below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
