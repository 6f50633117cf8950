"""Read the predictions of every run from predictions.parquet and check them against result.json.

    answers = read_answers(results, "last")["rte"]     # no entry if no run of the task has predictions
    answers.given["kd"][1]                             # predictions of arm kd, seed 1, in the order of answers.idx

Only the chosen trial's runs and one checkpoint are read. A file is refused if it is too large for the task, if its
examples are not the task's, if predictions and logits disagree, or if its score is not the one in result.json: an
interval of other predictions than the score's would be worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from results.format import layout, limits
from results.format.documents.run import COLUMN
from results.format.errors import ReportError
from results.format.records import PROTOCOLS, Results, Run, Task
from results.format.scores import CORRELATIONS, SHARES, SUMMED, Kind, score
from results.format.trials import chosen_runs
from results.format.untrusted import inside, shown, size, text

COLUMNS = tuple(name for name in COLUMN.columns() if name != COLUMN.sums)
WORDS = (COLUMN.checkpoint, COLUMN.split)  # columns of text, read as dictionaries so that a long value is not repeated
LONGEST_WORD = 100  # characters
# The defaults of pyarrow and pandas. Other codecs may unpack to thousands of times their size.
CODECS = ("SNAPPY", "UNCOMPRESSED")
# pyarrow's thread pool now and then aborts the process as it exits ("terminate called without an active exception", one
# `drift` in 32 under load, after the right answer was printed). These files are read in milliseconds without it.
THREADS = False
TOLERANCE = 1e-4  # points; one QQP example of 40,430 moves the score by 0.0025


@dataclass(frozen=True)
class Answers:
    """One task at one checkpoint: the examples of all dev splits in a row, and the predictions per arm and seed.

    `bounds` are the slices of the splits; `given` holds predictions (examples,), `logits` arrays (examples, outputs).
    Of a `summed` score, `given` holds the sums (examples, sums), labels are zeros and there are no logits.
    """

    task: str
    kind: Kind
    bounds: Mapping[str, slice]
    idx: NDArray[np.int64]
    labels: NDArray[Any]
    given: dict[str, dict[int, NDArray[Any]]] = field(default_factory=dict)
    logits: dict[str, dict[int, NDArray[np.float32]]] = field(default_factory=dict)

    @property
    def regression(self) -> bool:
        """True if predictions are values and not classes."""
        return self.kind in CORRELATIONS

    @property
    def summed(self) -> bool:
        """True if only the sums of each example are known."""
        return self.kind in SUMMED

    @property
    def classes(self) -> bool:
        """True if predictions are one class an example."""
        return not self.regression and not self.summed

    def has(self, arm: str, seeds: tuple[int, ...]) -> bool:
        """True if all these runs have predictions."""
        return bool(seeds) and set(seeds) <= set(self.given.get(arm, {}))


def read_answers(results: Results, protocol: str) -> dict[str, Answers]:
    """Answers per task, without tasks that have no predictions; raises `ReportError` for a wrong file."""
    found: dict[str, Answers] = {}
    for task in results.suite.tasks:
        for arm in results.suite.arms:
            for run in chosen_runs(results, task.name, arm.name, protocol):
                if run.at(protocol) is not None:
                    _add(results, task, run, protocol, found)
    return found


def check_run(results: Results, run: Run) -> None:
    """Check every checkpoint of one run's predictions against its scores; raises `ReportError`."""
    task = next(task for task in results.suite.tasks if task.name == run.task)
    for protocol in PROTOCOLS:
        if run.at(protocol) is not None:
            _add(results, task, run, protocol, {})


