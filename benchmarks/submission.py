"""Test-set predictions as the zip that the GLUE server scores (the paper's Table 3).

GLUE's test labels are secret, so only the server can compute Table 3. It takes a zip of one tsv per task with fixed
names, the header `index<TAB>prediction`, and one line per test row in order. All eleven files are required; a task that
the suite did not train is filled with a constant, and the caller gets a line about it. Uploads are limited, and a wrong
label word, count or order would waste one, so all of these are checked:

    predictions = predict_test(successor_folder, find_task("rte"), source, tokenizer, 128, device)
    for line in write_submission(Path("submission.zip"), predictions):
        print(line)

Sources. File names and header: nyu-mll/jiant's `glue_submission_formatter.py` (GLUE's authors). Label words, three
decimals and the 0 to 5 range of STS-B, and "a zip file including all tasks": Keras's guide "Evaluate Your Model with
GLUE Benchmark" (jiant rounds STS-B to three decimals too; GLUE-baselines clips it to 0 to 5). Both follow question 1 of
https://gluebenchmark.com/faq. AX is predicted with the MNLI model: the dataset card of nyu-mll/glue, whose
`num_examples` are the row counts.

Test splits cannot be scored here: `load_test` sets every label to -1, also MRPC's public ones.
"""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from benchmarks.base.errors import SuiteError, nearest
from benchmarks.machine import device as devices
from benchmarks.machine.device import resolve
from benchmarks.machine.settings import Device
from benchmarks.models.checks import check_classifier, check_head
from benchmarks.models.loading import load_finetuned, load_tokenizer
from benchmarks.plans.run import Run
from benchmarks.tasks import kinds
from benchmarks.tasks.data import Source, place_of, read_split
from benchmarks.tasks.kind import check_text
from benchmarks.tasks.table import Task, find_task
from benchmarks.training.forward import logits
from results.format.errors import UserError
from results.format.files import replacing
from results.format.layout import SUCCESSOR

HEADER = "index\tprediction"
HIDDEN = -1  # the label of every test row
LOW, HIGH = 0.0, 5.0  # STS-B's scale
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip; a fixed time makes equal predictions equal bytes


@dataclass(frozen=True)
class ServerFile:
    """One file of a submission: the task whose model predicts it, its rows, and its label words.

    `task` is a name in our table; `config` and `split` are names in nyu-mll/glue and in a GLUE folder. `words` are the
    labels of the class ids in order; if it is empty, the value itself is written.
    """

    name: str
    task: str
    config: str
    split: str
    rows: int
    words: tuple[str, ...]


BINARY = ("0", "1")
NLI = ("entailment", "neutral", "contradiction")
ENTAILMENT = ("entailment", "not_entailment")

# WNLI is an entailment task, but the server reads 0 and 1.
SERVER_FILES: dict[str, ServerFile] = {
    file.name: file
    for file in (
        ServerFile("AX.tsv", "mnli", "ax", "test", 1_104, NLI),
        ServerFile("CoLA.tsv", "cola", "cola", "test", 1_063, BINARY),
        ServerFile("MNLI-m.tsv", "mnli", "mnli", "test_matched", 9_796, NLI),
        ServerFile("MNLI-mm.tsv", "mnli", "mnli", "test_mismatched", 9_847, NLI),
        ServerFile("MRPC.tsv", "mrpc", "mrpc", "test", 1_725, BINARY),
        ServerFile("QNLI.tsv", "qnli", "qnli", "test", 5_463, ENTAILMENT),
        ServerFile("QQP.tsv", "qqp", "qqp", "test", 390_965, BINARY),
        ServerFile("RTE.tsv", "rte", "rte", "test", 3_000, ENTAILMENT),
        ServerFile("SST-2.tsv", "sst2", "sst2", "test", 1_821, BINARY),
        ServerFile("STS-B.tsv", "stsb", "stsb", "test", 1_379, ()),
        ServerFile("WNLI.tsv", "wnli", "wnli", "test", 146, BINARY),
    )
}


