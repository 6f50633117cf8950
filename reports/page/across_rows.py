"""What a leading arm shows across tasks and seeds, for the page, and the same numbers as CSV.

sections(found)        # a section per leading arm: pooled over tasks, ranks, stochastic order
to_csv(found)          # across_tasks.csv: analysis, arm, against, task, quantity, value, origin
trial_counts(found)    # the columns of the expected best of k trials
search_csv(found)      # search.csv
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.findings.across_tasks import Group
from reports.findings.findings import Findings
from reports.statistics.across_tasks import LEAST_TASKS
from reports.statistics.cells import MACRO
from reports.statistics.ranks import LEAST_ARMS, Ranks
from reports.words import counted, csv_text, listed, p_words

Row = dict[str, Any]
TRIALS_SHOWN = (1, 2, 4, 8, 16, 32, 64)


def sections(found: Findings) -> list[Row]:
    """A section per leading arm."""
    return [_section(found, group) for group in _shown(found)]


def _shown(found: Findings) -> list[Group]:
    """The leading arms; none where there is one task and no pair has the seeds for a test of order."""
    return [group for group in found.across if len(found.cells.macro_tasks) > 1 or _decidable(group)]


def _decidable(group: Group) -> bool:
    return any(order.word != "too few seeds" for by_task in group.orders.values() for order in by_task.values())


def _open(found: Findings, group: Group, rival: str) -> str:
    """Why nothing may be concluded about a pair: seeds that failed or are still to run; else empty."""
    tasks = (*found.cells.macro_tasks, MACRO)
    decisions = [found.decisions.get((task, group.leader, rival)) for task in tasks]
    return next((d.why or d.left_out for d in decisions if d is not None and (d.why or d.left_out)), "")


def _unfinished(found: Findings, group: Group) -> list[str]:
    """A line for each rival of which nothing is concluded in this section."""
    said = [(rival, _open(found, group, rival)) for rival in group.rivals]
    return [f"{_arm(found, rival)}: {why}" for rival, why in said if why]


def _section(found: Findings, group: Group) -> Row:
    unfinished = _unfinished(found, group)
    return {
        "group": group,
        "leader": _arm(found, group.leader),
        "rivals": [_rival(found, group, rival) for rival in group.rivals],
        "unpooled": _unpooled(found, group),
        "unfinished": unfinished,
        "bases": sorted({d.basis for d in found.differences if d.reference == group.leader and d.low is not None}),
        "ranking": _ranking(found, group.ranks, bool(unfinished)) if group.ranks else "",
        "unranked": _unranked(group),
        "ordered": _decidable(group),
        "unordered": "" if _decidable(group) else _unordered(group),
    }


def _rival(found: Findings, group: Group, name: str) -> Row:
    return {
        "title": _arm(found, name),
        "open": _open(found, group, name),
        "macro": next((d for d in found.differences if d.key == (MACRO, group.leader, name)), None),
        "pooled": group.pooled[name],
        "orders": group.orders[name],
    }


def _arm(found: Findings, name: str) -> str:
    return found.results.suite.arm(name).title


def _unpooled(found: Findings, group: Group) -> str:
    """Which rivals have no estimate over tasks, and why; empty where all have one."""
    gaps = [
        f"{_arm(found, rival)} ({counted(len(group.measured[rival]), 'task')})"
        for rival in group.rivals
        if group.pooled[rival] is None
    ]
    need = f"A mean over tasks like these needs {LEAST_TASKS} tasks on which a difference has a standard error"
    return f"{need}. Too few: {listed(gaps)}." if gaps else ""


def _ranking(found: Findings, ranks: Ranks, unfinished: bool) -> str:
    """Friedman's test and the critical difference, and the pairs of arms that it separates."""
    most, pairs = len(ranks.mean) - 1, [f"{_arm(found, a)} from {_arm(found, b)}" for a, b in ranks.separated]
    enough = f"{ranks.critical:.2f} of at most {most}"
    if ranks.critical > most:
        enough += ", which no pair of arms could have reached"
    said = f"Separated: {listed(pairs)}." if pairs else "No pair of arms is separated."
    said = "Nothing is concluded from these ranks while seeds are left out or still to run." if unfinished else said
    return (
        f"{counted(len(ranks.mean), 'arm')} on {counted(len(ranks.by_task), 'task')}. Friedman's chi-square "
        f"{ranks.friedman:.2f}, p {p_words(ranks.p)} by permutation; Nemenyi's critical difference at 5 %: {enough}. "
        f"{said}"
    )