def _add(results: Results, task: Task, run: Run, protocol: str, found: dict[str, Answers]) -> None:
    path = inside(results.root, f"{run.folder}/{layout.PREDICTIONS}", run.folder)
    checkpoint = run.at(protocol)
    kind = score_kind(task, run, protocol)
    if not path.is_file() or checkpoint is None or kind is None:
        return
    columns = (COLUMN.split, COLUMN.idx, COLUMN.checkpoint, COLUMN.sums) if kind in SUMMED else COLUMNS
    table = _table(path, task, protocol, columns)
    new = _answers(path, task, kind, table)
    known = found.setdefault(task.name, new)
    if not (np.array_equal(known.idx, new.idx) and np.array_equal(known.labels, new.labels)):
        raise ReportError(f"{path}: other examples or labels than the other runs of {task.name}; run it again")
    given, logits = _sums(path, kind, table) if kind in SUMMED else _given(path, kind, table)
    mine = 100 * score(kind, known.bounds, known.labels, given[None, :])[0]
    if checkpoint.score is None or abs(mine - checkpoint.score) > TOLERANCE:
        stated = "none" if checkpoint.score is None else f"{checkpoint.score:.4f}"
        raise ReportError(f"{path}: give a score of {mine:.4f} where result.json states {stated}; run it again")
    known.given.setdefault(run.arm, {})[run.seed] = given
    if logits is not None:
        known.logits.setdefault(run.arm, {})[run.seed] = logits


def score_kind(task: Task, run: Run, protocol: str) -> Kind | None:
    """The formula of the task's score, by the metrics that the run or the task names; None if unknown."""
    if task.score in SUMMED or task.score in CORRELATIONS:
        return cast(Kind, task.score)
    checkpoint = run.at(protocol)
    named = " ".join([task.score, *(checkpoint.metrics if checkpoint else ())]).lower()
    words: dict[str, Kind] = {
        "matthews": "matthews_correlation", "f1": "f1_accuracy", "pearson": "pearson_spearman", "accuracy": "accuracy",
    }  # fmt: skip
    return next((kind for word, kind in words.items() if word in named), None)


def _table(path: Path, task: Task, protocol: str, columns: tuple[str, ...]) -> pa.Table:
    """One checkpoint's rows, sorted by split and idx; sizes are checked before anything is unpacked."""
    known = [count for count in task.dev_examples.values() if count is not None]
    most = 3 * sum(known) if known and len(known) == len(task.dev_examples) else limits.PREDICTION_ROWS
    largest = limits.FILES[layout.PREDICTIONS]
    try:
        if path.stat().st_size > largest:
            raise ReportError(f"{path}: larger than {size(largest)}; these are not predictions of a dev set")
        with pq.ParquetFile(path, read_dictionary=list(WORDS)) as file:
            check_sizes(path, file.metadata, most, limits.TOKEN_OUTPUTS if task.score in SUMMED else limits.OUTPUTS)
            absent = set(columns) - set(file.schema_arrow.names)
            if absent:
                raise ReportError(f"{path}: lacks the column {sorted(absent)[0]}; run it again")
            table = file.read(columns=list(columns), use_threads=THREADS)
        for name in WORDS:
            words = _plain_words(path, table[name])
            table = table.set_column(table.schema.get_field_index(name), name, words)
        table = table.filter(pc.equal(table[COLUMN.checkpoint], protocol))
        return table.sort_by([(COLUMN.split, "ascending"), (COLUMN.idx, "ascending")]).combine_chunks()
    except (OSError, KeyError, pa.ArrowException) as error:  # pyarrow has a KeyError for a damaged list of columns
        raise ReportError(f"{path}: not readable as parquet ({text(error, 120)}); run it again") from None


def check_sizes(path: Path, metadata: Any, most: int, most_values: int = limits.OUTPUTS) -> None:
    """Refuse, by its footer, a file of more than `most` rows or of more than `most_values` in a list, or one that
    unpacks to far more than its size."""
    if metadata.num_rows > most:
        raise ReportError(f"{path}: {metadata.num_rows:,} rows where the task's dev set allows {most:,}; run it again")
    values = 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        columns = [group.column(j) for j in range(group.num_columns)]
        largest = max((c.num_values for c in columns), default=0)
        values += largest
        if (
            largest > most_values * max(group.num_rows, 1)
            or values > limits.PREDICTION_VALUES
            or sum(c.total_uncompressed_size for c in columns) > limits.UNPACKED
        ):
            raise ReportError(f"{path}: unpacks to more than predictions of a dev set can hold; run it again")
        if packed := {c.compression for c in columns} - set(CODECS):
            raise ReportError(f"{path}: packed with {min(packed)}, only {' and '.join(CODECS)} are read; run it again")


