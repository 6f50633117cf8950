"""Leases: which runner executes which run, recorded in files so that it also works on a shared file system.

    <results>/.leases/<run id>.<generation>     who holds the run, and a counter that rises while the holder lives

**One holder.** The holder of a run is the owner named in its highest generation. Files are created exclusively
(O_EXCL), so of several runners that want generation n + 1 exactly one gets it. A runner creates n + 1 only after it has
seen that the holder of n is dead; it has then taken the run over. The old holder, should it wake up, finds a higher
generation or finds its own file gone, and knows that it has lost the run.

**Who is dead.** A holder is dead when it was a process of this machine and has ended (process_owner.py), or when its
counter has stood still for `PATIENCE` seconds, that is for twelve renewals, during which the observer has looked all
the time. The observer measures this with its own monotonic clock, and compares a file only with what it has read of the
same file before. No two clocks are ever compared, so a clock that jumps or is set wrong takes no run from anybody.

**What a sleeping holder costs.** A lease cannot stop a holder that pauses (a suspended laptop, a stalled network file
system) between a check and its next action. When it wakes up, another runner may have its run. It then stops at its
next renewal, or at the latest when it moves its result into place: `Store.finish` asks `Ticket.held` and refuses to
replace a finished result. If it pauses between that check and the rename, one of two complete results of the same run
id remains. So the worst case is wasted work, never a mixed or wrong result.

On a local disk acquiring a lease takes 0.3 ms, giving it back 0.1 ms, and looking at 200 leases 16 ms.
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

from benchmarks.engine.process_owner import Owner
from results.format import layout

BEAT = 5.0  # seconds between two renewals
PATIENCE = 60.0  # seconds without a renewal after which a holder is dead
LOOK = 10.0  # after a longer pause between two looks, the observer itself may have slept, and begins again
COUNTER = 12  # digits: every renewal writes exactly as many bytes as the one before
LARGEST = 4096  # bytes of a lease that are read; ours have about 200


def _text(owner: Owner, beat: int) -> bytes:
    return (json.dumps({"beat": f"{beat:0{COUNTER}}", **owner.document()}) + "\n").encode()


def _content(path: Path) -> bytes | None:
    """The file's content, or None if it does not exist. It is opened each time, because a network file system asks its
    server only on opening."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError:
        return None


def _owner(content: bytes | None) -> Owner | None:
    """None for a file that is gone, that is still being written, or that is not a lease of ours."""
    try:
        document = json.loads(content or b"")
        document.pop("beat", None)
        return Owner.read(document)
    except (ValueError, TypeError, AttributeError, RecursionError):
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
    """The worker's view of a lease: it tells whether the runner still holds the run."""

    folder: Path
    run_id: str
    generation: int
    token: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.run_id}.{self.generation}"

    def held(self) -> bool:
        """Whether this is still the highest generation and ours. True while the folder cannot be read.

        The owner's token is compared too: after the run was taken over and given back, a third runner begins again with
        generation 1, which may be our number.
        """
        try:
            if _listed(self.folder).get(self.run_id) != self.generation:
                return False
        except OSError:
            return True
        owner = _owner(_content(self.path))
        return owner is not None and owner.token == self.token


