"""Checks of a user's rows: texts that a model can read, and splits that can be trained and scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.base.errors import SuiteError
from benchmarks.tasks.data import TRAIN
from benchmarks.tasks.own.files import Rows
from benchmarks.tasks.own.labels import Labels
from benchmarks.tasks.settings import OwnData
from results.format import limits
from results.format.untrusted import shown

OF_TWO = ("f1_accuracy", "matthews_correlation")
PROTOCOLS = 3  # checkpoints whose predictions are stored


def check_texts(own: OwnData, rows: Rows) -> None:
    """Raises `SuiteError` for the first row with a text that is missing, empty or not text."""
    for name in own.columns:
        for row, value in enumerate(rows.column(name)):
            if value is None or (isinstance(value, str) and not value.strip()):
                raise SuiteError(f"{rows.at(row)}: column {name!r} is empty: give the row a text, or remove it")
            if not isinstance(value, str):
                raise SuiteError(f"{rows.at(row)}: column {name!r} has {shown(value)}, which is not text")
            if not _is_unicode(value):
                raise SuiteError(f"{rows.at(row)}: column {name!r} has half of a surrogate pair: write UTF-8 text")


def _is_unicode(value: str) -> bool:
    """JSON can write halves of surrogate pairs, which no encoding holds."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_warnings(
    own: OwnData,
    labels: Labels,
    rows: Mapping[str, Rows],
    values: Mapping[str, Sequence[float]],
    chosen: Mapping[str, Sequence[int]],
) -> list[str]:
    """Compare the splits, of which the `chosen` rows are used. Returns warnings. Raises `SuiteError`."""
    taken = {split: [values[split][row] for row in numbers] for split, numbers in chosen.items()}
    for split, found in taken.items():
        if len(found) < 2:
            raise SuiteError(f"{rows[split].place}: it has {len(found)} row: train and dev need two at least")
    (dev,) = taken.keys() - {TRAIN}
    if own.score in OF_TWO and len(labels.labels) != 2:
        raise SuiteError(f"score = {own.score} is for two classes, and there are {len(labels.labels)}: take accuracy")
    if labels.labels:
        known = set(taken[TRAIN])
        for row in chosen[dev]:
            if (value := values[dev][row]) not in known:
                name = labels.labels[int(value)]
                raise SuiteError(f"{rows[dev].at(row)}: class {shown(name)} has no row in the training data")
    most = limits.PREDICTION_VALUES // PROTOCOLS // max(1, len(labels.labels))
    if len(taken[dev]) > most:
        raise SuiteError(
            f"{rows[dev].place}: dev has {len(taken[dev]):,} rows, and with {len(labels.labels):,} classes {most:,} is "
            "the limit: take a part of it"
        )
    return _odd(labels, taken[TRAIN], taken[dev]) + _duplicates(own, rows, chosen)


def _odd(labels: Labels, train: Sequence[float], dev: Sequence[float]) -> list[str]:
    """What is allowed, but should be known."""
    said = []
    if len(set(dev)) == 1:
        said.append("every dev row has the same label: correlations and Matthews are 0 by definition")
    if labels.labels and (absent := sorted(set(range(len(labels.labels))) - {int(value) for value in train})):
        said.append(f"no training row has the label {shown(labels.labels[absent[0]])}")
    if labels.scale and (beyond := sum(not labels.scale[0] <= value <= labels.scale[1] for value in dev)):
        said.append(f"{beyond:,} dev scores lie outside those of the training data")
    return said


def _duplicates(own: OwnData, rows: Mapping[str, Rows], chosen: Mapping[str, Sequence[int]]) -> list[str]:
    """A warning with the number of dev rows whose text is in the training data too."""
    texts = {split: list(zip(*(rows[split].columns[c] for c in own.columns), strict=True)) for split in rows}
    (dev,) = chosen.keys() - {TRAIN}
    known: set[Any] = {texts[TRAIN][row] for row in chosen[TRAIN]}
    count = sum(texts[dev][row] in known for row in chosen[dev])
    return [f"{count:,} of {len(chosen[dev]):,} dev rows have a text that is in the training data"] if count else []
