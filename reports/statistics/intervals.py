"""Estimates with intervals for a results folder, joint over seeds and dev examples where predictions are stored.

    estimator = Estimator(Cells.of(results))
    estimator.score("rte", "kd")                        # mean over seeds; MACRO too
    estimator.difference("rte", "theseus", "kd")        # paired by seed and by example
    estimator.ratio(MACRO, "theseus", "predecessor")    # seed by seed, e.g. the share kept of the predecessor's score

Each is an `Estimate`, or None below two seeds. Its `basis` says what it includes: where a run of the cell has no
predictions, the estimate is Student's t over seeds. Each task is resampled by itself. A seed's macro is one number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.statistics.bootstrap import DRAWS, Draws, Estimate, Resampled, joint_draws, mean_estimate, resample
from reports.statistics.cells import MACRO, Cells, for_every_seed, is_shared
from results.format.predictions import Answers, read_answers


@dataclass(frozen=True)
class _Side:
    """One arm on one task or the macro: the value per seed, and on resampled dev sets if predictions are stored."""

    points: NDArray[np.float64]
    drawn: Draws | None
    units: int


class Estimator:
    """The estimates of one results folder at one protocol; predictions are read and resampled at first use."""

    def __init__(self, cells: Cells, protocol: str | None = None, draws: int = DRAWS) -> None:
        self.cells, self.draws = cells, draws
        self.protocol = protocol or cells.results.suite.protocol

    @cached_property
    def answers(self) -> dict[str, Answers]:
        """The stored predictions, per task that has any."""
        return read_answers(self.cells.results, self.protocol)

    @cached_property
    def resampled(self) -> dict[str, Resampled]:
        """The scores on resampled dev sets, per task that has predictions."""
        return {name: resample(found, self.draws) for name, found in self.answers.items()}

    def score(self, task: str, arm: str) -> Estimate | None:
        """The mean score over seeds."""
        side = self._side(task, arm, tuple(self._scores(task, arm)))
        return mean_estimate(side.points, side.drawn, side.units, self.rounding(task))

    def difference(self, task: str, reference: str, arm: str) -> Estimate | None:
        """`reference` minus `arm` over their common seeds."""
        return self._pair(task, reference, arm, lambda ours, theirs: ours - theirs, 2 * self.rounding(task), 0.0)

    def ratio(self, task: str, arm: str, baseline: str) -> Estimate | None:
        """The mean over seeds of `arm` over `baseline`; None where a baseline score is not above zero."""
        seeds = self._seeds(task, arm, baseline)
        baselines = self._side(task, baseline, seeds).points
        if not len(baselines) or (baselines <= 0).any():
            return None
        rounding = 2 * self.rounding(task) / float(np.mean(baselines)) ** 2
        return self._pair(task, arm, baseline, lambda ours, theirs: ours / np.maximum(theirs, 1e-6), rounding, None)

    def bootstrap_draws(self, task: str, reference: str, arm: str) -> NDArray[np.float64] | None:
        """The plain Multi-Bootstrap's draws of the mean difference, None without predictions."""
        seeds = self._seeds(task, reference, arm)
        if len(seeds) < 2:
            return None
        ours, theirs = (self._side(task, name, seeds) for name in (reference, arm))
        return None if ours.drawn is None or theirs.drawn is None else joint_draws(ours.drawn - theirs.drawn)

    def _seeds(self, task: str, one: str, other: str) -> tuple[int, ...]:
        """The common seeds of a pair; a shared predecessor has every seed of the other side."""
        suite = self.cells.results.suite
        found = [set(self._scores(task, name)) for name in (one, other) if not is_shared(suite, name)]
        return tuple(sorted(set.intersection(*found))) if found else ()

    def _scores(self, task: str, arm: str) -> Mapping[int, float]:
        return self.cells.at(task, arm, self.protocol).scores

    def _pair(
        self,
        task: str,
        one: str,
        other: str,
        change: Callable[[NDArray[Any], NDArray[Any]], object],
        rounding: float,
        null: float | None,
    ) -> Estimate | None:
        seeds = self._seeds(task, one, other)
        if len(seeds) < 2:
            return None
        # The change is computed seed by seed on the scores (n,) and in the same way on every resampled dev set
        # (draws, n), where both sides were scored on the same draw. The effect that a seed or a hard example has on
        # both arms cancels before anything is averaged, so this is the interval of a paired difference.
        ours, theirs = self._side(task, one, seeds), self._side(task, other, seeds)
        if not len(ours.points) or not len(theirs.points):
            return None
        drawn = None
        if ours.drawn is not None and theirs.drawn is not None:
            drawn = np.asarray(change(ours.drawn, theirs.drawn))
        points = np.asarray(change(ours.points, theirs.points))
        return mean_estimate(points, drawn, min(ours.units, theirs.units), rounding, null)

    def rounding(self, task: str) -> float:
        """The variance of a score, in points, because it counts whole examples; 0 where the dev set's size is unknown.

        One example of N is a step of 100 / N, and rounding to a step h has the variance h**2 / 12 (Sheppard 1898).
        Splits, and the tasks of a macro score, have equal weights.
        """
        names = self.cells.macro_tasks if task == MACRO else (task,)
        sizes = {found.name: list(found.dev_examples.values()) for found in self.cells.results.suite.tasks}
        steps = [[(100 / size) ** 2 / 12 if size else 0.0 for size in sizes[name]] for name in names]
        return sum(sum(part) / len(part) ** 2 for part in steps if part) / len(names) ** 2

    def _side(self, task: str, arm: str, seeds: Sequence[int]) -> _Side:
        """The values of these seeds; a shared predecessor has its one value for every seed."""
        values = self._scores(task, arm)
        single = is_shared(self.cells.results.suite, arm)
        if single:
            values = for_every_seed(values, seeds)
        points = np.array([values[seed] for seed in seeds if seed in values])
        names = self.cells.macro_tasks if task == MACRO else (task,)
        parts = [self._drawn(name, arm, seeds, single) for name in names]
        whole = [part for part in parts if part is not None]
        if not whole or len(whole) < len(parts):
            return _Side(points, None, 2)
        # A macro score is the mean over tasks, so its draw k is the mean of every task's draw k. The tasks were
        # resampled independently, because they share no example. The degrees of freedom are the smallest task's, which
        # is the cautious choice.
        units = min(self.resampled[name].units for name in names)
        return _Side(points, np.asarray(sum(whole) / np.float32(len(whole))), units)

    def _drawn(self, task: str, arm: str, seeds: Sequence[int], single: bool) -> Draws | None:
        answers = self.answers.get(task)
        if answers is None:
            return None
        if single:
            runs = tuple(answers.given.get(arm, {}))
            return self.resampled[task].of(arm, runs * len(seeds)) if len(runs) == 1 else None
        return self.resampled[task].of(arm, tuple(seeds)) if answers.has(arm, tuple(seeds)) else None