class Leases:
    """The leases of one process on one results folder. `clock` must be monotonic.

    As a context manager it renews them in a thread, and gives them back at the end.
    """

    def __init__(
        self, results: Path, owner: Owner | None = None, beat: float = BEAT, patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.folder = results / layout.LEASES
        self.owner = owner or Owner.of()
        self.beat, self.patience, self.clock = beat, patience, clock
        self._mine: dict[str, Ticket] = {}
        self._lost: set[str] = set()
        self._seen: dict[Path, tuple[bytes | None, float, float]] = {}  # others': content, since when, last look
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
        """Take the run; None if a living runner has it. Raises `OSError` if no file can be created.

        Read the run's result only *after* this: its last holder may have finished it right before giving it back.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        last = _listed(self.folder).get(run_id, 0)
        before = self.folder / f"{run_id}.{last}"
        judged = _owner(_content(before)) if last else None
        if last and not self._dead(before):
            return None
        ticket = Ticket(self.folder, run_id, last + 1, self.owner.token)
        if not self._create(ticket, before, judged):
            return None
        # All lower generations are dead. As a rule that is one file; each taker that was killed before it came to this
        # loop left one more. Two such takers in a row are covered. A file that is older still is not the highest
        # generation before we give the run back, and is then found dead like any other.
        for generation in range(max(1, last - 2), last + 1):
            self._remove(self.folder / f"{run_id}.{generation}")
        with self._lock:
            self._mine[run_id] = ticket
            self._lost.discard(run_id)
        return ticket

    def release(self, run_id: str) -> None:
        """Give the run back. Nothing happens if another runner has taken it."""
        with self._lock:
            ticket = self._mine.pop(run_id, None)
            self._lost.discard(run_id)
        if ticket is not None and ticket.held():
            self._remove(ticket.path)

    def held(self, run_id: str) -> bool:
        """Whether this process still holds the run."""
        with self._lock:
            ticket = self._mine.get(run_id)
        return ticket is not None and ticket.held()

    def lost(self) -> set[str]:
        """Runs that another runner has taken from this process, as found by the last renewal."""
        with self._lock:
            return set(self._lost)

    def elsewhere(self) -> set[str]:
        """Runs held by other living runners. To know who lives, it must be called every few seconds (`LOOK`)."""
        found = set()
        for run_id, generation in _listed(self.folder).items():
            if run_id not in self._mine and not self._dead(self.folder / f"{run_id}.{generation}"):
                found.add(run_id)
        return found

    def clear(self, run_ids: Iterable[str]) -> None:
        """Remove the leases that dead processes of this machine left on these runs, which are finished."""
        wanted = set(run_ids)
        for run_id, generation in _listed(self.folder).items():
            path = self.folder / f"{run_id}.{generation}"
            owner = _owner(_content(path)) if run_id in wanted else None
            if owner is not None and owner.gone():
                self._remove(path)

    def _create(self, ticket: Ticket, before: Path, judged: Owner | None) -> bool:
        """Create the ticket's file, unless another runner was faster.

        O_EXCL decides between runners that have read the same listing. The listing may be out of date when the file is
        created, in two ways. Both are looked for afterwards, when all others can see our file:

        - another runner took the run over with this generation, and was taken over in turn: there is a higher one;
        - the run was taken over and given back, and a new holder began with the generation that we had judged: `before`
          exists again, with another owner.

        In both cases our file is removed again. A runner that looked in between, within less than a millisecond, waits
        for its next look, or stops its run and continues from the last checkpoint. That costs time and nothing else.
        """
        try:
            handle = os.open(ticket.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        valid = False
        try:
            try:
                os.write(handle, _text(self.owner, self._beats))
            finally:
                os.close(handle)
            found = _owner(_content(before)) if ticket.generation > 1 else None
            valid = _listed(self.folder).get(ticket.run_id) == ticket.generation and found in (None, judged)
        finally:
            if not valid:  # also when the disk is full: a file without an owner would block the run for a minute
                self._remove(ticket.path)
        return valid

    def _dead(self, path: Path) -> bool:
        """Whether the holder named in this file is dead, as far as this process has been watching."""
        content, now = _content(path), self.clock()
        if content is None:  # given back since it was listed: nobody died, and the next look will not find it
            self._seen.pop(path, None)
            return False
        owner = _owner(content)
        if owner is not None and owner.gone():
            return True
        # The minute starts at the first look, and again whenever the content has changed or this process did not look
        # for `LOOK` seconds. In that pause the whole machine may have slept, and the holder with it: it gets its minute
        # to wake up. A file without a readable owner gets the same minute, because its writer may just be creating it.
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
        """Show that this process lives, by writing the counter into our file in place. False if the lease is lost.

        In place, because the usual way to replace a file, a rename, also creates it: if we slept between the check and
        the rename, a lease that its taker has removed would come back, with a living owner that no longer works on the
        run. Opening without O_CREAT cannot do that; if the file was removed in between, the bytes go nowhere. The text
        keeps its length, so a renewal needs no space on a full disk, and a reader that meets it half-written sees a mix
        of two counters, which is a change as well. If the write fails, the run is not lost yet: the counter stands
        still, and others wait for a minute.
        """
        if not ticket.held():
            return False
        with contextlib.suppress(OSError):
            handle = os.open(ticket.path, os.O_WRONLY)
            try:
                os.pwrite(handle, _text(self.owner, self._beats), 0)
            finally:
                os.close(handle)
        return True
