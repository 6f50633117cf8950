"""Put the runs of a bundle into a results folder, marked as imported.

    done = import_bundle(Path("minilm.zip"), None, default=Path("results/runs"))
    done.lines()                                 # what happened, for people

Nothing is written before every hash, size, name and type of the archive has been verified (`bundles/archive.py`). Then
the archive is unpacked into a temporary folder, read like a report, checked for consistency
(`bundles/consistency.py`), and moved into place run by run, each in one rename with its mark inside. An existing run is
never changed: if its files are the same it is skipped, else the import is refused. An interrupted import leaves whole
runs; the same command continues it.

The mark (`results/format/imported.py`) is written here and cannot come from a bundle. Imported weights go to
`imported-successor`, where no run looks for a predecessor, and an imported timing is never current for this machine.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from results.format import layout, limits
from results.format.bundles.archive import Bundle, opened
from results.format.bundles.consistency import check_consistent
from results.format.bundles.pack import FINISHED, NEEDED, is_weights
from results.format.bundles.safetensors_header import check_safetensors
from results.format.documents.bundle import Entry
from results.format.documents.codec import changed, from_json, written
from results.format.documents.run import Mark
from results.format.documents.speed import Condition, Speed
from results.format.errors import ReportError
from results.format.files import place_folder, replace_bytes, replace_text, sync_entries
from results.format.imported import read_mark
from results.format.reader import read
from results.format.records import Results, Run
from results.format.staging import stage
from results.format.untrusted import as_digest, file_digest, items, load, mapping, parse, read_bytes, size, text

SPARE = 64 * limits.MIB  # bytes that must remain free on the disk
CODE_KEYS = ("auto_map", "custom_pipelines")  # keys of a model's configuration that name code to run


@dataclass
class Imported:
    """The result of an import: run folders that came, that were skipped, that were kept; and other notes."""

    results: Path
    suite: str
    sha256: str
    came: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        said = [f"{_runs(len(self.came))} imported into {self.results}, marked as imported in every table"]
        if self.there:
            said.append(f"{_runs(len(self.there))} skipped: the results folder has the same files")
        if self.kept:
            said.append(
                f"{_runs(len(self.kept))} left out: the results folder has other files for them (--only-missing)"
            )
        return [*said, *self.notes]


def import_bundle(file: Path, results: Path | None, default: Path, only_missing: bool = False) -> Imported:
    """Import a bundle into `results` (default: `<default>/<suite>`); raises `ReportError` and then changes nothing.

    With `only_missing`, existing runs with other files are kept, and the import is not refused.
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
    """The runs to move into place, after the unpacked files were read and compared with the results folder."""
    with _telling_of(bundle, staged):
        results = read(staged)
    if results.suite.name != bundle.suite:
        raise _wrong(bundle, f"its list says suite {bundle.suite}, its suite.json {results.suite.name}")
    folders = {entry.folder for entry in bundle.entries} - {None}
    runs = [run for run in results.runs if run.folder in folders]
    if stray := folders - {run.folder for run in runs}:
        raise _wrong(bundle, f"{min(str(folder) for folder in stray)} is not a run that its suite.json plans")
    for run in runs:
        absent = [name for name in NEEDED if not (staged / run.folder / name).is_file()]
        if absent or run.status not in FINISHED:
            raise _wrong(bundle, f"{run.folder} lacks {absent[0]}" if absent else f"{run.folder} is {run.status}")
        with _telling_of(bundle, staged):
            check_consistent(results, run)
            for path in sorted((staged / run.folder / layout.SUCCESSOR).rglob("*")):
                _check_model_file(path)
    _check_fits(found.results, results, runs)
    return [run for run in runs if _is_new(bundle, run, found, only_missing)]


@contextmanager
def _telling_of(bundle: Bundle, staged: Path) -> Iterator[None]:
    """Errors about unpacked files name the bundle instead of the temporary folder."""
    try:
        yield
    except ReportError as error:
        raise _wrong(bundle, str(error).replace(f"{staged}{os.sep}", "")) from None


def _wrong(bundle: Bundle, what: str) -> ReportError:
    return ReportError(f"{bundle.path}: {text(what, 400)}; nothing was imported")


