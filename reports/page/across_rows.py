"""What a leading arm shows across tasks and seeds as rows for the page, and the same numbers as CSV.

sections(found)        # a section per leading arm: pooled over tasks, ranks, stochastic order
to_csv(found)          # across_tasks.csv: analysis, arm, against, task, quantity, value, origin
search_rows(found)     # the expected best of k trials, a row per arm
search_csv(found)      # search.csv
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.findings.across_tasks import Group
from reports.findings.findings import Findings
from reports.statistics.across_tasks import LEAST_TASKS, Shrunken
from reports.statistics.cells import MACRO
from reports.statistics.ranks import LEAST_ARMS, Ranks
from reports.statistics.stochastic_order import Order
from reports.words import counted, csv_text, listed, p_words, signed

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
    decided = [row for rival in group.rivals if (row := _order_row(found, group, rival)) is not None]
    return {
        "arm": group.leader,
        "leader": _arm(found, group.leader),
        "tasks": [(name, _title(found, name)) for name in found.cells.macro_tasks],
        "pooled": [row for rival in group.rivals if (row := _pooled_row(found, group, rival)) is not None],
        "unpooled": _unpooled(found, group),
        "unfinished": _unfinished(found, group),
        "bases": sorted({d.basis for d in found.differences if d.reference == group.leader and d.low is not None}),
        "ranks": _ranks(found, group.ranks, bool(_unfinished(found, group))) if group.ranks else None,
        "unranked": _unranked(found, group),
        "orders": decided if _decidable(group) else [],
        "unordered": "" if _decidable(group) else _unordered(group),
    }


def _title(found: Findings, task: str) -> str:
    return next(column.title for column in found.table.columns if column.name == task)


def _arm(found: Findings, name: str) -> str:
    return found.results.suite.arm(name).title


def _pooled_row(found: Findings, group: Group, rival: str) -> Row | None:
    pooled = group.pooled[rival]
    if pooled is None:
        return None
    macro = next((d for d in found.differences if (d.task, d.reference, d.arm) == (MACRO, group.leader, rival)), None)
    return {
        "against": _arm(found, rival),
        "macro": signed(macro.mean) if macro else "",
        "macro_interval": _interval(macro.low, macro.high) if macro else "",
        "mean": signed(pooled.mean),
        "interval": _interval(pooled.low, pooled.high),
        "bold": (pooled.low > 0 or pooled.high < 0) and not _open(found, group, rival),
        "between": f"{pooled.between:.1f}",
        "between_interval": f"{pooled.between_low:.1f} to {pooled.between_high:.1f}",
        "tasks": [_shrunken_cell(pooled.tasks.get(t), _open(found, group, rival)) for t in found.cells.macro_tasks],
    }


def _shrunken_cell(task: Shrunken | None, open_: str) -> Row | None:
    if task is None:
        return None
    return {
        "mean": signed(task.mean),
        "interval": _interval(task.low, task.high),
        "bold": (task.low > 0 or task.high < 0) and not open_,
        "kept": f"{100 * task.kept:.0f} % of {signed(task.measured)}",
    }


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{signed(low)} to {signed(high)}"


def _unpooled(found: Findings, group: Group) -> str:
    """Which rivals have no estimate over tasks, and why; empty where all have one."""
    gaps = [
        f"{_arm(found, rival)} ({counted(len(group.measured[rival]), 'task')})"
        for rival in group.rivals
        if group.pooled[rival] is None
    ]
    need = f"A mean over tasks like these needs {LEAST_TASKS} tasks on which a difference has a standard error"
    return f"{need}. Too few: {listed(gaps)}." if gaps else ""


def _ranks(found: Findings, ranks: Ranks, unfinished: bool) -> Row:
    named = [] if unfinished else ranks.separated
    most, pairs = len(ranks.mean) - 1, [f"{_arm(found, a)} from {_arm(found, b)}" for a, b in named]
    enough = f"{ranks.critical:.2f} of at most {most}"
    if ranks.critical > most:
        enough += ", which no pair of arms could have reached"
    said = f"Separated: {listed(pairs)}." if pairs else "No pair of arms is separated."
    said = "Nothing is concluded from these ranks while seeds are left out or still to run." if unfinished else said
    return {
        "rows": [
            (_arm(found, arm), f"{mean:.2f}", [_rank(ranks, task, arm) for task in found.cells.macro_tasks])
            for arm, mean in ranks.mean.items()
        ],
        "sentence": f"{counted(len(ranks.mean), 'arm')} on {counted(len(ranks.by_task), 'task')}. Friedman's "
        f"chi-square {ranks.friedman:.2f}, p {p_words(ranks.p)} by permutation; Nemenyi's critical difference at 5 %: "
        f"{enough}. {said}",
    }


def _rank(ranks: Ranks, task: str, arm: str) -> str:
    return f"{ranks.by_task[task][arm]:g}" if task in ranks.by_task else "–"


def _unranked(found: Findings, group: Group) -> str:
    if group.ranks is not None or len(group.rivals) + 1 < LEAST_ARMS:
        return ""
    return f"Ranks over tasks need {LEAST_TASKS} tasks on which every one of {LEAST_ARMS} or more arms has a score."


def _order_row(found: Findings, group: Group, rival: str) -> Row | None:
    by_task = group.orders[rival]
    if not by_task:
        return None
    open_ = _open(found, group, rival)
    cells = [_order_cell(by_task[task], open_) if task in by_task else None for task in found.cells.macro_tasks]
    return {"against": _arm(found, rival), "cells": cells}


def _order_cell(order: Order, open_: str) -> Row:
    few = order.word == "too few seeds"
    word = f"{order.word}: {order.n} of {order.least_seeds}" if few else order.word
    return {
        "word": "open" if open_ and not few else word,
        "bold": order.word in ("larger", "smaller") and not open_,
        "superior": "" if few else f"{100 * order.superior:.0f} %",
        "violation": "" if few else f"{order.violation:.2f}, at most {order.bound:.2f}",
        "p": "" if few else p_words(order.p),
    }


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


def search_rows(found: Findings) -> Row:
    """The expected best of 1, 2, 4, … trials and of all; a cell is empty beyond an arm's complete trials."""
    longest = max((len(curve.values) for curve in found.search), default=0)
    ks = sorted({k for k in (*TRIALS_SHOWN, *(len(curve.values) for curve in found.search)) if k <= longest})
    return {
        "ks": ks,
        "rows": [
            {
                "arm": _arm(found, curve.arm),
                "trials": curve.trials,
                "tasks": len(curve.tasks),
                "left_out": curve.left_out,
                "values": [f"{curve.values[k - 1]:.1f}" if k <= len(curve.values) else "" for k in ks],
            }
            for curve in found.search
        ],
    }


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
