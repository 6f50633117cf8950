"""Task data: from a folder (GLUE_DIR), from the hub at a pinned revision, or made by the demo's generator.

Data from every source is checked against the task table before use: columns, label names and order, label values, row
counts, missing text. Another label order would silently turn 84 % MNLI accuracy into 10 % (TinyBERT issue 229).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.hub import told
from benchmarks.base.identity import packages
from benchmarks.demo import tasks as demo
from benchmarks.tasks import kinds
from benchmarks.tasks.formats import standard
from benchmarks.tasks.official import other_counts
from benchmarks.tasks.own.facts import Facts
from benchmarks.tasks.settings import Data
from benchmarks.tasks.table import Task
from results.format.errors import UserError
from results.format.untrusted import file_digest

if TYPE_CHECKING:  # they take a second to import, which a plan of checked data saves
    import pandas as pd
    from datasets import Dataset


TRAIN = "train"


@dataclass(frozen=True)
class Source:
    """The place of one task's data. `fingerprint` identifies the data: a sha256, or dataset@revision. `given`: the
    user's folder or file, of which `folder` may be a converted copy. `facts`: of a user's own data."""

    task: Task
    folder: str | None  # None: the hub, or the generator for a synthetic task
    dataset: str
    revision: str | None
    fingerprint: str
    given: str | None = None
    facts: Facts | None = None


def find_source(task: Task, data: Data) -> Source:
    """Locate the data and fingerprint it. Raises `SuiteError` for a missing folder, file or pinned revision."""
    if task.synthetic:
        found = hashlib.sha256()
        for name, split in sorted(_generate(task.name).items()):
            found.update(name.encode() + split.to_json(orient="split").encode())
        return Source(task, None, "generator", None, found.hexdigest())
    folder = data.path or os.environ.get("GLUE_DIR")
    if folder is None:
        if data.revision is None:
            raise SuiteError(
                f"{task.name}: no data: set GLUE_DIR to a folder of <task>/<split>.parquet, or data.revision"
            )
        return Source(task, None, data.dataset, data.revision, f"{data.dataset}@{data.revision}")
    if not Path(folder).is_dir():
        raise SuiteError(f"{task.name}: the data folder {folder} does not exist: correct GLUE_DIR (or data.path)")
    names = [split_file(task, split) for split in splits_of(task)]
    place = standard(Path(folder), task, splits_of(task))
    if place is None:
        path = next(path for path in (Path(folder) / name for name in names) if not path.is_file())
        raise SuiteError(f"{task.name}: {path} is missing: add it, or leave the task out with --tasks")
    whole = fingerprint(task, {name: file_digest(place / name) for name in names})
    return Source(task, str(place) if place != Path(folder) else folder, data.dataset, None, whole, folder)


def splits_of(task: Task) -> tuple[str, ...]:
    """The splits that a run reads."""
    return TRAIN, *task.dev


def split_file(task: Task, split: str) -> str:
    """A split's file, relative to the data folder."""
    return f"{task.name}/{split}.parquet"


def fingerprint(task: Task, digests: Mapping[str, str]) -> str:
    """One sha256 over the splits, from the sha256 of each file (hexadecimal digits, by `split_file`)."""
    whole = hashlib.sha256()
    for split in splits_of(task):
        whole.update(split.encode() + bytes.fromhex(digests[split_file(task, split)]))
    return whole.hexdigest()


def check_splits(source: Source) -> list[str]:
    """Make the checks of `load_splits` once per machine, data and versions. Returns warnings. Raises `SuiteError`."""
    versions = packages(("datasets", "pyarrow"))
    key = [
        source.fingerprint,
        asdict(source.task),
        versions,
        hash_of("benchmarks.tasks.data", "benchmarks.tasks.official", kinds.module_of(source.task.kind)),
    ]
    found: list[str] = machine_cache.once("data", list[str], key, lambda: _odd_labels(source))
    odd = [f"{place_of(source, split)}: {what}" for split, what in zip(found[::2], found[1::2], strict=True)]
    return odd + [f"{source.task.name}: {what}" for what in (source.facts.warnings if source.facts else ())]


