"""GLUE in the forms that people have: GLUE's own TSV files, and the hub's `train-00000-of-00001.parquet`.

    folder = standard(Path("glue_data"), find_task("rte"), ("train", "validation"))     # holds rte/train.parquet, …

Runs read `TASK/SPLIT.parquet`. Files of another form are converted once per machine, into the cache. A single file of
the hub is copied as it is, so that its runs have the ids of the same file under the plain name.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.identity import packages
from benchmarks.tasks.table import Task
from results.format import limits
from results.format.untrusted import file_digest, text


@dataclass(frozen=True)
class Tsv:
    """A task in GLUE's download: its folder, and the names of its text columns and of its label. CoLA's files have no
    header, so its columns are numbers."""

    folder: str
    texts: tuple[str | int, ...]
    label: str | int = "label"


TSV = {
    "cola": Tsv("CoLA", (3,), 1),
    "mnli": Tsv("MNLI", ("sentence1", "sentence2"), "gold_label"),
    "mrpc": Tsv("MRPC", ("#1 String", "#2 String"), "Quality"),
    "qnli": Tsv("QNLI", ("question", "sentence")),
    "qqp": Tsv("QQP", ("question1", "question2"), "is_duplicate"),
    "rte": Tsv("RTE", ("sentence1", "sentence2")),
    "sst2": Tsv("SST-2", ("sentence",)),
    "stsb": Tsv("STS-B", ("sentence1", "sentence2"), "score"),
    "wnli": Tsv("WNLI", ("sentence1", "sentence2")),
}


def standard(folder: Path, task: Task, splits: Sequence[str]) -> Path | None:
    """A folder that holds `TASK/SPLIT.parquet` for every split, or None if a split has no file of any form."""
    files = {split: _files(folder, task, split) for split in splits}
    if not all(files.values()):
        return None
    for path in chain(*files.values()):
        check_rows(path)
    if all(found == [folder / task.name / f"{split}.parquet"] for split, found in files.items()):
        return folder
    digests = [[split, [file_digest(path) for path in found]] for split, found in files.items()]
    key = [task.name, digests, hash_of("benchmarks.tasks.formats"), packages(("pyarrow",))]

    def convert(place: Path) -> None:
        (place / task.name).mkdir()
        for split, found in files.items():
            _convert(task, found, place / task.name / f"{split}.parquet")

    return machine_cache.made("glue", key, convert)


def check_rows(path: Path) -> None:
    """Raises `SuiteError` if a parquet file says that it has more rows than any task: equal rows need no bytes in a
    file, but they do in memory. A file that cannot be read is refused where it is read."""
    with contextlib.suppress(OSError, pa.ArrowException):
        if (rows := pq.read_metadata(path).num_rows) > limits.DATA_ROWS:
            raise SuiteError(f"{path} has {rows:,} rows; the limit is {limits.DATA_ROWS:,}")


def _files(folder: Path, task: Task, split: str) -> list[Path]:
    """The files that hold a split, of the first form that is there."""
    own = folder / task.name
    if (own / f"{split}.parquet").is_file():
        return [own / f"{split}.parquet"]
    if found := sorted(path for path in own.glob(f"{split}-*") if _part(path)):
        return found
    name = f"{split.replace('validation', 'dev')}.tsv"
    places = [folder / TSV[task.name].folder, own] if task.name in TSV else []
    return [place / name for place in places if (place / name).is_file()][:1]


def _part(path: Path) -> int:
    """The number of parts of which the file is one by its name; 0 for another name."""
    found = re.fullmatch(r"\w+-[0-9]{1,9}-of-([0-9]{1,9})\.parquet", path.name)
    return int(found[1]) if found else 0


def _convert(task: Task, files: list[Path], target: Path) -> None:
    if files[0].suffix == ".tsv":
        pq.write_table(_table(task, files[0]), target)
    elif len(files) != (promised := _part(files[0]) or 1):
        raise SuiteError(f"{task.name}: {files[0].parent} has {len(files)} of {promised} parts of {target.stem}")
    elif len(files) == 1:
        shutil.copyfile(files[0], target)
    else:
        try:
            pq.write_table(pa.concat_tables([pq.read_table(path) for path in files]), target)
        except (OSError, pa.ArrowException) as error:  # pyarrow raises OSError for damaged data
            raise SuiteError(f"{task.name}: {files[0].parent}: {' '.join(str(error).split())}") from None


def _table(task: Task, path: Path) -> pa.Table:
    try:
        rows = list(_rows(task, path))
        columns: dict[str, Any] = {
            name: pa.array([row[1][place] for row in rows], pa.string()) for place, name in enumerate(task.columns)
        }
        columns["label"] = pa.array([row[2] for row in rows], pa.float32() if task.regression else pa.int64())
        return pa.table(columns | {"idx": pa.array([row[0] for row in rows], pa.int32())})
    except (ValueError, OverflowError) as error:  # no such column, not UTF-8, or a label that is not a number
        raise SuiteError(f"{task.name}: {path} is not GLUE's {path.name} ({text(error, 120)})") from None


def _rows(task: Task, path: Path) -> Iterator[tuple[int, list[str], float | int]]:
    """Number, texts and label of each row; a row that lacks a text or its label is left out, as in nyu-mll/glue. There
    are no quotes in GLUE's files: a quotation mark is text."""
    form = TSV[task.name]
    with path.open(encoding="utf-8-sig") as file:
        header = [] if isinstance(form.label, int) else file.readline().rstrip("\n").split("\t")
        wanted = [*form.texts, form.label]
        places = [name if isinstance(name, int) else header.index(name) for name in wanted]
        for number, line in enumerate(file):
            parts = line.rstrip("\n").split("\t")
            if len(parts) > max(places):
                *texts, label = (parts[place] for place in places)
                yield number, texts, _label(task, label)


def _label(task: Task, label: str) -> float | int:
    if task.regression:
        return float(label)
    return task.labels.index(label) if label in task.labels else int(label)
