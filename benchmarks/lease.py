"""Leases: which runner has which run, told by files in <results>/.leases/ that work on a shared file system too.

    <run id>.<generation>     who holds it, and a counter that goes up every `BEAT` seconds while the holder lives

The holder is the owner of the highest generation. A file is made exclusively (O_EXCL), so of two runners that want a
run one gets it. Where the holder of generation n is dead, whoever makes n + 1 has taken it over; the old one, should it
wake up, finds a higher generation, or its own file gone, and has lost.

Dead means: its process on this machine is over, or its counter has stood still for `PATIENCE` seconds of the observer's
own monotonic clock, looked at all the while. No two clocks are ever compared, so one that jumps or is set wrong takes
nothing from anybody. A lease is no proof against a holder that sleeps between its last look and its last rename:
`Store.finish` never replaces a settled result, so what that costs is time.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.owner import Owner

BEAT = 5.0
PATIENCE = 60.0
LOOK = 10.0  # seconds between two looks after which the first says nothing any more
COUNTER = 12  # digits, so that a beat rewrites as many bytes as were there
LARGEST = 4096  # bytes of a lease that are read


def _text(owner: Owner, beat: int) -> bytes:
    return (json.dumps({"beat": f"{beat:0{COUNTER}}", **owner.document()}) + "\n").encode()


def _content(path: Path) -> bytes | None:
    """Opened afresh each time: that is when a network file system looks at the server."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError:
        return None


def _owner(content: bytes | None) -> Owner | None:
    """None for a file that is gone, is being written or was written by nobody we know."""
    try:
        document = json.loads(content or b"")
        document.pop("beat", None)
        return Owner.read(document)
    except (ValueError, TypeError, AttributeError):
        return None


def _listed(folder: Path) -> dict[str, int]:
    """The highest generation of each run that has a lease."""
    found: dict[str, int] = {}
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return found
    for name in names:
        run_id, _, generation = name.rpartition(".")
        if run_id and generation.isdecimal() and len(generation) < 10:
            found[run_id] = max(int(generation), found.get(run_id, 0))
    return found


@dataclass(frozen=True)
class Ticket:
    """A lease as a worker sees it: enough to ask whether it still holds."""

    folder: Path
    run_id: str
    generation: int
    token: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.run_id}.{self.generation}"

    def held(self) -> bool:
        """Is this still the highest generation, and ours? A folder that cannot be read now changes nothing."""
        try:
            if _listed(self.folder).get(self.run_id) != self.generation:
                return False
        except OSError:
            return True
        owner = _owner(_content(self.path))
        return owner is not None and owner.token == self.token


class Leases:
    """The leases one process holds on one results folder. Open it (`with`) to keep them alive and give them back.

    `clock` must be monotonic.
    """

    def __init__(
        self, results: Path, owner: Owner | None = None, beat: float = BEAT, patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.folder = results / ".leases"
        self.owner = owner or Owner.of()
        self.beat, self.patience, self.clock = beat, patience, clock
        self._mine: dict[str, Ticket] = {}
        self._lost: set[str] = set()
        self._seen: dict[Path, tuple[bytes | None, float, float]] = {}  # content, since when, last look
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._beats = 0
        self._thread = threading.Thread(target=self._keep_alive, name="leases", daemon=True)

    def __enter__(self) -> Leases:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        for run_id in list(self._mine):
            self.release(run_id)

    def acquire(self, run_id: str) -> Ticket | None:
        """Take the run, or None where a living runner has it. Look at its result *after* this: it may just have been
        finished. Raises `OSError` where no file can be made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        last = _listed(self.folder).get(run_id, 0)
        before = self.folder / f"{run_id}.{last}"
        judged = _owner(_content(before)) if last else None
        if last and not self._dead(before):
            return None
        ticket = Ticket(self.folder, run_id, last + 1, self.owner.token)
        try:
            handle = os.open(ticket.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return None
        try:
            try:
                os.write(handle, _text(self.owner, self._beats))
            finally:
                os.close(handle)
            # The listing above may be old by now: somebody took over meanwhile, or gave back and another began anew.
            found = _owner(_content(before)) if last else None
            if _listed(self.folder).get(run_id) != ticket.generation or (found is not None and found != judged):
                self._remove(ticket.path)
                return None
        except BaseException:
            self._remove(ticket.path)
            raise
        for generation in range(max(1, last - 2), last + 1):  # one is the rule, more where a taker died in between
            self._remove(self.folder / f"{run_id}.{generation}")
        with self._lock:
            self._mine[run_id] = ticket
            self._lost.discard(run_id)
        return ticket

    def release(self, run_id: str) -> None:
        """Give the run back; nothing happens where it is another's by now."""
        with self._lock:
            ticket = self._mine.pop(run_id, None)
            self._lost.discard(run_id)
        if ticket is not None and ticket.held():
            self._remove(ticket.path)

    def held(self, run_id: str) -> bool:
        """Is the run still ours?"""
        with self._lock:
            ticket = self._mine.get(run_id)
        return ticket is not None and ticket.held()

    def lost(self) -> set[str]:
        """Runs that were ours and that another runner has taken."""
        with self._lock:
            return set(self._lost)

    def elsewhere(self) -> set[str]:
        """Runs that other living runners have. Has to be called every few seconds to know who still lives."""
        found = set()
        for run_id, generation in _listed(self.folder).items():
            if run_id not in self._mine and not self._dead(self.folder / f"{run_id}.{generation}"):
                found.add(run_id)
        return found

    def clear(self, run_ids: Iterable[str]) -> None:
        """Remove what owners that are gone left on these runs, which are finished."""
        wanted = set(run_ids)
        for run_id, generation in _listed(self.folder).items():
            path = self.folder / f"{run_id}.{generation}"
            owner = _owner(_content(path)) if run_id in wanted else None
            if owner is not None and owner.gone():
                self._remove(path)

    def _dead(self, path: Path) -> bool:
        content, now = _content(path), self.clock()
        if content is None:  # given back since it was listed
            self._seen.pop(path, None)
            return False
        owner = _owner(content)
        if owner is not None and owner.gone():
            return True
        before, since, looked = self._seen.get(path, (None, now, now))
        if before != content or now - looked > LOOK:
            since = now
        self._seen[path] = content, since, now
        return now - since >= self.patience

    @staticmethod
    def _remove(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()

    def _keep_alive(self) -> None:
        while not self._end.wait(self.beat):
            self._beats += 1
            with self._lock:
                mine = list(self._mine.values())
            for ticket in mine:
                if not self._renew(ticket):
                    with self._lock:
                        if self._mine.get(ticket.run_id) == ticket:
                            self._lost.add(ticket.run_id)

    def _renew(self, ticket: Ticket) -> bool:
        """Rewrite our file in place: no new file, so none that was taken from us comes back, and none that a full disk
        could refuse. A disk that does not answer is no loss yet; others see the counter stand still."""
        if not ticket.held():
            return False
        with contextlib.suppress(OSError):
            handle = os.open(ticket.path, os.O_WRONLY)
            try:
                os.pwrite(handle, _text(self.owner, self._beats), 0)
            finally:
                os.close(handle)
        return True
