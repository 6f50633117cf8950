"""What the leading arm of each depth shows beyond single means: pooled over tasks, in ranks, and in order over seeds.

    for group in across_tasks(compared, differences): group.pooled, group.ranks, group.orders

A group is the leading Theseus arm of a depth and its rivals: the other successors of that depth, without the steps and
the swept arms of the suite. Only tasks of the macro score count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.statistics.across_tasks import Pooled, pool
from reports.statistics.differences import Difference, Differences, is_rival
from reports.statistics.ranks import Ranks, rank
from reports.statistics.stochastic_order import Order, orders


@dataclass(frozen=True)
class Group:
    """One leading arm and its rivals. `measured`: per rival, the tasks whose difference has a standard error.

    `pooled` and `ranks` are None where too few tasks or arms have scores. `orders` is by rival, then by task.
    """

    leader: str
    rivals: tuple[str, ...]
    measured: Mapping[str, tuple[str, ...]]
    pooled: Mapping[str, Pooled | None]
    ranks: Ranks | None
    orders: Mapping[str, Mapping[str, Order]]


def across_tasks(compared: Differences, differences: Sequence[Difference]) -> list[Group]:
    """A group for each leader with a rival, from the pairs that the page compares."""
    suite = compared.cells.results.suite
    groups: dict[str, list[str]] = {}
    for leader, arm in dict.fromkeys((d.reference, d.arm) for d in differences):
        if is_rival(suite, arm) and suite.arm(arm).layers == suite.arm(leader).layers:
            groups.setdefault(leader, []).append(arm)
    return [_group(compared, leader, rivals) for leader, rivals in groups.items()]


def _group(compared: Differences, leader: str, rivals: Sequence[str]) -> Group:
    tasks = compared.cells.macro_tasks
    found = {rival: {task: compared.of(task, leader, rival) for task in tasks} for rival in rivals}
    estimates = {
        rival: {task: d.estimate for task, d in by_task.items() if d.estimate is not None}
        for rival, by_task in found.items()
    }
    return Group(
        leader=leader,
        rivals=tuple(rivals),
        measured={rival: tuple(by_task) for rival, by_task in estimates.items()},
        pooled={rival: pool(by_task) for rival, by_task in estimates.items()},
        ranks=_ranks(compared, [leader, *rivals]),
        orders={rival: _orders(compared, by_task) for rival, by_task in found.items()},
    )


def _ranks(compared: Differences, arms: Sequence[str]) -> Ranks | None:
    """Ranks of the arms with a score on some task, over the tasks on which each of them has one."""
    cells = compared.cells
    means = {task: {arm: cells.at(task, arm).summary.mean for arm in arms} for task in cells.macro_tasks}
    scored = [arm for arm in arms if any(row[arm] is not None for row in means.values())]
    known = {task: {arm: mean for arm in scored if (mean := row[arm]) is not None} for task, row in means.items()}
    return rank({task: row for task, row in known.items() if len(row) == len(scored)})


def _orders(compared: Differences, by_task: Mapping[str, Difference]) -> dict[str, Order]:
    """The order on each task with two common seeds or more."""
    cells, pairs = compared.cells, {}
    for task, d in by_task.items():
        if d.n > 1:
            ours, theirs = (cells.at(task, name).scores for name in (d.reference, d.arm))
            pairs[task] = ([ours[seed] for seed in d.seeds], [theirs[seed] for seed in d.seeds])
    return orders(pairs)
