"""Find out what the labels of a user's data are, and turn them into class ids or scores.

    found = find_labels(own, train)                   # the kind, the class names or the scale
    ids = encoded(found, own.label, train)            # refuses the first row whose label does not fit

A label of a class is text, a whole number or true/false; a file may hold names or ids of classes, but not both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.base.errors import SuiteError
from benchmarks.tasks.own.facts import listed
from benchmarks.tasks.own.files import Rows, is_unicode
from benchmarks.tasks.settings import OwnData
from benchmarks.tasks.table import Score
from results.format import limits
from results.format.untrusted import shown

MANY = 20  # different whole numbers; with more of them they may be scores
LONGEST = 200  # characters of a class name
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Labels:
    """`score`: the one that is usual for such labels. `labels`: class names in id order; `by_id`: the files hold ids.
    `scale`: lowest and highest score; `fixed`: the suite states it."""

    kind: str
    score: Score
    labels: tuple[str, ...] = ()
    by_id: bool = False
    scale: tuple[float, float] | None = None
    fixed: bool = False


def find_labels(own: OwnData, train: Rows) -> Labels:
    """What the labels of the training rows are. Raises `SuiteError` for labels that cannot be learned."""
    names = _names(train, own.label)
    kind = own.stated_kind or _kind(train, own.label, names)
    if kind == "regression":
        scores = [_score(train, own.label, row) for row in range(len(train))]
        if min(scores) == max(scores):
            raise SuiteError(f"{train.place}: every score in column {own.label!r} is {scores[0]:g}: nothing to learn")
        low, high = own.scale or (min(scores), max(scores))
        return Labels("regression", "pearson_spearman", scale=(low, high), fixed=own.scale is not None)
    found = set(names)
    labels = own.labels or train.classes.get(own.label) or _sorted(found)
    check_classes(train, own.label, labels, found)
    by_id = bool(own.labels) and not found & set(labels) and all(name.isdecimal() for name in found)
    return Labels("classification", "accuracy", tuple(labels), by_id)


def encoded(found: Labels, label: str, rows: Rows) -> list[int] | list[float]:
    """Class ids or scores of the rows. Raises `SuiteError` for the first one that does not fit."""
    if found.kind == "regression":
        return _scores(found, label, rows)
    ids = {str(i) if found.by_id else name: i for i, name in enumerate(found.labels)}
    names = _names(rows, label)
    for row, name in enumerate(names):
        if name not in ids:
            raise SuiteError(f"{rows.at(row)}: label {shown(name)} {_instead(found, name)}")
    return [ids[name] for name in names]


def _instead(found: Labels, name: str) -> str:
    if found.by_id and name in found.labels:
        return "is the name of a class, but the training data holds ids: take one of the two everywhere"
    if not found.by_id and _is_id(name, found.labels):
        return "looks like the id of a class, but the training data holds names: take one of the two everywhere"
    ids = f"of the ids 0 to {len(found.labels) - 1}" if found.by_id else f"of the classes ({listed(found.labels)})"
    return f"is not one {ids}: correct it, or name it in labels"


def _scores(found: Labels, label: str, rows: Rows) -> list[float]:
    scores = [_score(rows, label, row) for row in range(len(rows))]
    low, high = found.scale or (-math.inf, math.inf)
    for row, score in enumerate(scores):
        if found.fixed and not low <= score <= high:
            raise SuiteError(f"{rows.at(row)}: score {score:g} is outside scale = [{low:g}, {high:g}]")
    return scores


def _score(rows: Rows, label: str, row: int) -> float:
    score = _number(rows.column(label)[row])
    if score is None:
        given = shown(rows.columns[label][row])
        raise SuiteError(f"{rows.at(row)}: column {label!r} has {given}, not a number: correct it, or change kind")
    if not abs(score) <= LARGEST:  # NaN neither
        raise SuiteError(f"{rows.at(row)}: column {label!r} has {score}, but a score is a finite number")
    return score


def _number(value: Any) -> float | None:
    """The number that a value is or that a text writes, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and (not value.isascii() or "_" in value):  # Python reads 1_000, other programs do not
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _names(rows: Rows, label: str) -> list[str]:
    """The labels as text, 3 and 3.0 alike. Raises `SuiteError` for the first row without a label."""
    names = []
    for row, value in enumerate(rows.column(label)):
        if value is None or (isinstance(value, str) and not value.strip()):
            raise SuiteError(f"{rows.at(row)}: column {label!r} is empty: give the row a label, or remove it")
        if not isinstance(value, (str, int, float)) or not is_unicode(str(value)):
            raise SuiteError(f"{rows.at(row)}: column {label!r} has {shown(value)}, but a label is text or a number")
        names.append(_name(value))
    return names


def _name(value: str | int | float) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _kind(rows: Rows, label: str, names: Sequence[str]) -> str:
    numbers = [_number(name) for name in set(names)]
    if label in rows.classes or None in numbers:
        return "classification"
    if not all(number is not None and number.is_integer() for number in numbers):
        return "regression"
    if len(numbers) > MANY:
        raise SuiteError(
            f"{rows.place}: column {label!r} has {len(numbers):,} different whole numbers, which may be classes or "
            'scores: say which with kind = "classification" or "regression" (`new`: --kind)'
        )
    return "classification"


def _sorted(names: set[str]) -> list[str]:
    """Numbers by their size, anything else by the alphabet."""
    numbers = {name: _number(name) for name in names}
    if None in numbers.values():
        return sorted(names)
    return sorted(names, key=lambda name: (numbers[name], name))


def _is_id(name: str, labels: Sequence[str]) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 6 and int(name) < len(labels)


def check_classes(train: Rows, label: str, labels: Sequence[str], found: set[str]) -> None:
    if len(labels) > limits.OUTPUTS:
        raise SuiteError(
            f"{train.place}: column {label!r} has {len(labels):,} different labels, and {limits.OUTPUTS:,} is the "
            "limit: is it the column with the label?"
        )
    if len(found) < 2:
        raise SuiteError(f"{train.place}: every row has the label {shown(min(found))}: there is nothing to learn")
    if long := [name for name in labels if len(name) > LONGEST]:
        raise SuiteError(f"{train.place}: column {label!r} has {shown(long[0])}, longer than {LONGEST} characters: "
                         "is it the column with the label?")  # fmt: skip
