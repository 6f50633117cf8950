"""How a command answers Ctrl-C, SIGTERM and SIGHUP: it ends within two seconds, with exit code 75 and one line.

    guard()                     # first of all, in __main__: from now on a signal ends the process at once
    with at_end(clean): ...     # `clean()` runs afterwards, also where a signal ends the process
    with as_interrupts(): ...   # a signal is a KeyboardInterrupt here, for code that removes what it has begun
    with Signals() as signals: ...  # a signal is a request here: `run` finishes the step under way

Why at once: libraries may swallow or replace a KeyboardInterrupt. transformers turned one that arrived during its
import into a ModuleNotFoundError, and the command ended in a traceback. Ending in the middle is safe, because files get
their final name only when they are complete, and workers end with their runner.

Python runs a signal's handler only between two instructions of the main thread, so a long call into a library (a model
in ONNX Runtime) delays it. A second thread therefore ends the process `GRACE` seconds after the signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from benchmarks.base.errors import INTERRUPTED

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAID = "interrupted: finished runs are kept; give the same command again to continue"
GRACE = 1.0  # seconds

_cleaning: list[Callable[[], object]] = []
_patient = False  # whether `Signals` is open, so that a signal is a request


class Signals:
    """While open, the first signal sets `requested`, and a Ctrl-C after it raises KeyboardInterrupt.

    SIGTERM is a batch system's notice, SIGHUP a lost terminal. A second SIGTERM does not mean impatience: `timeout` and
    batch systems send one to the process and one to its group. `wake` becomes readable when a signal arrives. Outside
    the main thread Python allows no handlers, so nothing changes there.
    """

    def __init__(self) -> None:
        self.requested = False
        self.wake, self._waker = socket.socketpair()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        global _patient
        for end in (self.wake, self._waker):
            end.setblocking(False)
        if threading.current_thread() is threading.main_thread():
            _patient = True
            self._before = {number: signal.signal(number, self._take) for number in STOPS}
        return self

    def __exit__(self, *_: object) -> None:
        global _patient
        for number, handler in self._before.items():
            signal.signal(number, handler)
        _patient = False
        self.wake.close()
        self._waker.close()

    def _take(self, number: int, _: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again and number == signal.SIGINT:
            raise_once()
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def drain(self) -> None:
        """Empty `wake`."""
        with contextlib.suppress(OSError):
            self.wake.recv(64)


def raise_once(*_: object) -> NoReturn:
    """Raise KeyboardInterrupt, so that the process cleans up. The next signal ends it at once."""
    quit_on_signals()
    raise KeyboardInterrupt


def quit_at_once(*_: object) -> NoReturn:
    """End this process now, with one line and exit code 75, never with a traceback."""
    for clean in reversed(_cleaning):
        with contextlib.suppress(Exception):  # a cleaner that fails must not keep this process alive
            clean()
    with contextlib.suppress(OSError):
        os.write(2, f"{SAID}\n".encode())
    os._exit(INTERRUPTED)


def quit_on_signals() -> None:
    """From now on a signal ends the process at once."""
    for number in STOPS:
        signal.signal(number, quit_at_once)


def guard() -> None:
    """From now on this process ends within two seconds of a signal, even during a long call into a library."""
    quit_on_signals()
    arrived, arrival = os.pipe()
    os.set_blocking(arrival, False)
    signal.set_wakeup_fd(arrival, warn_on_full_buffer=False)
    with _blocked():  # the thread inherits this, so it never receives a signal that `unsignalled` holds back
        threading.Thread(target=_watch, args=(arrived,), daemon=True).start()


def _watch(arrived: int) -> None:
    while os.read(arrived, 1):
        if not _patient:
            time.sleep(GRACE)
            quit_at_once()


def leave(end: SystemExit) -> None:
    """The command has ended. From now on a signal does not change its exit code (Python would restore the system's
    handlers while it shuts down), and an interrupted process ends here."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    if end.code == INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # the reader has gone, or the stream is closed
                stream.flush()
        os._exit(INTERRUPTED)


@contextlib.contextmanager
def at_end(clean: Callable[[], object]) -> Iterator[None]:
    """Call `clean` afterwards, even if a signal ends the process. It must be quick, and may be called twice."""
    _cleaning.append(clean)
    try:
        yield
    finally:
        clean()
        _cleaning.remove(clean)


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """The first signal raises KeyboardInterrupt; afterwards the handlers are restored."""
    before = {number: signal.signal(number, raise_once) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def unsignalled() -> Iterator[None]:
    """Processes started inside begin with signals blocked, because a terminal sends its Ctrl-C to them as well.

    A signal to this process is handled afterwards: a child would print an error if its parent ended while starting it.
    (A library's thread may receive a signal that this thread blocks, so the handlers are replaced too.)
    """
    from multiprocessing import resource_tracker  # not at the top: a command without workers starts faster

    resource_tracker.ensure_running()  # here, because starting it unblocks what is blocked below
    arrived: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, lambda one, _: arrived.append(one)) for number in STOPS if main}
    try:
        with _blocked():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in arrived:
        signal.raise_signal(number)
