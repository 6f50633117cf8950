"""Paired differences between arms of a cell, the size that they can detect, and the size that matters in practice.

    compared = Differences(Estimator(Cells.of(results)))
    compared.of("rte", "theseus", "kd")        # paired by seed, with a 95 % interval
    comparisons(compared)                      # those on the page: the leading arm against the others

Intervals are Student's t over the paired differences, which includes the spread between seeds only. Where predictions
are stored they also include the sampling of the dev set (`reports.statistics.intervals`). An interval is not a verdict:
`reports.claims.decisions` says which differences are decided, after Holm over their family.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reports.statistics.bootstrap import Estimate
from reports.statistics.cells import MACRO, for_every_seed, is_shared, summarise
from reports.statistics.intervals import Estimator
from reports.statistics.power import detectable_effect
from results.format.records import Suite, leading_theseus

# The smallest difference that matters in practice, in points: one on a task of `LARGE` training examples or more and
# on the macro score; two on a smaller task, whose seeds alone differ by as much. It is this suite's convention (a
# region of practical equivalence, ROPE) and not the paper's.
LARGE, LARGE_MARGIN, SMALL_MARGIN = 10_000, 1.0, 2.0  # training examples; points


@dataclass(frozen=True)
class Difference:
    """`reference` minus `arm` on one task (or macro), in points of the 0 to 100 scale.

    `pairing` is `seed` when both arms ran on the same seeds. It is `shared` when the other side is one predecessor run
    that every seed started from: the interval is then a one-sample interval without the predecessor's own spread.
    `low` and `high` are None below two differences. A two-sided 5 % paired test with this n and this spread finds a
    difference of `detectable` four times in five. Both come from `estimate`; `basis` says what they include.
    """

    task: str
    reference: str
    arm: str
    pairing: Literal["seed", "shared"]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    detectable: float | None
    basis: str = "seeds"
    estimate: Estimate | None = None

    @property
    def n(self) -> int:
        """How many differences there are."""
        return len(self.values)

    @property
    def key(self) -> tuple[str, str, str]:
        """Task, reference and arm."""
        return self.task, self.reference, self.arm


class Differences:
    """The paired differences of one results folder at one protocol, each computed when it is first asked for."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator, self.cells = estimator, estimator.cells
        self._known: dict[tuple[str, str, str], Difference] = {}

    def of(self, task: str, reference: str, arm: str) -> Difference:
        """`reference` minus `arm` on one task (or `MACRO`)."""
        key = (task, reference, arm)
        if key not in self._known:
            self._known[key] = difference(self.estimator, *key)
        return self._known[key]


def comparisons(compared: Differences) -> list[Difference]:
    """The differences on the page: the leading Theseus arm of each depth minus the other arms of that depth.

    The predecessor is compared with each leader. An arm at a depth without a Theseus arm is compared with the suite's
    reference.
    """
    suite = compared.cells.results.suite
    tasks = [*(task.name for task in suite.tasks), *([MACRO] if len(compared.cells.macro_tasks) > 1 else [])]
    leaders = depth_leaders(suite)
    found: list[Difference] = []
    for leader in leaders:
        others = [
            arm.name
            for arm in suite.arms
            if arm.name not in leaders.values()
            and (arm.is_predecessor or leaders.get(arm.layers, next(iter(leaders.values()))) == leaders[leader])
        ]
        found += [compared.of(task, leaders[leader], other) for other in others for task in tasks]
    return found


def depth_leaders(suite: Suite) -> dict[int | None, str]:
    """The leading Theseus arm of each depth, the reference's own depth first; empty without a Theseus arm."""
    reference = leading_theseus(suite.arms)
    if reference is None:
        return {}
    first = suite.arm(reference).layers
    depths = [first, *(depth for depth in suite.depths if depth != first)]
    leaders = {depth: leading_theseus([a for a in suite.arms if a.layers == depth]) for depth in depths}
    return {depth: name for depth, name in leaders.items() if name is not None}


def is_rival(suite: Suite, name: str) -> bool:
    """Whether an arm is another method to compare with: not the predecessor, a step of an ablation or a swept arm."""
    arm = suite.arm(name)
    swept = arm.group is not None and arm.x is not None
    return not (arm.is_predecessor or swept or name in suite.steps)


def difference(estimator: Estimator, task: str, reference: str, arm: str) -> Difference:
    """The paired differences of two arms on one task."""
    cells = estimator.cells
    ours, theirs = (cells.at(task, name, estimator.protocol).scores for name in (reference, arm))
    shared = is_shared(cells.results.suite, arm)
    if shared:
        theirs = for_every_seed(theirs, ours)
    seeds = tuple(sorted(set(ours) & set(theirs)))
    values = tuple(ours[seed] - theirs[seed] for seed in seeds)
    summary = summarise(values)
    estimate = estimator.difference(task, reference, arm)
    low, high = estimate.interval() if estimate else (None, None)
    found = detectable_effect(estimate.sd, estimate.example_part, summary.n) if estimate else None
    basis = estimate.basis if estimate else "seeds"
    pairing: Literal["seed", "shared"] = "shared" if shared else "seed"
    return Difference(
        task, reference, arm, pairing, seeds, values, summary.mean, summary.sd, low, high, found, basis, estimate
    )


def practical_margin(suite: Suite, task: str) -> float:
    """The smallest difference that matters on a task, or on the macro score."""
    if task == MACRO:
        return LARGE_MARGIN
    examples = next(found.train_examples for found in suite.tasks if found.name == task)
    return LARGE_MARGIN if (examples or 0) >= LARGE else SMALL_MARGIN
