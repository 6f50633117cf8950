"""From a user's own data to a task like any other: `NAME/train.parquet` and `NAME/validation.parquet` in the cache.

    source = own_source("trec", own)        # source.task has labels and row counts, source.facts what was found

The files are converted once per machine, content and settings. Everything after that (fingerprint, private copies,
tokens) treats the task as one of GLUE's. A run's identity comes from the converted rows, not from a path, so the same
rows in another file are the same data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.hub import told
from benchmarks.base.identity import packages
from benchmarks.tasks import kinds
from benchmarks.tasks.data import TRAIN, Source, check_commit, fingerprint, split_file
from benchmarks.tasks.own.checks import check_splits
from benchmarks.tasks.own.facts import Facts
from benchmarks.tasks.own.files import Part, Rows, check_file, of_dataset, read_file
from benchmarks.tasks.own.held_out import dev_rows
from benchmarks.tasks.own.labels import Labels
from benchmarks.tasks.settings import OwnData
from benchmarks.tasks.table import Task
from results.format.errors import UserError
from results.format.files import replace_text
from results.format.untrusted import file_digest

DEV = "validation"
CODE = ("files", "labels", "checks", "held_out", "source")
DESCRIBES = {"title", "max_length", "train", "dev"}  # settings that do not change the converted rows
NOTES = {"f1_accuracy": "mean of F1 and accuracy", "pearson_spearman": "mean of Pearson and Spearman",
         "likelihood": "score = 100 / perplexity"}  # fmt: skip


@dataclass(frozen=True)
class _Given:
    """Where the user's data is: a place for messages, an identity, and how each split is read."""

    place: str
    identity: Any
    read: dict[str, Callable[[], Rows]]


def own_source(name: str, own: OwnData) -> Source:
    """The converted data of a task. Raises `SuiteError` for data that cannot be trained on."""
    try:
        place, given = _converted(name, own)
    except UserError as error:
        raise SuiteError(f"{name}: {error}") from None
    facts = TypeAdapter(Facts).validate_json((place / "facts.json").read_bytes())
    task = _task(name, own, facts)
    digests = {split_file(task, split): file_digest(place / split_file(task, split)) for split in facts.rows}
    return Source(task, str(place), "", None, fingerprint(task, digests), given.place, facts)


def _converted(name: str, own: OwnData) -> tuple[Path, _Given]:
    given = _files(own) if own.train else _hub(own)
    code = hash_of(kinds.module_of(own.task_kind), *(f"benchmarks.tasks.own.{module}" for module in CODE))
    key = [
        name,
        given.identity,
        own.model_dump(exclude=DESCRIBES - kinds.find(own.task_kind).converts_by),
        code,
        packages(("pyarrow", "datasets")),
    ]
    return machine_cache.made("own", key, lambda folder: _convert(name, own, given, folder)), given


def _task(name: str, own: OwnData, facts: Facts) -> Task:
    notes = [NOTES[facts.score]] if facts.score in NOTES else []
    notes += ["dev is a part of the training data"] if facts.held_out else []
    return Task(
        name, own.title or name, tuple(own.columns), facts.score, facts.rows[TRAIN], {DEV: facts.rows[DEV]},
        facts.labels, max_length=own.max_length, kind=own.task_kind, notes=tuple(notes),
        scale=None if own.task_kind == kinds.CLASSIFICATION else facts.scale,
    )  # fmt: skip


def _files(own: OwnData) -> _Given:
    paths = {split: Path(given) for split, given in ((TRAIN, own.train), (DEV, own.dev)) if given}
    for path in paths.values():
        if str(path).startswith("$"):
            raise SuiteError(f"{path}: set {path.parts[0].strip('${}')} to the folder that holds it")
        check_file(path)
    digests = {split: file_digest(path) for split, path in paths.items()}
    names = {split: [path.suffix.lower(), digests[split]] for split, path in paths.items()}
    read = {split: _reading(path, digests[split]) for split, path in paths.items()}
    return _Given(str(own.train), names, read)


def _reading(path: Path, digest: str) -> Callable[[], Rows]:
    return lambda: read_file(path, path.name, digest)


def _hub(own: OwnData) -> _Given:
    splits = {TRAIN: own.train_split} | ({DEV: own.dev_split} if own.dev_split else {})
    place = f"{own.dataset}@{own.revision}"
    read = {split: _downloading(own, name, f"{place} split {name}") for split, name in splits.items()}
    return _Given(place, [own.dataset, own.config, own.revision, splits], read)


def _downloading(own: OwnData, split: str, place: str) -> Callable[[], Rows]:
    def read() -> Rows:
        from datasets import load_dataset

        try:
            found = load_dataset(own.dataset, own.config, split=split, revision=own.revision)
        except Exception as error:  # the hub client raises a dozen kinds of error
            line = " ".join(str(error).split())[:200]
            raise SuiteError(f"{place} {told(error, line)}, or name local files with train and dev") from None
        check_commit(place, str(own.revision), found, "name local files with train and dev")
        return of_dataset(found, place)

    return read


def _convert(name: str, own: OwnData, given: _Given, folder: Path) -> None:
    kind = kinds.find(own.task_kind)
    rows = {split: kind.unfolded(own, read()) for split, read in given.read.items()}
    labels: Labels = kind.find_labels(own, rows[TRAIN])
    columns = {split: kind.converted(own, labels, found) for split, found in rows.items()}
    chosen = {split: list(range(len(found))) for split, found in rows.items()}
    held_out = DEV not in rows
    if held_out:
        rows[DEV], columns[DEV] = rows[TRAIN], columns[TRAIN]
        classes = columns[TRAIN]["label"].to_pylist() if labels.kind == kinds.CLASSIFICATION else []
        chosen[TRAIN], chosen[DEV] = dev_rows(own, rows[TRAIN], classes)
    train, dev = (_part(rows[split], chosen[split], columns[split]) for split in (TRAIN, DEV))
    warnings = [*kind.compared(own, labels, train, dev), *check_splits(own, train, dev)]
    (folder / name).mkdir()
    for split, part in ((TRAIN, train), (DEV, dev)):
        arrays = part.columns | {"idx": pa.array(part.chosen, pa.int32())}
        pq.write_table(pa.table(arrays), folder / name / f"{split}.parquet")
    counts = {TRAIN: len(train.chosen), DEV: len(dev.chosen)}
    score = own.score or labels.score
    facts = Facts(labels.kind, score, labels.labels, labels.scale, counts, held_out, tuple(warnings))
    replace_text(folder / "facts.json", TypeAdapter(Facts).dump_json(facts).decode())


def _part(rows: Rows, chosen: list[int], columns: dict[str, pa.Array]) -> Part:
    return Part(rows, chosen, {name: values.take(pa.array(chosen)) for name, values in columns.items()})