def _plain_words(path: Path, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text, which parquet stores as a dictionary; refused if a word is absurdly long."""
    for chunk in column.chunks:
        words = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
        if not pa.types.is_string(words.type) and not pa.types.is_large_string(words.type):
            raise ReportError(f"{path}: checkpoint and split must be text; run it again")
        if (pc.max(pc.utf8_length(words)).as_py() or 0) > LONGEST_WORD:
            raise ReportError(f"{path}: the name of a checkpoint or split is absurdly long; run it again")
    return column.cast(pa.string())


def _answers(path: Path, task: Task, kind: Kind, table: pa.Table) -> Answers:
    """The examples of a file, checked against the suite's dev splits."""
    splits = np.asarray(table[COLUMN.split].to_pylist(), dtype=str)
    names, starts, counts = np.unique(splits, return_index=True, return_counts=True)
    sizes = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    expected = dict(task.dev_examples)
    if set(sizes) != set(expected) or any(expected[name] not in (None, sizes[name]) for name in sizes):
        raise ReportError(f"{path}: dev splits {shown(sizes)} are not the task's {shown(expected)}; run it again")
    bounds = {str(n): slice(int(s), int(s + c)) for n, s, c in zip(names, starts, counts, strict=True)}
    idx = _numbers(path, table, COLUMN.idx, np.int64)
    labels = np.zeros(len(idx)) if kind in SUMMED else _numbers(path, table, COLUMN.label, np.float64)
    if any((np.diff(idx[part]) <= 0).any() for part in bounds.values()):
        raise ReportError(f"{path}: an idx appears twice in a split; run it again")
    if kind not in CORRELATIONS and kind not in SUMMED:
        whole = labels.astype(np.int64)
        limit = 2 if kind in ("f1_accuracy", "matthews_correlation") else limits.OUTPUTS
        if (whole != labels).any() or (whole < 0).any() or (whole >= limit).any():
            raise ReportError(f"{path}: labels are not class ids from 0 to {limit - 1}; run it again")
        labels = whole
    return Answers(task.name, kind, bounds, idx, labels)


def _lists(path: Path, table: pa.Table, name: str, kind: Any) -> NDArray[Any]:
    """A column of lists of numbers, equally many in each row, as (rows, numbers)."""
    column = table[name].combine_chunks()
    lists = isinstance(column, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)) and not column.null_count
    if not lists or not (pa.types.is_floating(column.type.value_type) or pa.types.is_integer(column.type.value_type)):
        raise ReportError(f"{path}: {name} are not lists of numbers; run it again")
    widths = set(pc.unique(pc.list_value_length(column)).to_pylist())
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=kind)
    if len(widths) != 1 or not np.isfinite(flat).all() or flat.size < len(table):
        raise ReportError(f"{path}: {name} must be finite and equally many for each example; run it again")
    return flat.reshape(len(table), -1)


def _sums(path: Path, kind: Kind, table: pa.Table) -> tuple[NDArray[Any], None]:
    """The sums (examples, sums) of each example; none is negative, and most begin with a part of the others."""
    found = _lists(path, table, COLUMN.sums, np.float64)
    parts = kind not in SHARES or (found[:, :1] <= found[:, 1:]).all()
    if found.shape[1] != len(SUMMED[kind]) or (found < 0).any() or not parts:
        raise ReportError(f"{path}: sums must be {', '.join(SUMMED[kind])} of each example; run it again")
    return found, None


def _given(path: Path, kind: Kind, table: pa.Table) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Predictions and logits, which must agree."""
    given = _numbers(path, table, COLUMN.prediction, np.float64)
    logits = _lists(path, table, COLUMN.logits, np.float32)
    meant = logits[:, 0].astype(np.float64) if kind in CORRELATIONS else logits.argmax(axis=1)
    if not np.allclose(meant, given, rtol=1e-6, atol=1e-6):
        raise ReportError(f"{path}: predictions and logits disagree; run it again")
    return (given if kind in CORRELATIONS else given.astype(np.int64)), logits


def _numbers(path: Path, table: pa.Table, name: str, kind: Any) -> NDArray[Any]:
    column = table[name]
    if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ReportError(f"{path}: column {name} must hold numbers without gaps; run it again")
    values = column.to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        raise ReportError(f"{path}: column {name} must hold finite numbers; run it again")
    return np.asarray(values.astype(kind))