def _check_model_file(path: Path) -> None:
    if path.suffix == ".safetensors":
        check_safetensors(path)
    elif path.name == layout.MODULES:
        listed = parse(b'{"modules": %b}' % read_bytes(path, limits.MODEL_CONFIG), str(path))["modules"]
        types = [str(mapping(part, str(path)).get("type")) for part in items(listed, str(path))]
        if named := [kind for kind in types if not kind.startswith("sentence_transformers.models.")]:
            raise ReportError(f"{path}: {text(named[0], 80)} names code to run, which is not allowed")
    elif path.suffix == ".json":
        raw = parse(read_bytes(path, limits.TEXT_FILE), str(path))
        if named := [key for key in CODE_KEYS if key in raw]:
            raise ReportError(f"{path}: {named[0]} names code to run, which is not allowed")


def _check_fits(root: Path, theirs: Results, runs: Sequence[Run]) -> None:
    """Refuse runs that an existing suite does not plan, because they would never be shown."""
    if not (root / layout.SUITE).is_file():
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
    """Is the run missing in the results folder? Other files than the bundle's are refused."""
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
            f"{folder}: exists with other files than the bundle's, and runs are never overwritten; move it away, "
            "import into another folder with --results, or take the other runs with --only-missing"
        )
    return False


def _same(entry: Entry, root: Path) -> bool:
    path = root / entry.path
    return path.is_file() and path.stat().st_size == entry.bytes and file_digest(path) == entry.sha256


def _place(staged: Path, runs: Sequence[Run], found: Imported) -> None:
    """Move runs with their marks, and suite.json last: without it a report shows nothing of a partial import."""
    root = found.results
    mark = Mark(found.sha256, datetime.now(UTC).isoformat(timespec="seconds"))
    for run in runs:
        folder = staged / run.folder
        if (folder / layout.SUCCESSOR).is_dir():
            (folder / layout.SUCCESSOR).rename(folder / layout.IMPORTED_SUCCESSOR)
        replace_text(folder / layout.MARK, written(replace(mark, run_id=run.run_id)))
        target = root / run.folder
        target.parent.mkdir(parents=True, exist_ok=True)
        place_folder(folder, target)  # fails if the run exists by now: a folder with files is never replaced
    _place_speed(staged, mark, found)
    if not (root / layout.SUITE).exists():
        _mark_file(root, mark, layout.SUITE, read_bytes(staged / layout.SUITE))
        (staged / layout.SUITE).rename(root / layout.SUITE)
    sync_entries(root)


def _place_speed(staged: Path, mark: Mark, found: Imported) -> None:
    """Place the timing without its key, because it is another machine's and not current here."""
    path, root = staged / layout.SPEED, found.results
    if not path.is_file():
        return
    raw = load(path)
    if (root / layout.SPEED).exists():
        if _conditions(load(root / layout.SPEED)) != _conditions(raw):
            found.notes.append(f"{layout.SPEED} was not imported: timings of two machines do not mix")
        return
    data = (json.dumps(changed(raw, Speed, key=None), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    _mark_file(root, mark, layout.SPEED, data)
    replace_bytes(root / layout.SPEED, data)


def _conditions(raw: dict[str, Any]) -> tuple[Condition, ...]:
    return from_json(Speed, raw, layout.SPEED).conditions


def _mark_file(root: Path, mark: Mark, name: str, data: bytes) -> None:
    """Note in the results folder's own mark that a file with these bytes was imported."""
    path = root / layout.MARK
    known = read_mark(path).files if path.is_file() else {}
    replace_text(path, written(replace(mark, files={**known, name: as_digest(data)})))


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A folder on the same disk, removed afterwards; so is `root` if it was created and stayed empty."""
    made = not root.exists()
    staged = stage(root)
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        for folder in (staged.parent, *([root] if made else [])):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _check_space(root: Path, bundle: Bundle) -> None:
    place = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    needed, free = sum(entry.bytes for entry in bundle.entries) + SPARE, shutil.disk_usage(place).free
    if free < needed:
        raise ReportError(f"{root}: the bundle needs {size(needed)}, {size(free)} are free; choose another --results")


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
