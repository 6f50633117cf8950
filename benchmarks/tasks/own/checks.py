"""Checks of a user's rows: texts that a model can read, and splits that can be trained and scored on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.base.errors import SuiteError
from benchmarks.tasks.own.files import Part, Rows, is_unicode
from benchmarks.tasks.own.labels import Labels
from benchmarks.tasks.settings import OwnData
from results.format import layout, limits
from results.format.untrusted import shown

OF_TWO = ("f1_accuracy", "matthews_correlation")
PROTOCOLS = 3  # checkpoints whose predictions are stored
BYTES = 5  # of a stored number; random ones take 4.9


def check_texts(own: OwnData, rows: Rows) -> None:
    """Raises `SuiteError` for the first row with a text that is missing, empty or not text."""
    for name in own.columns:
        for row, value in enumerate(rows.column(name)):
            if value is None or (isinstance(value, str) and not value.strip()):
                raise SuiteError(f"{rows.at(row)}: column {name!r} is empty: give the row a text, or remove it")
            if not isinstance(value, str):
                raise SuiteError(f"{rows.at(row)}: column {name!r} has {shown(value)}, which is not text")
            if not is_unicode(value):
                raise SuiteError(f"{rows.at(row)}: column {name!r} has half of a surrogate pair: write UTF-8 text")


def check_splits(own: OwnData, train: Part, dev: Part) -> list[str]:
    """What is asked of a task of any kind. Returns warnings. Raises `SuiteError` for a split of fewer than two rows."""
    for part in (train, dev):
        if len(part.chosen) < 2:
            raise SuiteError(f"{part.rows.place}: it has {len(part.chosen)} row: train and dev need two at least")
    known, given = set(_texts(own, train)), _texts(own, dev)
    count = sum(text in known for text in given)
    return [f"{count:,} of {len(given):,} dev rows have a text that is in the training data"] if count else []


def _texts(own: OwnData, part: Part) -> list[tuple[Any, ...]]:
    """The texts of each row; a list of words as a tuple, which can be looked up."""
    columns = [[tuple(v) if isinstance(v, list) else v for v in part.texts(name)] for name in own.columns]
    return list(zip(*columns, strict=True))


def check_classes_of_splits(own: OwnData, labels: Labels, train: Part, dev: Part) -> list[str]:
    """The splits of a classification or regression. Returns warnings. Raises `SuiteError`."""
    taken, given = (part.columns["label"].to_pylist() for part in (train, dev))
    if own.score in OF_TWO and len(labels.labels) != 2:
        raise SuiteError(f"score = {own.score} is for two classes, and there are {len(labels.labels)}: take accuracy")
    if labels.labels:
        known = set(taken)
        for place, value in enumerate(given):
            if value not in known:
                name = labels.labels[value]
                raise SuiteError(f"{dev.at(place)}: class {shown(name)} has no row in the training data")
    check_outputs(dev, len(given) * max(1, len(labels.labels)))
    return _odd(labels, taken, given)


def check_outputs(dev: Part, values: int) -> None:
    """Raises `SuiteError` for a dev split whose outputs, so many numbers at each of three checkpoints, would make a
    file of predictions that no report reads: that must not show after the training."""
    most = min(limits.PREDICTION_VALUES, limits.FILES[layout.PREDICTIONS] // BYTES) // PROTOCOLS
    if values > most:
        raise SuiteError(
            f"{dev.rows.place}: a model gives about {values:,} numbers for the {len(dev.chosen):,} rows of dev, and "
            f"{most:,} is the limit of what is stored: take a part of it"
        )


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
