"""Bundles: the finished runs of a suite as one archive that another lab can check and import.

    packed = pack(Path("results/runs/minilm"), Path("minilm.zip"))     # packed.file, packed.sha256, packed.runs

A bundle is a zip whose first entry, bundle.json, lists every other one with its size and sha256. Entries are stored
unpacked in a fixed order with a fixed time, so that the same results give the same bytes with any zlib; parquet is
packed already. This module decides, by name, which files a bundle may hold: suite.json, speed.json, the files of runs,
and weights on request. `bundles/archive.py` reads bundles, `bundles/importing.py` imports them. docs/results.md has the
format.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from results.format import layout, limits
from results.format.bundles.consistency import check_consistent
from results.format.documents.bundle import BundleList, Entry
from results.format.documents.codec import document
from results.format.errors import ReportError
from results.format.files import replacing
from results.format.reader import read
from results.format.records import Results, Run
from results.format.untrusted import SLUG, file_digest, size

KIND = "results bundle"
LIST = "bundle.json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
FINISHED = ("done", "diverged")
RUN_FILES = (layout.CONFIG, layout.MANIFEST, layout.METRICS, layout.PREDICTIONS, layout.RESULT)
NEEDED = (layout.CONFIG, layout.MANIFEST, layout.RESULT)
WEIGHT_SUFFIXES = (".safetensors", ".json", ".txt", ".model")
CHUNK = limits.MIB


@dataclass(frozen=True)
class Packed:
    """The result of `pack`: the archive, its sha256, the number of its runs, and the planned runs without one."""

    file: Path
    sha256: str
    runs: int
    left_out: tuple[str, ...]


def largest(path: str) -> int | None:
    """The size limit of a bundle's file in bytes; None for a path that a bundle may not hold."""
    if path in (layout.SUITE, layout.SPEED):
        return limits.FILES[path]
    parts = path.split("/")
    inner = "/".join(parts[3:])
    if not _is_run(parts):
        return None
    if inner in RUN_FILES:
        return limits.FILES[inner]
    if inner == f"{layout.SUCCESSOR}/{layout.POOLING}":
        return limits.MODEL_CONFIG
    suffix = Path(inner).suffix
    if len(parts) != 5 or parts[3] != layout.SUCCESSOR or suffix not in WEIGHT_SUFFIXES:
        return None
    return limits.WEIGHTS_FILE if suffix == ".safetensors" else limits.TEXT_FILE


def _is_run(parts: Sequence[str]) -> bool:
    """Does a path of plain names lead to a run's folder?"""
    plain = all(SLUG.fullmatch(part) and ".." not in part for part in parts)
    return plain and layout.RUN.fullmatch("/".join(parts[:3])) is not None


def is_weights(path: str) -> bool:
    """Does a file of a bundle belong to a model?"""
    return path.count("/") >= 4


def pack(results_folder: Path, output: Path | None = None, weights: bool = False) -> Packed:
    """Write the finished runs of a results folder to `output` (default: `<suite>.zip` here), whole or not at all.

    Raises `ReportError` for a folder that cannot be read or imported, or that has no finished run.
    """
    results = read(Path(results_folder))
    runs = [run for run in results.runs if run.status in FINISHED]
    if not runs:
        raise ReportError(f"{results.root}: no run is finished; run the suite first")
    for run in runs:
        check_consistent(results, run)
    sources = dict(_sources(results, runs, weights))
    entries = [_entry(path, source) for path, source in sorted(sources.items())]
    listed = document(BundleList(KIND, results.suite.name, weights, tuple(entries)))
    file = output or Path(f"{results.suite.name}.zip")
    digest = _write(file, (json.dumps(listed, indent=1) + "\n").encode(), entries, sources)
    return Packed(file, digest, len(runs), tuple(_left_out(results)))


def _sources(results: Results, runs: Sequence[Run], weights: bool) -> Iterator[tuple[str, Path]]:
    root = results.root
    yield layout.SUITE, root / layout.SUITE
    if (root / layout.SPEED).is_file():
        yield layout.SPEED, root / layout.SPEED
    for run in runs:
        folder = root / run.folder
        for name in RUN_FILES:
            if (folder / name).is_file():
                yield f"{run.folder}/{name}", folder / name
        kept = [folder / name for name in (layout.SUCCESSOR, layout.IMPORTED_SUCCESSOR) if (folder / name).is_dir()]
        for path in sorted(kept[0].rglob("*")) if weights and kept else ():
            if path != kept[0] / Path(layout.POOLING).parent:
                yield f"{run.folder}/{layout.SUCCESSOR}/{path.relative_to(kept[0]).as_posix()}", path


def _entry(path: str, source: Path) -> Entry:
    most = largest(path)
    if most is None or source.is_symlink() or not source.is_file():
        raise ReportError(f"{source}: a bundle may not hold such a file (only plain files, safetensors); move it away")
    if source.stat().st_size > most:
        raise ReportError(f"{source}: larger than {size(most)}; a suite has no such file, remove or restore it")
    return Entry(path, source.stat().st_size, file_digest(source))


def _write(file: Path, listed: bytes, entries: Sequence[Entry], sources: dict[str, Path]) -> str:
    """Write the archive, whole or not at all; returns its sha256."""
    try:
        with replacing(file) as out:
            with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_header(LIST, len(listed)), listed)
                for entry in entries:
                    with archive.open(_header(entry.path, entry.bytes), "w") as inner:
                        _copy(entry, sources[entry.path], inner)
            out.seek(0)
            return hashlib.file_digest(out, "sha256").hexdigest()
    except OSError as error:
        raise ReportError(f"{file}: cannot be written ({error.strerror or error}); choose another --output") from None


def _header(path: str, count: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, EPOCH)
    info.create_system = 3  # Unix on every platform, so that the bytes are the same
    info.external_attr = 0o644 << 16
    info.file_size = count  # zipfile decides by it whether the entry needs 64-bit sizes
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
    while chunk := file.read(CHUNK):
        yield chunk


def _left_out(results: Results) -> Iterator[str]:
    for status in ("failed", "missing"):
        if count := sum(run.status == status for run in results.runs):
            yield f"{count} {status}"
