"""Estimates with intervals for a results folder: joint over seeds and dev examples where predictions are there.

    joint = Joint(results, "last")
    joint.score("rte", "kd")                        # mean over seeds; MACRO too
    joint.difference("rte", "theseus", "kd")        # paired by seed and by example
    joint.ratio(MACRO, "theseus", "predecessor")    # seed by seed, e.g. what is kept of the predecessor

Each is an `Estimate` or None below two seeds. Its `basis` says what it carries: where a run of the cell
has no predictions the spread between seeds is all there is, and the estimate falls back to Student's t
over seeds. Tasks are resampled apart, seeds of a macro score together: a seed's macro is one number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.bootstrap import DRAWS, Draws, Estimate, Resampled, joint_draws, joint_estimate, resample, seeds_estimate
from reports.predictions import Answers, read_answers
from reports.results import Results
from reports.statistics import MACRO, by_seed, is_shared, macro_tasks


@dataclass(frozen=True)
class _Side:
    """One arm on one task or the macro: per seed the value, and the same on resampled dev sets if there are any."""

    points: NDArray[np.float64]
    drawn: Draws | None
    units: int


class Joint:
    """The estimates of one results folder at one protocol; predictions are read and resampled at first use."""

    def __init__(self, results: Results, protocol: str, draws: int = DRAWS, seed: int = 0) -> None:
        self.results, self.protocol, self.draws, self.seed = results, protocol, draws, seed

    @cached_property
    def answers(self) -> dict[str, Answers]:
        """What the runs said, per task that has predictions."""
        return read_answers(self.results, self.protocol)

    @cached_property
    def resampled(self) -> dict[str, Resampled]:
        """The scores on resampled dev sets, per task that has predictions."""
        return {name: resample(found, self.draws, self.seed) for name, found in self.answers.items()}

    def score(self, task: str, arm: str) -> Estimate | None:
        """The mean score over seeds."""
        seeds = tuple(by_seed(self.results, task, arm, self.protocol))
        side = self._side(task, arm, seeds)
        return _estimate(side.points, side.drawn, side.units)

    def difference(self, task: str, reference: str, arm: str) -> Estimate | None:
        """`reference` minus `arm` over the seeds that both have."""
        return self._pair(task, reference, arm, lambda ours, theirs: ours - theirs)

    def ratio(self, task: str, arm: str, baseline: str) -> Estimate | None:
        """The mean over seeds of `arm` over `baseline`; None where a baseline score is not above zero."""
        seeds = self._seeds(task, arm, baseline)
        if seeds and (self._side(task, baseline, seeds).points <= 0).any():
            return None
        return self._pair(task, arm, baseline, lambda ours, theirs: ours / np.maximum(theirs, 1e-6))

    def bootstrap_draws(self, task: str, reference: str, arm: str) -> NDArray[np.float64] | None:
        """Draws of the mean difference with seeds drawn too (the Multi-Bootstrap), None without predictions."""
        seeds = self._seeds(task, reference, arm)
        if len(seeds) < 2:
            return None
        ours, theirs = (self._side(task, name, seeds) for name in (reference, arm))
        return None if ours.drawn is None or theirs.drawn is None else joint_draws(ours.drawn - theirs.drawn, self.seed)

    def _seeds(self, task: str, one: str, other: str) -> tuple[int, ...]:
        """Seeds of a pair; a shared predecessor has the seeds of the other side."""
        found = [
            set(by_seed(self.results, task, name, self.protocol)) for name in (one, other) if not self._is_single(name)
        ]
        return tuple(sorted(set.intersection(*found))) if found else ()

    def _is_single(self, arm: str) -> bool:
        return is_shared(self.results, arm)

    def _pair(
        self, task: str, one: str, other: str, change: Callable[[NDArray[Any], NDArray[Any]], object]
    ) -> Estimate | None:
        seeds = self._seeds(task, one, other)
        if len(seeds) < 2:
            return None
        ours, theirs = self._side(task, one, seeds), self._side(task, other, seeds)
        if not len(ours.points) or not len(theirs.points):
            return None
        drawn = None
        if ours.drawn is not None and theirs.drawn is not None:
            drawn = np.asarray(change(ours.drawn, theirs.drawn))
        return _estimate(np.asarray(change(ours.points, theirs.points)), drawn, min(ours.units, theirs.units))

    def _side(self, task: str, arm: str, seeds: Sequence[int]) -> _Side:
        """Values of these seeds; of a shared predecessor the one value for all of them."""
        values = by_seed(self.results, task, arm, self.protocol)
        single = self._is_single(arm)
        if single:
            values = dict.fromkeys(seeds, *values.values()) if len(values) == 1 else {}
        points = np.array([values[seed] for seed in seeds if seed in values])
        names = macro_tasks(self.results) if task == MACRO else (task,)
        parts = [self._drawn(name, arm, seeds, single) for name in names]
        whole = [part for part in parts if part is not None]
        if not whole or len(whole) < len(parts):
            return _Side(points, None, 0)
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


def _estimate(points: NDArray[np.float64], drawn: Draws | None, units: int) -> Estimate | None:
    return seeds_estimate(points) if drawn is None else joint_estimate(points, drawn, units)