def _unranked(group: Group) -> str:
    if group.ranks is not None or len(group.rivals) + 1 < LEAST_ARMS:
        return ""
    return f"Ranks over tasks need {LEAST_TASKS} tasks on which every one of {LEAST_ARMS} or more arms has a score."


def _unordered(group: Group) -> str:
    """Why no pair has a test of order: the seeds at hand and those that are needed."""
    found = [order for by_task in group.orders.values() for order in by_task.values()]
    if not found:
        return ""
    least, most = min(order.least_seeds for order in found), max(order.n for order in found)
    return (
        f"Too few seeds: whether whole distributions over seeds are in order can be tested here from {least} common "
        f"seeds on, and there are at most {most}."
    )


def trial_counts(found: Findings) -> list[int]:
    """The numbers of trials to show: 1, 2, 4, … and all of each arm."""
    lengths = {len(curve.values) for curve in found.search}
    return sorted(k for k in {*TRIALS_SHOWN, *lengths} if k <= max(lengths, default=0))


def to_csv(found: Findings) -> str | None:
    """One number per line; None where the page has no such section or it has no number."""
    lines = [(line, _line_open(found, group, line[2])) for group in _shown(found) for line in _lines(group)]
    if not lines:
        return None
    heads = ("analysis", "arm", "against", "task", "quantity", "value", "origin", "open")
    rows = [[*line[:5], f"{line[5]:.6g}", _origin(found, line[1], line[2]), why] for line, why in lines]
    return csv_text(heads, rows)


def _line_open(found: Findings, group: Group, rival: str) -> str:
    return _open(found, group, rival) if rival else "; ".join(_unfinished(found, group))


def _lines(group: Group) -> Iterator[tuple[str, str, str, str, str, float]]:
    """(analysis, arm, against, task, quantity, value)."""
    for rival in group.rivals:
        head = (group.leader, rival)
        if pooled := group.pooled[rival]:
            yield from (("pooled", *head, "", *pair) for pair in vars(pooled).items() if pair[0] != "tasks")
            for name, task in pooled.tasks.items():
                yield from (("shrunken", *head, name, *pair) for pair in vars(task).items())
        for name, order in group.orders[rival].items():
            kept = ("n", "least_seeds") if order.word == "too few seeds" else vars(order)
            yield from (("order", *head, name, quantity, getattr(order, quantity)) for quantity in kept)
    if ranks := group.ranks:
        for quantity in ("friedman", "p", "critical"):
            yield "ranks", group.leader, "", "", quantity, getattr(ranks, quantity)
        yield from (("ranks", arm, "", "", "mean", mean) for arm, mean in ranks.mean.items())
        for name, row in ranks.by_task.items():
            yield from (("ranks", arm, "", name, "rank", value) for arm, value in row.items())


def search_csv(found: Findings) -> str | None:
    """A line per arm and number of trials; None without a search."""
    rows = [
        [curve.arm, " ".join(curve.tasks), k, f"{value:.6g}", _origin(found, curve.arm)]
        for curve in found.search
        for k, value in enumerate(curve.values, 1)
    ]
    return csv_text(("arm", "tasks", "trials", "expected_best", "origin"), rows) if rows else None


def _origin(found: Findings, *names: str) -> str:
    return "imported" if any(found.results.suite.arm(name).origin for name in names if name) else ""
