"""Verdicts as rows: for the page's two tables and for verdicts.csv.

rows(found)              # the claims that one number decides, and each timing condition
by_task(found)           # a row per claim about every task
absent_lines(absent)     # the claims that the suite cannot judge, a line per reason
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from reports.claims.verdict import Absent, Claim, Part, Verdict
from reports.statistics.significance import ALPHA, smallest_p
from reports.words import csv_text, listed, plain_cell, signed
from results.format.published_numbers import TASKS

Row = dict[str, Any]


def rows(found: Sequence[Verdict]) -> list[tuple[Verdict, Part]]:
    """Every part of the claims that are not decided task by task."""
    return [(verdict, part) for verdict in found if not is_by_task(verdict) for part in verdict.parts]


def is_by_task(verdict: Verdict) -> bool:
    """Whether each task of the claim is decided by itself."""
    return len(verdict.claim["tasks"]) > 1


def task_columns(found: Sequence[Verdict]) -> list[str]:
    """The tasks that some per-task claim decides here, in the paper's order."""
    named = {part.title for verdict in found if is_by_task(verdict) for part in verdict.parts}
    return [task for task in TASKS if task in named]


def by_task(found: Sequence[Verdict]) -> list[Row]:
    """The claims about every task, with cells in the order of `task_columns`."""
    columns = task_columns(found)
    return [_task_row(verdict, columns) for verdict in found if is_by_task(verdict)]


def _task_row(verdict: Verdict, columns: Sequence[str]) -> Row:
    """One claim about every task; the cell of a task that it does not decide is None."""
    parts = {part.title: part for part in verdict.parts}
    sizes = sorted({part.n for part in verdict.parts})
    family, least = max(part.family for part in verdict.parts), smallest_p(sizes[-1])
    return {
        "verdict": verdict,
        "family": family,
        "n": str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}",
        "flip": "" if least <= ALPHA / family else f"undecidable at this n: least p {least:.3g}, Holm asks for less",
        "cells": [parts.get(column) for column in columns],
    }


def interval_words(part: Part, claim: Claim) -> str:
    """`+0.4 to +1.2`; `exact` for a count, empty without an interval."""
    if part.basis == "a count":
        return "exact"
    return f"{shown(part.low, claim)} to {shown(part.high, claim)}" if part.low is not None else ""


def flip_words(part: Part) -> str:
    """The sign-flip test in words: its p, or that this number of seeds cannot decide it."""
    if part.sign_flip is None:
        return ""
    least = smallest_p(part.n)
    return f"{part.sign_flip:.3g}" if least <= ALPHA else f"undecidable at this n (least {least:.3g})"


def more_words(part: Part) -> str:
    """What would decide an undecided part, in words. Adding seeds to this suite would be a second look at it."""
    if part.word != "undecided":
        return ""
    if part.sentence or part.raw_p is None:
        return part.sentence
    if part.more is None:
        return "not by seeds alone: too near the limit" + ("" if part.basis == "seeds" else " for this dev set")
    return f"a new suite with about {part.n + part.more} seeds, at the spread seen"


def shown(value: float | None, claim: Claim) -> str:
    """A difference in points with its sign, a retention in per cent, or a ratio."""
    if value is None:
        return ""
    if claim["kind"] == "order":
        return signed(value)
    return f"{100 * value:.1f} %" if claim["metric"] == "score" else f"{value:.2f}×"


def label(verdict: Verdict) -> str:
    """Why a verdict needs care: it does not compare like with like, or has imported runs; empty otherwise."""
    return "; ".join(part for part in (verdict.label, origin(verdict) and f"{origin(verdict)} runs") if part)


def origin(verdict: Verdict) -> str:
    """`imported` where either arm has runs from a bundle, else empty."""
    return "imported" if any(arm.origin for arm in verdict.arms) else ""


def absent_lines(absent: Sequence[Absent]) -> list[str]:
    """`needs the test server: retention-test`, a line per reason."""
    reasons: dict[str, list[str]] = {}
    for item in absent:
        reasons.setdefault(item.why, []).append(item.claim["id"])
    return [f"{why}: {listed(names)}" for why, names in reasons.items()]


CSV_COLUMNS = (
    "claim", "kind", "where", "part", "verdict", "scope", "published", "here", "low", "high", "n", "basis", "p_holm",
    "family", "p", "sign_flip_p", "sign_flip_least_p", "bootstrap_p", "more_seeds", "remark",
    "origin", "size", "left_out", "if_counted", "if_counted_low", "if_counted_high", "rests_on", "claim_verdict",
)  # fmt: skip


def to_csv(found: Sequence[Verdict], absent: Sequence[Absent]) -> str:
    """A line per part of every claim, and one per claim that is not in this suite, with six digits per number."""
    rows: list[Iterable[object]] = []
    for v in found:
        for p in v.parts:
            least = None if p.sign_flip is None else smallest_p(p.n)
            tests = (p.p, p.family, p.raw_p, p.sign_flip, least, p.bootstrap)
            head = [v.claim["id"], v.claim["kind"], v.claim["where"], plain_cell(p.title), p.word, v.label]
            values = map(_number, (p.published, p.mean, p.low, p.high))
            more = "" if p.word != "undecided" or p.more is None else p.more
            row = [*head, *values, p.n, p.basis, *map(_number, tests), more, more_words(p), origin(v)]
            rows.append([*row, p.size, *_survivors(p), v.word])
    for a in absent:
        gap = dict.fromkeys(CSV_COLUMNS, "") | {"verdict": "not in this suite", "remark": a.why}
        rows.append((gap | {"claim": a.claim["id"], "kind": a.claim["kind"], "where": a.claim["where"]}).values())
    return csv_text(CSV_COLUMNS, rows)


def _survivors(part: Part) -> list[str]:
    """The seeds left out, the difference that counts them, and what a decision rests on."""
    decision = part.decision
    if decision is None:
        return [""] * 5
    counted_in = decision.if_counted
    low, high = counted_in.interval() if counted_in else (None, None)
    values = map(_number, (counted_in.mean if counted_in else None, low, high))
    return [decision.left_out, *values, "normality" if decision.on_normality else ""]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
