"""Beyond the score: how faithful an arm is to its predecessor, how well it is calibrated, and which answers change.

    rows = loyalties(suite, estimator.answers)        # per task and arm, averaged over seeds
    flips(answers, "theseus", "kd")                   # per example: how often only the first, only the second was right

- label loyalty: share of examples with the predecessor's label.
- probability loyalty: 1 - mean over examples of the Jensen-Shannon distance (the root of the divergence,
  logarithms to base 2, so that 0 is disjoint and 1 identical) of the two class distributions
  (Xu et al. 2021, "Beyond Preserved Accuracy").
- regression loyalty: Pearson's correlation of the two predictions, for a task that predicts values.
- calibration error: expected calibration error over 15 bins of equal width of the largest probability.

A run is compared with the predecessor it came from: the shared one, or the one of its own seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from reports.statistics.cells import Summary, is_shared, summarise
from reports.statistics.significance import paired_permutation
from results.format.predictions import Answers
from results.format.records import Suite, leading_theseus

BINS = 15
MOST_FLIPS = 1_000_000  # rows of the CSV
Array = NDArray[Any]


@dataclass(frozen=True)
class Loyalty:
    """One arm on one task: summaries over seeds on a scale of 0 to 100 (n = 0 where a measure does not apply)."""

    task: str
    arm: str
    label: Summary
    probability: Summary
    regression: Summary
    calibration: Summary


@dataclass(frozen=True)
class Flips:
    """Two arms' answers to the same examples, over their common seeds.

    The arrays count, per example, the seeds in which only the first arm was right, only the second, and in which the
    answers differ. `p` is the two-sided paired permutation over examples.
    """

    task: str
    first: str
    second: str
    seeds: tuple[int, ...]
    only_first: NDArray[np.int64]
    only_second: NDArray[np.int64]
    differ: NDArray[np.int64]
    p: float

    def turned(self) -> Flips:
        """The same with the second arm first."""
        swapped = replace(self, first=self.second, second=self.first)
        return replace(swapped, only_first=self.only_second, only_second=self.only_first)

    def per_cent(self, counts: NDArray[np.int64]) -> float:
        """The share of all answers, pooled over seeds."""
        return 100 * int(counts.sum()) / (len(counts) * len(self.seeds))


def probabilities(logits: Array) -> Array:
    """Softmax of (examples, classes) logits as (classes, examples), which makes sums over few classes fast."""
    return np.asarray(special.softmax(np.ascontiguousarray(logits.T, dtype=np.float64), axis=0))


def jensen_shannon_distance(p: Array, q: Array) -> Array:
    """Per example of two (classes, examples) arrays, base 2: 0 for one distribution, 1 for disjoint ones."""
    middle = (p + q) / 2
    divergence = (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=0) / 2 / np.log(2)
    return np.sqrt(np.clip(divergence, 0, 1))


def calibration_error(found: Array, labels: Array, bins: int = BINS) -> float:
    """Mean over examples of |confidence - accuracy| of their bin; bins are (0, 1/15], (1/15, 2/15], ..."""
    confidence, right = found.max(axis=0), found.argmax(axis=0) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def regression_loyalty(given: Array, reference: Array) -> float:
    """Pearson's correlation of two models' predictions; 0 where one is constant."""
    if np.ptp(given) == 0 or np.ptp(reference) == 0:
        return 0.0
    return float(np.corrcoef(given, reference)[0, 1])


def loyalties(suite: Suite, answers: Mapping[str, Answers]) -> list[Loyalty]:
    """A row per task with one prediction an example and per arm, in the suite's order."""
    deep = next((arm.name for arm in suite.arms if arm.is_predecessor), None)
    rows: list[Loyalty] = []
    for task in suite.tasks:
        if task.name in answers and not answers[task.name].summed:
            found = answers[task.name]
            deep_logits = {} if found.regression else found.logits.get(deep or "", {})
            origins = {seed: probabilities(logits) for seed, logits in deep_logits.items()}
            arms = [arm.name for arm in suite.arms if arm.name in found.given]
            rows += [_loyalty(suite, found, arm, deep, origins) for arm in arms]
    return rows