def find_file(name: str) -> ServerFile:
    """The server's file called `name`. Raises `SuiteError` with the nearest name for an unknown one."""
    if name not in SERVER_FILES:
        raise SuiteError(f"{name!r} is not a file of a GLUE submission: {nearest(name, SERVER_FILES)}")
    return SERVER_FILES[name]


# predictions to a zip


def write_submission(path: Path, predictions: Mapping[str, Sequence[int | float]]) -> list[str]:
    """Write the zip at `path`, whole or not at all; returns a line per file that was filled with a constant.

    `predictions` maps file names to class ids (STS-B: values) in the order of the test split's idx. The same
    predictions give the same bytes. Raises `SuiteError` before anything is written for an unknown file name, a wrong
    number of rows, an unknown class id, or a value that is not finite.
    """
    written = {name: _words(find_file(name), values) for name, values in predictions.items()}
    filled = {name: _words(file, [0] * file.rows) for name, file in SERVER_FILES.items() if name not in written}
    _write_zip(path, {name: _table(words) for name, words in sorted({**written, **filled}.items())})
    return [
        f"{name}: no predictions, filled with {words[0]} in all {len(words):,} rows: the server's score for it means "
        "nothing"
        for name, words in filled.items()
    ]


def _words(file: ServerFile, values: Sequence[int | float]) -> list[str]:
    if len(values) != file.rows:
        raise SuiteError(
            f"{file.name}: {len(values):,} predictions, the server wants {file.rows:,}: "
            f"predict the whole {file.split} split of {file.config}"
        )
    return [_word(file, row, value) for row, value in enumerate(values)]


def _word(file: ServerFile, row: int, value: int | float) -> str:
    place = f"{file.name}: row {row} is {value}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SuiteError(f"{place}, not a number: give class ids (STS-B: values)") from None
    if not math.isfinite(number):
        raise SuiteError(f"{place}: predict with a model that did not diverge")
    if not file.words:
        return f"{min(max(LOW, number), HIGH):.3f}"
    if not number.is_integer() or not 0 <= number < len(file.words):
        raise SuiteError(f"{place}, class ids run from 0 to {len(file.words) - 1}: predict with the task's own head")
    return file.words[int(number)]


def _table(words: Sequence[str]) -> str:
    return "\n".join([HEADER, *(f"{index}\t{word}" for index, word in enumerate(words))]) + "\n"


