"""Put the runs of a bundle into a results folder, marked as imported.

    done = import_bundle(Path("minilm.zip"), Path("results/runs/minilm"))     # done.lines() says what happened

Nothing is written before every hash, size, name and type of the archive has been verified (`reports/archive.py`).
Then it is unpacked into a folder of its own beside the runs, read the way a report reads it, held to itself
(`reports/consistency.py`), and moved into place run by run, each in one rename with its mark inside. A run that is
there is never touched: the same files are passed over, others refuse the import. An import that is stopped
half-way leaves whole runs; the same command goes on.

The mark (`reports/origin.py`) is written here and cannot come out of a bundle. Imported weights lie in
`imported-successor`, where no run looks for a predecessor, and an imported timing is never current for this
machine.
"""

import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reports import limits
from reports.archive import Bundle, opened
from reports.bundle import FINISHED, IMPORTED_WEIGHTS, NEEDED, WEIGHTS, Entry, is_weights
from reports.consistency import check_consistent
from reports.errors import ReportError
from reports.origin import MARK
from reports.reader import read
from reports.results import Results, Run
from reports.safetensors_header import check_safetensors
from reports.untrusted import as_digest, file_digest, load, mapping, parse, read_bytes, size, text

SPARE = 64 * limits.MIB  # bytes that must be left on the disk
CODE_KEYS = ("auto_map", "custom_pipelines")  # of a model's configuration: they name code to run