def _loyalty(suite: Suite, answers: Answers, arm: str, deep: str | None, origins: Mapping[int, Array]) -> Loyalty:
    label, probability, regression, calibration = [], [], [], []
    for seed, given in answers.given[arm].items():
        origin = _origin(suite, answers, arm, deep, seed)
        source = None if origin is None or deep is None else answers.given[deep][origin]
        if answers.regression:
            if source is not None:
                regression.append(100 * regression_loyalty(given, source))
            continue
        found = probabilities(answers.logits[arm][seed])
        calibration.append(100 * calibration_error(found, answers.labels))
        if source is not None and origin is not None:
            label.append(100 * float(np.mean(given == source)))
            probability.append(100 * (1 - float(jensen_shannon_distance(found, origins[origin]).mean())))
    return Loyalty(answers.task, arm, *(summarise(found) for found in (label, probability, regression, calibration)))


def _origin(suite: Suite, answers: Answers, arm: str, deep: str | None, seed: int) -> int | None:
    """The seed of the predecessor run that a run came from; None for a predecessor or without its predictions."""
    if deep is None or arm == deep:
        return None
    runs = answers.given.get(deep, {})
    if is_shared(suite, deep):
        return next(iter(runs)) if len(runs) == 1 else None
    return seed if seed in runs else None


def flips(answers: Answers, first: str, second: str, shared: str | None = None) -> Flips | None:
    """The answers that change between two arms; None for a task without classes or without a common seed.

    `shared` names the predecessor that every seed started from: its one run is compared with every seed.
    """
    one, other = answers.given.get(first, {}), answers.given.get(second, {})
    seeds = sorted(set(one) & set(other))
    if shared in (first, second):
        single, many = (one, other) if shared == first else (other, one)
        seeds = sorted(many) if len(single) == 1 else []
    if not answers.classes or not seeds:
        return None
    a, b = (np.stack([runs.get(s, next(iter(runs.values()))) for s in seeds], axis=1) for runs in (one, other))
    labels = answers.labels[:, None]
    right, wrong = a == labels, b == labels
    only_first, only_second = (right & ~wrong).sum(axis=1), (wrong & ~right).sum(axis=1)
    p = paired_permutation(right, wrong)
    return Flips(answers.task, first, second, tuple(seeds), only_first, only_second, (a != b).sum(axis=1), p)


def all_flips(suite: Suite, answers: Mapping[str, Answers], arms: tuple[str, ...] = ()) -> Iterator[Flips]:
    """Every pair of arms on every task, or only the pairs with one of `arms`."""
    shared = next((arm.name for arm in suite.arms if is_shared(suite, arm.name)), None)
    for task in suite.tasks:
        if task.name in answers:
            names = [arm.name for arm in suite.arms if arm.name in answers[task.name].given]
            for first, second in combinations(names, 2):
                if not arms or {first, second} & set(arms):
                    found = flips(answers[task.name], first, second, shared)
                    if found is not None:
                        yield found


def listed_pairs(suite: Suite, answers: Mapping[str, Answers]) -> tuple[str, ...]:
    """The arms whose pairs flips.csv lists: every arm (an empty tuple), or the leading one if it would be too long."""
    arms = len(suite.arms)
    rows = sum(len(a.labels) for a in answers.values() if a.classes) * arms * (arms - 1) // 2
    leader = leading_theseus(suite.arms)
    return () if leader is None or rows <= 5 * MOST_FLIPS else (leader,)


def flips_table(found: Flips, answers: Answers) -> pd.DataFrame:
    """One row per example on which two arms differ in any seed, in dev order."""
    split = np.concatenate([np.full(part.stop - part.start, name) for name, part in answers.bounds.items()])
    at = np.flatnonzero(found.differ)
    return pd.DataFrame({
        "task": found.task, "split": split[at], "idx": answers.idx[at], "label": answers.labels[at],
        "first": found.first, "second": found.second, "seeds": len(found.seeds),
        "only_first_right": found.only_first[at], "only_second_right": found.only_second[at],
        "answers_differ": found.differ[at],
    })  # fmt: skip