def _write_zip(path: Path, texts: Mapping[str, str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
            for inner, text in texts.items():
                archive.writestr(_entry(inner), text, compresslevel=9)
    except OSError as error:
        raise SuiteError(f"cannot write {path} ({error.strerror or error}): choose another file") from None


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # Unix on every platform, so that the bytes are the same
    entry.external_attr = 0o644 << 16
    return entry


# test splits to predictions


def predict_test(
    model_folder: Path, task: Task, source: Source, tokenizer: Any, max_length: int, device: Device
) -> dict[str, list[int | float]]:
    """Predictions of the classifier in `model_folder` for every server file of `task`, for `write_submission`.

    `source` is the data (`find_source`), `tokenizer` the encoder's (`load_tokenizer`), `max_length` that of the
    training. MNLI gives AX too, unless the GLUE folder has no ax/test.parquet. Raises `SuiteError` for a task that the
    server does not have, a model that does not fit, and test data that is not the task's.
    """
    files = [file for file in SERVER_FILES.values() if file.task == task.name]
    if not files:
        tasks = ", ".join(sorted({file.task for file in SERVER_FILES.values()}))
        raise SuiteError(f"{task.name}: the GLUE server has no test set for it, only for {tasks}")
    device = resolve(device)
    splits = {file: load_test(source, file.name) for file in files if not _left_out(source, file)}
    model = _load_classifier(model_folder, task, device)
    predictions: dict[str, list[int | float]] = {}
    for file, rows in splits.items():
        outputs = logits(model, kinds.find(task.kind).encode(tokenizer, task, rows, max_length), device)
        if not np.isfinite(outputs).all():
            raise SuiteError(
                f"{file.name}: the model in {model_folder} gives logits that are not finite: "
                "predict with a model that did not diverge"
            )
        decided = outputs[:, 0] if task.regression else outputs.argmax(axis=1)
        predictions[file.name] = decided.tolist()
    return predictions


def load_test(source: Source, name: str) -> Dataset:
    """The test split of the server file `name`, sorted by idx: the task's text columns, label -1 and idx.

    It is read from `source`'s folder (<config>/<split>.parquet), or from the hub at its revision. Raises `SuiteError`
    for a missing or unreadable split, and for one that is not the task's.
    """
    file = find_file(name)
    task = find_task(file.task)
    here = replace(source, task=replace(task, name=file.config))  # AX has MNLI's columns but its own folder
    path = _path(source, file)
    if path is not None and not path.is_file():
        raise SuiteError(f"{file.config}: {path} is missing: add it, or leave the task out of the submission")
    place = place_of(here, file.split)
    try:
        rows = read_split(here, file.split)
    except UserError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SuiteError(f"{place} cannot be read: {' '.join(str(error).split())}") from None
    _check(place, file, task, rows)
    table = rows.data.table
    order = np.argsort(np.asarray(table["idx"].to_pylist()), kind="stable")
    columns = {column: table[column].take(pa.array(order)) for column in task.columns}
    kind = pa.float32() if task.regression else pa.int64()
    hidden = pa.array([HIDDEN] * file.rows, kind)
    return Dataset(pa.table({**columns, "label": hidden, "idx": pa.array(range(file.rows), pa.int32())}))


def _path(source: Source, file: ServerFile) -> Path | None:
    return None if source.folder is None else Path(source.folder) / file.config / f"{file.split}.parquet"


def _left_out(source: Source, file: ServerFile) -> bool:
    """Is it AX, and missing in the folder? AX is not MNLI's own test set, so it is optional."""
    path = _path(source, file)
    return file.config != file.task and path is not None and not path.is_file()


def _check(place: str, file: ServerFile, task: Task, rows: Dataset) -> None:
    missing = [column for column in (*task.columns, "idx") if column not in rows.column_names]
    if missing:
        raise SuiteError(f"{place} has no column {missing[0]!r} (it has {', '.join(rows.column_names)})")
    if len(rows) != file.rows:
        raise SuiteError(f"{place} has {len(rows):,} rows, the official split {file.rows:,}: get the whole file")
    check_text(place, task, rows)
    if set(rows.data["idx"].to_pylist()) != set(range(file.rows)):
        raise SuiteError(
            f"{place}: column 'idx' is not 0 to {file.rows - 1:,}, once each: the order of the server's rows is unknown"
        )


def _load_classifier(folder: Path, task: Task, device: Device) -> Any:
    place = f"{task.name}: the model in {folder}"
    check_classifier(folder, place)
    try:
        model = load_finetuned(folder, device.attention)
    except Exception as error:  # transformers raises OSError, ValueError, KeyError and RuntimeError
        raise SuiteError(f"{place} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    check_head(model.config, task, place)
    return model.to(device.device)


def submit_runs(runs: Sequence[Run], results: Path, output: Path) -> list[str]:
    """Write `output` from one run per task; returns a line for each of the server's files that these runs do not give.

    Raises `SuiteError` for no run, several runs of one task, a task that the server does not have, or a successor that
    was not kept.
    """
    if not runs:
        raise SuiteError("no run matches: name one arm with --methods and one seed with --seeds")
    for task, count in Counter(run.task.name for run in runs).items():
        if count > 1:
            raise SuiteError(f"{task} has {count} runs of that arm and seed: a search is submitted one trial at a time")
    for run in runs:
        if run.task.name not in {file.task for file in SERVER_FILES.values()}:
            raise SuiteError(f"{run.task.name} is not a task of GLUE's server: leave it out with --tasks")
        if not (results / run.folder / SUCCESSOR).is_dir():
            raise SuiteError(f"{run.folder} has no successor: run it with --set keep_successors=true, then submit")
    devices.apply(runs[0].device)
    predictions: dict[str, list[int | float]] = {}
    for run in runs:
        folder, tokenizer = results / run.folder / SUCCESSOR, load_tokenizer(run.tokenizer)
        predictions |= predict_test(folder, run.task, run.source, tokenizer, run.max_length, run.device)
    return write_submission(output, predictions)
