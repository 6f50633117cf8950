"""Task scores of many runs and many weightings of the examples at once, from sums that a matrix product computes.

    score("matthews_correlation", bounds, labels, given)       # (runs,), 0 to 1
    sums = Sums.of("f1_accuracy", labels, given)               # the terms of the score for each example
    sums.score(weights @ sums.columns)                         # the score of every run under every weighting

Every score here is a function of a few sums over examples: right answers (accuracy), positives and true positives (F1,
Matthews), moments (Pearson). So a resample is a row of weights, and ten thousand of them are one matrix product.
Spearman is Pearson of the ranks, which are computed once over the whole dev set: a resample weights them and does not
rank again (the results differ by terms of order 1 / examples). F1 and correlations are 0 where they are undefined, as
in the suite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Kind = Literal["accuracy", "f1_accuracy", "matthews_correlation", "pearson_spearman", "token_accuracy", "entity_f1",
               "span_f1", "cosine_spearman", "masked_accuracy", "likelihood"]  # fmt: skip
# Scores of which a run keeps the sums of each example, because answers are lists or texts: what is summed, in order.
SUMMED: dict[str, tuple[str, ...]] = {
    "token_accuracy": ("right words", "words"),
    "entity_f1": ("right entities", "predicted entities", "true entities"),
    "span_f1": ("F1", "questions"),
    "masked_accuracy": ("right tokens", "masked tokens"),
    "likelihood": ("nats", "tokens"),
}
SHARES = frozenset(SUMMED) - {"likelihood"}  # the first sum is a part of each of the others
Array = NDArray[Any]
Change = Callable[[Array], Array]


def _ranks(rows: Array) -> Array:
    return np.asarray(stats.rankdata(rows, axis=-1))


# Scores that are the mean of Pearson's correlations, and of what: the values, or their ranks (Spearman).
CORRELATIONS: dict[str, tuple[Change, ...]] = {"pearson_spearman": (np.asarray, _ranks), "cosine_spearman": (_ranks,)}
FLAT = 1e-9  # a variance below this share of the whole dev set's counts as zero


@dataclass(frozen=True)
class Sums:
    """`columns` (examples, shared + per_run * runs), the shared ones first, then run after run of each quantity."""

    kind: Kind
    runs: int
    columns: Array

    @classmethod
    def of(cls, kind: Kind, labels: Array, given: Array, dtype: Any = np.float32) -> Sums:
        """From labels (examples,) and predictions (runs, examples) of one split; of a `SUMMED` score, from the sums
        (runs, examples, sums) alone."""
        if kind in SUMMED:
            shared, own = [np.ones(len(labels))], list(np.moveaxis(given, -1, 0))
        elif kind in CORRELATIONS:
            shared, own = _moments(labels, given, CORRELATIONS[kind])
        elif kind == "accuracy":
            shared, own = [np.ones(len(labels))], [given == labels]
        else:
            positive = given == 1
            shared, own = [np.ones(len(labels)), labels == 1], [positive, positive & (labels == 1)]
        columns = np.concatenate([np.atleast_2d(part).astype(dtype) for part in (*shared, *own)])
        return cls(kind, given.shape[0], np.ascontiguousarray(columns.T))

    def grouped(self, groups: Array) -> Sums:
        """Sums within groups of examples: `groups` holds the number of each example's group, from 0."""
        order = np.argsort(groups, kind="stable")
        starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
        return Sums(self.kind, self.runs, np.add.reduceat(self.columns[order], starts, axis=0))

    def score(self, totals: Array) -> Array:
        """(weightings, runs) scores, 0 to 1, from (weightings, columns) weighted totals."""
        n, runs = totals[:, :1], self.runs

        def own(first: int, i: int) -> Array:
            return totals[:, first + i * runs : first + (i + 1) * runs]

        if self.kind == "accuracy":
            return own(1, 0) / n
        if self.kind in ("token_accuracy", "span_f1", "masked_accuracy"):
            return _ratio(own(1, 0), own(1, 1))
        if self.kind == "likelihood":  # the geometric mean of the tokens' probabilities, which is 1 / perplexity
            return np.where(own(1, 1) > 0, np.exp(-_ratio(own(1, 0), own(1, 1))), 0)
        if self.kind == "entity_f1":  # 2 P R / (P + R) of right / predicted and right / true
            return _ratio(2 * own(1, 0), own(1, 1) + own(1, 2))
        if self.kind in CORRELATIONS:
            parts, first = [], 1 + 2 * len(CORRELATIONS[self.kind])
            for i in range(len(CORRELATIONS[self.kind])):
                y, yy = totals[:, 1 + 2 * i : 2 + 2 * i], totals[:, 2 + 2 * i : 3 + 2 * i]
                parts.append(_correlation(n, own(first, 3 * i), own(first, 3 * i + 1), own(first, 3 * i + 2), y, yy))
            return np.asarray(np.mean(parts, axis=0))
        true, given, both = totals[:, 1:2], own(2, 0), own(2, 1)
        if self.kind == "f1_accuracy":
            return (_ratio(2 * both, given + true) + (n - given - true + 2 * both) / n) / 2
        spread = np.sqrt(np.maximum(given * (n - given), 0)) * np.sqrt(true * (n - true))
        return _ratio(n * both - given * true, spread)


def score(kind: Kind, bounds: Mapping[str, slice], labels: Array, given: Array) -> Array:
    """(runs,) task scores, 0 to 1, from predictions (runs, examples) or sums (runs, examples, sums); the mean over
    splits with equal weights."""
    parts = []
    for part in bounds.values():
        sums = Sums.of(kind, labels[part], given[:, part], np.float64)
        parts.append(sums.score(sums.columns.sum(axis=0, keepdims=True))[0])
    return np.asarray(np.mean(parts, axis=0))


def _moments(labels: Array, given: Array, changes: Sequence[Change]) -> tuple[list[Array], list[Array]]:
    """Standardised values or ranks, their squares and products; raw moments would cancel in float32."""
    shared, own = [np.ones(len(labels))], []
    for change in changes:
        y, x = _standard(change(labels[None, :])), _standard(change(given))
        shared += [y, y**2]
        own += [x, x**2, x * y]
    return shared, own


def _standard(rows: Array) -> Array:
    """Each row with mean 0 and variance 1; a constant row becomes zeros."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    sd = centred.std(axis=-1, keepdims=True)
    return np.divide(centred, sd, out=np.zeros_like(centred), where=np.ptp(rows, axis=-1, keepdims=True) > 0)


def _correlation(n: Array, x: Array, xx: Array, xy: Array, y: Array, yy: Array) -> Array:
    """Weighted Pearson from weighted sums; 0 if a side is constant under these weights."""
    one, other = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    spread = np.sqrt(np.maximum(one, 0)) * np.sqrt(np.maximum(other, 0))
    flat = (one < FLAT) | (other < FLAT)
    return np.where(flat, 0, np.clip(_ratio(xy / n - x * y / n**2, np.where(flat, 0, spread)), -1, 1))


def _ratio(above: Array, below: Array) -> Array:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