def _odd_labels(source: Source) -> list[str]:
    """The splits whose labels are not those of the official ones, each followed by what differs."""
    rows = {split: rows.data["label"].to_pylist() for split, rows in load_splits(source).items()}
    odd = {split: other_counts(source.task.name, split, labels) for split, labels in rows.items()}
    return [part for split, what in odd.items() if what for part in (split, what)]


@lru_cache(maxsize=8)
def load_splits(source: Source) -> dict[str, Dataset]:
    """Train and dev splits, checked. Raises `SuiteError` for data that does not fit the task."""
    splits = {}
    for split in (TRAIN, *source.task.dev):
        try:
            splits[split] = read_split(source, split)
        except UserError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            line = " ".join(str(error).split())
            raise SuiteError(f"{place_of(source, split)} cannot be read: {line}") from None
        _check(source, split, splits[split])
    return splits


def read_split(source: Source, split: str) -> Dataset:
    """A split from the folder, the generator or the hub, without checks."""
    from datasets import Dataset

    task = source.task
    if task.synthetic:
        return Dataset.from_pandas(_generate(task.name)[split], preserve_index=False)
    if source.folder is None:
        return _from_hub(source, split)
    return Dataset(pq.read_table(Path(source.folder) / task.name / f"{split}.parquet"))


def _from_hub(source: Source, split: str) -> Dataset:
    from datasets import load_dataset

    try:
        return load_dataset(source.dataset, source.task.name, split=split, revision=source.revision)
    except Exception as error:  # the hub client raises a dozen kinds of error
        line = " ".join(str(error).split())[:200]
        raise SuiteError(f"{place_of(source, split)} {told(error, line)}, or set GLUE_DIR to a local copy") from None


@lru_cache(maxsize=1)
def _generate(name: str) -> dict[str, pd.DataFrame]:
    return demo.load(name)


def place_of(source: Source, split: str) -> str:
    """The place of a split in words, for messages."""
    where = (
        source.given or source.folder or (f"{source.dataset}@{source.revision}" if source.revision else source.dataset)
    )
    return f"{source.task.name}: split {split} of {where}"


def check_revision(source: Source, split: str, rows: Dataset) -> None:
    """Raises `SuiteError` for rows of another commit than the pinned one. Where the hub cannot be asked, datasets gives
    the newest that it has in its cache, with a warning, whatever commit was asked for."""
    if source.folder is None and source.revision is not None:
        check_commit(place_of(source, split), source.revision, rows, "set GLUE_DIR to a local copy")


def check_commit(place: str, revision: str, rows: Dataset, instead: str) -> None:
    """Raises `SuiteError` unless all rows are of the commit `revision`."""
    if found := {Path(file["filename"]).parent.name for file in rows.cache_files} - {revision}:
        raise SuiteError(
            f"{place} cannot be had: the hub is out of reach, and what datasets gives from its cache is of "
            f"{min(found)}: connect this machine, or {instead}"
        )


def _check(source: Source, split: str, rows: Dataset) -> None:
    task, place = source.task, place_of(source, split)
    check_revision(source, split, rows)
    wanted = [*task.columns, "label", "idx"]
    missing = [column for column in wanted if column not in rows.column_names]
    if missing:
        raise SuiteError(f"{place} has no column {missing[0]!r} (it has {', '.join(rows.column_names)})")
    expected = task.train_rows if split == TRAIN else task.dev[split]
    if len(rows) != expected:
        raise SuiteError(f"{place} has {len(rows):,} rows, the official split has {expected:,}: get the whole file")
    _check_numbers(place, rows)
    kind = kinds.find(task.kind)
    kind.check(place, task, rows)
    if source.facts is None:  # the scale of a user's own data is that of the data
        kind.check_range(place, task, rows)


def _check_numbers(place: str, rows: Dataset) -> None:
    """Refuse an `idx` that a report could not join predictions by."""
    idx = rows.data["idx"]
    if not pa.types.is_integer(idx.type):
        raise SuiteError(f"{place}: column 'idx' is {idx.type}, but examples are numbered by whole numbers")
    if idx.null_count or len(pc.unique(idx)) != len(idx):
        raise SuiteError(f"{place}: column 'idx' has missing or repeated numbers: number the examples from 0")