@dataclass
class Imported:
    """What an import did: run folders that came, that were there already, and what else is to be said."""

    results: Path
    suite: str
    sha256: str
    came: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people, a sentence each."""
        said = [f"{_runs(len(self.came))} imported into {self.results}, marked as imported in every table"]
        if self.there:
            said.append(f"{_runs(len(self.there))} skipped: the same files are there already")
        if self.kept:
            said.append(f"{_runs(len(self.kept))} left out: there is one here with other files (--only-missing)")
        return [*said, *self.notes]


def import_bundle(file: Path, results: Path | None, default: Path, only_missing: bool = False) -> Imported:
    """Import a bundle into `results` (default: `<default>/<suite>`); raises `ReportError`, then nothing has changed.

    With `only_missing` runs that are there with other files are left as they are instead of refused.
    """
    with opened(file) as bundle:
        bundle.verify()
        root = default / bundle.suite if results is None else results
        _check_space(root, bundle)
        found = Imported(root, bundle.suite, file_digest(file))
        try:
            with _staging(root) as staged:
                bundle.extract(bundle.entries, staged)
                moves = _checked(bundle, staged, found, only_missing)
                _place(staged, moves, found)
        except OSError as error:
            why = error.strerror or error
            raise ReportError(f"{root}: cannot be written ({why}); free space or choose another --results") from None
    return found


def _checked(bundle: Bundle, staged: Path, found: Imported, only_missing: bool) -> list[Run]:
    """The runs to move into place, once what was unpacked reads well and fits what is there."""
    results = _read_staged(staged, bundle)
    folders = {entry.folder for entry in bundle.entries} - {None}
    runs = [run for run in results.runs if run.folder in folders]
    if stray := folders - {run.folder for run in runs}:
        raise _wrong(bundle, f"{min(str(folder) for folder in stray)} is no run that its suite.json plans")
    for run in runs:
        absent = [name for name in NEEDED if not (staged / run.folder / name).is_file()]
        if absent or run.status not in FINISHED:
            raise _wrong(bundle, f"{run.folder} lacks {absent[0]}" if absent else f"{run.folder} is {run.status}")
        with _telling_of(bundle, staged):
            check_consistent(results, run)
            for path in sorted((staged / run.folder).glob(f"{WEIGHTS}/*")):
                _check_model_file(path)
    _check_fits(found.results, results, runs)
    return [run for run in runs if _is_new(bundle, run, found, only_missing)]


def _read_staged(staged: Path, bundle: Bundle) -> Results:
    with _telling_of(bundle, staged):
        results = read(staged)
    if results.suite.name != bundle.suite:
        raise _wrong(bundle, f"its list says suite {bundle.suite}, its suite.json {results.suite.name}")
    return results


@contextmanager
def _telling_of(bundle: Bundle, staged: Path) -> Iterator[None]:
    """What a check of unpacked files says names the bundle, instead of a folder that is gone by then."""
    try:
        yield
    except ReportError as error:
        raise _wrong(bundle, str(error).replace(f"{staged}{os.sep}", "")) from None


def _wrong(bundle: Bundle, what: str) -> ReportError:
    return ReportError(f"{bundle.path}: {text(what, 400)}; nothing was imported")


def _check_model_file(path: Path) -> None:
    if path.suffix == ".safetensors":
        check_safetensors(path)
    elif path.suffix == ".json":
        raw = parse(read_bytes(path, limits.TEXT_FILE), str(path))
        if named := [key for key in CODE_KEYS if key in raw]:
            raise ReportError(f"{path}: {named[0]} names code to run, which is never done")


def _check_fits(root: Path, theirs: Results, runs: Sequence[Run]) -> None:
    """Where a suite is there, its plan decides what a run is, and a run it does not plan would never be shown."""
    if not (root / "suite.json").is_file():
        return
    here = read(root)
    if here.suite.name != theirs.suite.name:
        raise ReportError(f"{root}: holds suite {here.suite.name}, the bundle {theirs.suite.name}; choose --results")
    planned = {_place_of(run) for run in here.runs}
    strange = [run for run in runs if _place_of(run) not in planned]
    if strange:
        raise ReportError(
            f"{root}: its suite.json does not plan {len(strange)} of the bundle's {_runs(len(runs))} (first: "
            f"{strange[0].folder}), because code, settings or data differ; import it into another folder with --results"
        )


def _place_of(run: Run) -> tuple[str, str, str, int, int]:
    return run.folder, run.task, run.arm, run.seed, run.trial


def _is_new(bundle: Bundle, run: Run, found: Imported, only_missing: bool) -> bool:
    """Is nothing there yet? The same files are passed over, others refused."""
    folder = found.results / run.folder
    if not os.path.lexists(folder):
        found.came.append(run.folder)
        return True
    mine = [e for e in bundle.entries if e.folder == run.folder and not is_weights(e.path)]
    if all(_same(entry, found.results) for entry in mine):
        found.there.append(run.folder)
    elif only_missing:
        found.kept.append(run.folder)
    else:
        raise ReportError(
            f"{folder}: is there with other files than the bundle's, and no run is overwritten; move it away, "
            "import into another folder with --results, or take the other runs with --only-missing"
        )
    return False


def _same(entry: Entry, root: Path) -> bool:
    path = root / entry.path
    return path.is_file() and path.stat().st_size == entry.bytes and file_digest(path) == entry.sha256


def _place(staged: Path, runs: Sequence[Run], found: Imported) -> None:
    """Marks first, then runs, suite.json last: until it is there a report shows nothing of a half-done import."""
    root = found.results
    mark: dict[str, Any] = {"schema": 1, "bundle_sha256": found.sha256}
    mark["imported"] = datetime.now(UTC).isoformat(timespec="seconds")
    for run in runs:
        folder = staged / run.folder
        if (folder / WEIGHTS).is_dir():
            (folder / WEIGHTS).rename(folder / IMPORTED_WEIGHTS)
        _write_json(folder / MARK, mark | {"run_id": run.run_id})
        target = root / run.folder
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)  # fails where a run has appeared meanwhile: a folder with files is never replaced
        _sync(target.parent)
    _place_speed(staged, mark, found)
    if not (root / "suite.json").exists():
        _mark_file(root, mark, "suite.json", read_bytes(staged / "suite.json"))
        (staged / "suite.json").rename(root / "suite.json")
    _sync(root)


def _place_speed(staged: Path, mark: dict[str, Any], found: Imported) -> None:
    """The timing, without the key that would make it current here: it is another machine's."""
    path, root = staged / "speed.json", found.results
    if not path.is_file():
        return
    raw = load(path)
    if (root / "speed.json").exists():
        if load(root / "speed.json").get("conditions") != raw.get("conditions"):
            found.notes.append("speed.json was left as it is here: timings of two machines do not mix")
        return
    data = (json.dumps(raw | {"key": None}, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    _mark_file(root, mark, "speed.json", data)
    _write(path, data)
    path.rename(root / "speed.json")


def _mark_file(root: Path, mark: dict[str, Any], name: str, data: bytes) -> None:
    """Note in the results folder's own mark that a file with these bytes came from outside."""
    path = root / MARK
    known = mapping(load(path).get("files"), str(path)) if path.is_file() else {}
    partial = path.with_name(f".{MARK}-{os.getpid()}")
    _write_json(partial, mark | {"files": {**known, name: as_digest(data)}})
    partial.replace(path)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    _write(path, (json.dumps(value, indent=1) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Makes renames in a folder last through a power cut, where the system lets a folder be opened for that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A folder on the same disk, which is gone afterwards, as is `root` where it was made for nothing."""
    made = not root.exists()
    parent = root / ".partial"
    parent.mkdir(parents=True, exist_ok=True)
    host = re.sub(r"[^A-Za-z0-9]", "", platform.node()) or "here"  # `run` sweeps what a dead process of this host left
    staged = Path(tempfile.mkdtemp(dir=parent, prefix=f"{host}-{os.getpid()}-"))
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        for folder in (parent, *([root] if made else [])):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _check_space(root: Path, bundle: Bundle) -> None:
    place = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    needed, free = sum(entry.bytes for entry in bundle.entries) + SPARE, shutil.disk_usage(place).free
    if free < needed:
        raise ReportError(f"{root}: the bundle needs {size(needed)}, {size(free)} are free; choose another --results")


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
