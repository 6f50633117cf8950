"""A suite's results folder. Run folders appear whole or not at all. docs/results.md has the format."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from benchmarks.base.errors import SuiteError
from benchmarks.base.stop import Stopped, lost
from benchmarks.base.terminal import say
from benchmarks.plans.run import Plan, Run
from benchmarks.runs.suite_json import contrasts_of, describe
from benchmarks.tasks.table import AT_CHANCE
from results.format import layout, staging
from results.format.documents.codec import from_json, written
from results.format.documents.run import Manifest, Outcome, Result
from results.format.documents.speed import Speed
from results.format.documents.suite import Registered, Suite
from results.format.errors import ReportError
from results.format.files import place_folder, replace_text
from results.format.untrusted import load

Record = TypeVar("Record")


def _read(record: type[Record], path: Path) -> Record | None:
    """A document of the results folder, None if it is missing. Raises `ReportError` for a broken one."""
    return from_json(record, load(path), str(path)) if path.is_file() else None


def _readable(record: type[Record], path: Path) -> Record | None:
    """The same, and None for a broken one, which is said once: the run then counts as not there and is made again."""
    try:
        return _read(record, path)
    except ReportError as error:
        _say_once(f"{error}; until then the run counts as not there")
        return None


_say_once = cache(say)


def _no_weights(run: Run, id_: str, result: Outcome | None) -> str:
    """How the input run `id_`, which handed on no weights, ended, and what to do."""
    first = id_ == run.predecessor
    what = f"its predecessor {id_}" if first else f"the run that it starts from, {id_},"
    if result is None or result.status == "done":
        return f"{what} {'has lost its weights' if result else 'was not run'}: repeat the command, which runs it"
    settings = "[predecessor] training" if first else f"arms.{run.arm}.training"
    remedy = f"train it otherwise ({settings})" if result.status == "diverged" else "mend that and repeat the command"
    return f"{what} {result.status}: {result.reason}; {remedy}"


@dataclass(frozen=True)
class Store:
    """One suite's results folder."""

    path: Path

    def open(self) -> None:
        """Create the folder. Raises `SuiteError` if it cannot be written to."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            why = f"cannot write results to {self.path} ({error.strerror or error})"
            raise SuiteError(f"{why}: choose another folder with --results") from None

    def belongs_to(self, suite: str) -> None:
        """Raises `SuiteError` if the folder holds the results of another suite, whose plan and timing would be lost."""
        path = self.path / layout.SUITE
        if path.exists() and not path.is_file():
            raise SuiteError(f"{path} is not a file, and the suite's plan is written there: move it away")
        found = _read(Suite, path)
        if found is not None and found.name != suite:
            raise SuiteError(
                f"{self.path} holds the results of suite {found.name}: give those of {suite} a folder of their own "
                "(--results)"
            )

    def prepare(self, runs: Iterable[Run]) -> frozenset[str]:
        """Open the folder, and remove what dead workers of this machine and finished runs left behind: half-filled
        folders, and the checkpoints of runs that were killed before they could remove them. Returns the ids of the runs
        that are settled."""
        self.open()
        settled = [run for run in runs if self.settled(run)]
        for run in settled:
            folder = self.checkpoints(run)
            if folder.is_dir() and (result := self.result(run)) and result.status == "done":
                shutil.rmtree(folder, ignore_errors=True)
        self.sweep()
        return frozenset(run.id for run in settled)

    def result(self, run: Run) -> Outcome | None:
        """The outcome of a run; None for an unfinished one, and for one whose result cannot be read, which is said."""
        return _readable(Result, self.path / run.folder / layout.RESULT)

    def successor(self, run_folder: str) -> Path:
        """The folder of the weights that a run hands on."""
        return self.path / run_folder / layout.SUCCESSOR

    def imported(self, run: Run) -> bool:
        """Was the run imported from a bundle?"""
        return (self.path / run.folder / layout.MARK).exists()

    def stamp(self, run: Run) -> tuple[int, int] | None:
        """A value that changes whenever result.json is replaced; None without one."""
        folder = self.path / run.folder
        try:
            os.listdir(folder.parent)  # opening a folder makes a network file system refresh it
            found = (folder / layout.RESULT).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def took(self, runs: Iterable[Run]) -> dict[str, float]:
        """Seconds of the runs that are done, by id, from loading to writing, excluding the predecessor's outputs, which
        one run computes for all."""
        found = {}
        for run in runs:
            result = self.result(run)
            if result and result.status == "done":
                manifest = _readable(Manifest, self.path / run.folder / layout.MANIFEST)
                if manifest and manifest.seconds and (own := manifest.seconds.own):
                    found[run.id] = own
        return found

    def cannot_start(self, run: Run) -> str | None:
        """Why a run cannot start: an input run has no weights, or its predecessor has learned nothing. Else None."""
        for id_, place in ((run.predecessor, run.predecessor_folder), (run.start, run.start_folder)):
            if id_ is None or place is None:
                continue
            result = _readable(Result, self.path / place / layout.RESULT)
            if result is None or result.status != "done" or not self.successor(place).is_dir():
                return _no_weights(run, id_, result)
            # The last checkpoint, because the best of many evaluations may be above chance by luck.
            last = result.last
            if last and id_ == run.predecessor and run.stop_at_chance and AT_CHANCE in last.flags:
                return (
                    f"its predecessor {id_} scores {last.score:.1f} on dev, {AT_CHANCE}: train it longer or "
                    'otherwise ([predecessor] training), or set predecessor.at_chance = "allow"'
                )
        return None

    def settled(self, run: Run) -> bool:
        """Is the run finished? A diverged run would diverge again, but a failed one (memory, disk) may succeed."""
        result = self.result(run)
        if result is None or result.status == "failed":
            return False
        kept = self.successor(run.folder).is_dir()
        return kept or not run.keep_successor or result.status == "diverged"

    def cache(self) -> Path:
        return self.path / layout.CACHE

    def checkpoints(self, run: Run) -> Path:
        """The folder of a run's checkpoints while it trains."""
        return self.path / layout.CHECKPOINTS / run.id

    def start(self) -> Path:
        """An empty folder to fill for a run; `finish` moves it into place."""
        return staging.stage(self.path)

    def finish(self, run: Run, filled: Path) -> None:
        """Move a filled folder into place in one rename, replacing an earlier, failed attempt.

        Raises `Stopped`, and changes nothing, if another runner has taken or finished the run.
        """
        if lost() or self.settled(run):
            self.discard()
            raise Stopped("another runner has taken this run")
        final = self.path / run.folder
        final.parent.mkdir(parents=True, exist_ok=True)
        filled.chmod(0o755)
        if final.exists():
            final.rename(self._aside(run, final))
        try:
            place_folder(filled, final)
        except OSError as error:
            self.discard()
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another runner was faster
                raise Stopped("another runner has finished this run") from None
            raise
        self.discard()

    def _aside(self, run: Run, final: Path) -> Path:
        """A place for the folder that a finished run replaces: a failed attempt is discarded, and a folder that cannot
        be read is kept, because it may hold somebody's only copy."""
        try:
            if _read(Result, final / layout.RESULT) is not None:
                return self.start() / "earlier"
        except ReportError:
            pass
        kept = self.path / layout.DAMAGED
        kept.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(dir=kept, prefix=f"{run.id}-")) / "run"

    def discard(self) -> None:
        """Remove the folders that this process began to fill."""
        staging.discard(self.path)

    def sweep(self) -> None:
        """Remove half-filled folders of this machine's dead workers."""
        staging.sweep(self.path)

    def write_suite(self, plan: Plan) -> None:
        replace_text(self.path / layout.SUITE, written(describe(plan, self._registered(plan))))

    def _registered(self, plan: Plan) -> tuple[Registered, ...]:
        """The seeds and questions that the suite has planned so far. A change before the first result replaces the
        plan; a change after it is kept beside what was planned before, because whoever made it could have looked."""
        planned = Registered(tuple(plan.suite.seeds), 0, contrasts_of(plan.suite))
        old = _read(Suite, self.path / layout.SUITE)
        if old is None:
            return (planned,)
        # Runs of earlier settings count too: their scores could be seen. What an older folder planned first is unknown.
        results = sum(1 for _ in self.path.glob(f"*/*/seed-*/{layout.RESULT}"))
        known = old.registered or (Registered(old.seeds, None if results else 0),)
        if (set(known[-1].seeds), set(known[-1].contrasts)) == (set(planned.seeds), set(planned.contrasts)):
            return known
        return (*known, replace(planned, after_runs=results)) if results else (*known[:-1], planned)

    def check_kept(self, runs: Iterable[Run]) -> None:
        """Raises `SuiteError` if the plan, or a result of these finished runs, is not there any more."""
        gone = sum(self.stamp(run) is None for run in runs)
        if gone or not (self.path / layout.SUITE).is_file():
            raise SuiteError(
                f"{self.path} was removed or emptied while the suite ran ({gone} results are gone): give the same "
                "command again"
            )

    def speed_is_current(self, key: str, subject: str) -> bool:
        """Was speed.json measured under the settings of `key`, or is it a whole matrix of the same `subject`?"""
        try:
            found = _read(Speed, self.path / layout.SPEED) or Speed()
        except ReportError:
            return False
        whole = found.matrix is True and found.complete is True
        return found.key == key or (whole and found.subject == subject)

    def write_speed(self, timing: Speed, key: str, matrix: bool = False) -> None:
        """Write speed.json. An interrupted timing gets no key, so that it is measured again."""
        keyed = replace(timing, key=key if timing.complete else None, matrix=matrix)
        replace_text(self.path / layout.SPEED, written(keyed))
