"""Bundles: the finished runs of a suite as one archive that another lab can check and import.

    packed = pack(Path("results/runs/minilm"), Path("minilm.zip"))     # packed.file, packed.sha256, packed.runs

A bundle is a zip whose first entry, bundle.json, lists every other one with its size and sha256. Entries are stored as
they are and in a fixed order with a fixed time, so that the same results give the same bytes, whatever zlib is
installed; parquet is packed already. What may be in one is decided here, by name, for both directions:
suite.json, speed.json and the files of runs; weights only where they were asked for. `reports/archive.py`
reads bundles, `reports/importing.py` puts them in place. docs/results.md has the format.
"""

import hashlib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reports import limits
from reports.consistency import check_consistent
from reports.errors import ReportError
from reports.reader import read
from reports.results import Results, Run
from reports.untrusted import SLUG, file_digest, size

SCHEMA = 1
KIND = "results bundle"
LIST = "bundle.json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
FINISHED = ("done", "diverged")
RUN_FILES = ("config.json", "manifest.json", "metrics.jsonl", "predictions.parquet", "result.json")
NEEDED = ("config.json", "manifest.json", "result.json")
WEIGHTS = "successor"
# Where an import puts weights: under a name that no run looks for, so that nothing is trained from a stranger's model
# unless a suite names the folder.
IMPORTED_WEIGHTS = "imported-successor"
WEIGHT_SUFFIXES = (".safetensors", ".json", ".txt", ".model")
CHUNK = limits.MIB
FOLDER = re.compile(r"([^/]+)/([^/]+)/seed-\d{1,10}-([0-9a-f]{16})")


@dataclass(frozen=True)
class Packed:
    """What `pack` made: the archive, its sha256, how many runs are in it and which planned ones are not."""

    file: Path
    sha256: str
    runs: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One file of a bundle as bundle.json lists it."""

    path: str
    bytes: int
    sha256: str

    @property
    def folder(self) -> str | None:
        """The run folder it belongs to, None for suite.json and speed.json."""
        parts = self.path.split("/")
        return "/".join(parts[:3]) if len(parts) > 1 else None


def largest(path: str) -> int | None:
    """How many bytes a bundle's file of this path may have; None for a path that no bundle holds."""
    if path in ("suite.json", "speed.json"):
        return limits.FILES[path]
    parts = path.split("/")
    if len(parts) not in (4, 5) or not FOLDER.fullmatch("/".join(parts[:3])):
        return None
    if not all(SLUG.fullmatch(part) and ".." not in part for part in parts):
        return None
    if len(parts) == 4:
        return limits.FILES[parts[3]] if parts[3] in RUN_FILES else None
    suffix = Path(parts[4]).suffix
    if parts[3] != WEIGHTS or suffix not in WEIGHT_SUFFIXES:
        return None
    return limits.WEIGHTS_FILE if suffix == ".safetensors" else limits.TEXT_FILE


def is_weights(path: str) -> bool:
    """Does a file of a bundle belong to a model?"""
    return path.count("/") == 4


def pack(results_folder: Path, output: Path | None = None, weights: bool = False) -> Packed:
    """Write the finished runs of a results folder to `output` (default: `<suite>.zip` here), whole or not at all.

    Raises `ReportError` for a folder that cannot be read or would not be imported, and where nothing is finished.
    """
    results = read(Path(results_folder))
    runs = [run for run in results.runs if run.status in FINISHED]
    if not runs:
        raise ReportError(f"{results.root}: no run is finished; run the suite first")
    for run in runs:
        check_consistent(results, run)
    sources = dict(_sources(results, runs, weights))
    entries = [_entry(path, source) for path, source in sorted(sources.items())]
    document = {"schema": SCHEMA, "kind": KIND, "suite": results.suite.name, "weights": weights,
                "files": [{"path": e.path, "bytes": e.bytes, "sha256": e.sha256} for e in entries]}  # fmt: skip
    file = output or Path(f"{results.suite.name}.zip")
    digest = _write(file, (json.dumps(document, indent=1) + "\n").encode(), entries, sources)
    return Packed(file, digest, len(runs), tuple(_left_out(results)))


def _sources(results: Results, runs: Sequence[Run], weights: bool) -> Iterator[tuple[str, Path]]:
    """Each path in the bundle with the file it comes from."""
    root = results.root
    yield "suite.json", root / "suite.json"
    if (root / "speed.json").is_file():
        yield "speed.json", root / "speed.json"
    for run in runs:
        folder = root / run.folder
        for name in RUN_FILES:
            if (folder / name).is_file():
                yield f"{run.folder}/{name}", folder / name
        kept = next((folder / name for name in (WEIGHTS, IMPORTED_WEIGHTS) if (folder / name).is_dir()), None)
        for path in sorted(kept.iterdir()) if weights and kept else ():
            yield f"{run.folder}/{WEIGHTS}/{path.name}", path


def _entry(path: str, source: Path) -> Entry:
    most = largest(path)
    if most is None or source.is_symlink() or not source.is_file():
        raise ReportError(f"{source}: no such file belongs in a bundle (plain files, safetensors); move it away")
    if source.stat().st_size > most:
        raise ReportError(f"{source}: larger than {size(most)}; this is no such file of a suite, remove or restore it")
    return Entry(path, source.stat().st_size, file_digest(source))


def _write(file: Path, listed: bytes, entries: Sequence[Entry], sources: dict[str, Path]) -> str:
    """The archive under a temporary name, synced, then renamed; its sha256."""
    partial = None
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
        partial = Path(name)
        with os.fdopen(handle, "w+b") as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_header(LIST, len(listed)), listed)
                for entry in entries:
                    with archive.open(_header(entry.path, entry.bytes), "w") as inner:
                        _copy(entry, sources[entry.path], inner)
            out.flush()
            os.fsync(out.fileno())
            out.seek(0)
            digest = hashlib.file_digest(out, "sha256").hexdigest()
        partial.chmod(0o644)
        partial.replace(file)
    except OSError as error:
        raise ReportError(f"{file}: cannot be written ({error.strerror or error}); choose another --output") from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return digest


def _header(path: str, count: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, EPOCH)
    info.create_system = 3  # Unix on every platform, or the bytes would tell
    info.external_attr = 0o644 << 16
    info.file_size = count  # tells zipfile whether the entry needs 64-bit sizes
    return info


def _copy(entry: Entry, source: Path, out: IO[bytes]) -> None:
    digest = hashlib.sha256()
    with source.open("rb") as file:
        for chunk in chunks(file):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != entry.sha256:
        raise ReportError(f"{source}: changed while it was packed; wait until nothing runs there and pack again")


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """A file in pieces of a mebibyte."""
    while chunk := file.read(CHUNK):
        yield chunk


def _left_out(results: Results) -> Iterator[str]:
    for status in ("failed", "missing"):
        if count := sum(run.status == status for run in results.runs):
            yield f"{count} {status}"
