"""Verdicts as rows: for the page's two tables and for verdicts.csv.

rows(found)              # a row per claim that one number decides, and per timing condition
by_task(found)           # a row per claim that each task decides alone
absent_lines(absent)     # what the suite cannot speak to, a line per reason
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from reports.headline import counted, listed
from reports.published import TASKS
from reports.significance import decidable
from reports.tables import plain_cell
from reports.verdicts import Absent, Part, Verdict, flip_words, more_words, shown


@dataclass(frozen=True)
class Row:
    """One line of the table of verdicts, numbers in words."""

    sentence: str
    where: str
    word: str
    label: str
    note: str
    here: str
    interval: str
    paper: str
    n: str
    p: str
    family: str
    flip: str
    more: str


@dataclass(frozen=True)
class TaskRow:
    """A claim about every task: one cell per task of `TASKS` that any claim decides, None where it does not."""

    sentence: str
    where: str
    word: str
    label: str
    counts: str
    family: int
    n: str
    flip: str
    cells: tuple[tuple[Part, Row] | None, ...]


def rows(found: Sequence[Verdict]) -> list[Row]:
    """Every part of the claims that are not about each task."""
    return [row(verdict, part) for verdict in found if not is_by_task(verdict) for part in verdict.parts]


def is_by_task(verdict: Verdict) -> bool:
    """True for a claim whose tasks are each decided alone."""
    return len(verdict.claim["tasks"]) > 1


def task_columns(found: Sequence[Verdict]) -> list[str]:
    """The tasks that any per-task claim decides here, in the paper's order."""
    named = {part.title for verdict in found if is_by_task(verdict) for part in verdict.parts}
    return [task for task in TASKS if task in named]


def by_task(found: Sequence[Verdict]) -> list[TaskRow]:
    """The claims about each task, cells in the order of `task_columns`."""
    columns = task_columns(found)
    lines = []
    for v in found:
        if is_by_task(v):
            parts = {part.title: part for part in v.parts}
            cells = tuple((parts[c], row(v, parts[c])) if c in parts else None for c in columns)
            sizes = sorted({part.n for part in v.parts})
            n = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
            family = max(part.family for part in v.parts)
            said = decidable(sizes[-1], family=family)
            flip = "" if said.possible else f"undecidable at this n: least p {said.smallest:.3g}, Holm asks for less"
            counts, claim = v.counts, v.claim
            lines.append(TaskRow(claim["sentence"], claim["where"], v.word, label(v), counts, family, n, flip, cells))
    return lines


def row(verdict: Verdict, part: Part) -> Row:
    """One part of a claim in words."""
    claim = verdict.claim
    title = "" if part.title in ("Macro", "Counted") or is_by_task(verdict) else part.title
    low, high = (shown(value, claim) for value in (part.low, part.high))
    exact = part.basis == "a count"
    return Row(
        sentence=claim["sentence"],
        where=claim["where"],
        word=part.word,
        label=label(verdict),
        note=title,
        here=shown(part.mean, claim),
        interval=f"{low} to {high}" if low and not exact else "exact" if exact else "",
        paper=shown(part.published, claim),
        n="" if exact else counted(part.n, "round" if part.basis == "rounds" else "seed"),
        p=p_words(part.p),
        family=f"Holm over {part.family}" if claim["kind"] == "order" and part.p is not None else "",
        flip=flip_words(part),
        more=more_words(part),
    )


def label(verdict: Verdict) -> str:
    """Why a verdict is to be read with care: no like for like, imported runs behind it; empty where nothing is."""
    return "; ".join(part for part in (verdict.label, origin(verdict) and f"{origin(verdict)} runs") if part)


def origin(verdict: Verdict) -> str:
    """`imported` where either arm has runs out of a bundle, else empty."""
    return "imported" if any(arm.origin for arm in verdict.arms) else ""


def p_words(p: float | None) -> str:
    """`0.012`, `< 0.001`; empty for None."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def absent_lines(absent: Sequence[Absent]) -> list[str]:
    """`needs the test server: retention-test`, a line per reason."""
    reasons: dict[str, list[str]] = {}
    for item in absent:
        reasons.setdefault(item.why, []).append(item.claim["id"])
    return [f"{why}: {listed(names)}" for why, names in reasons.items()]


CSV_COLUMNS = (
    "claim", "kind", "where", "part", "verdict", "scope", "published", "here", "low", "high", "n", "basis", "p_holm",
    "family", "p", "sign_flip_p", "sign_flip_least_p", "bootstrap_p", "more_seeds", "remark",
    "origin",
)  # fmt: skip


def to_csv(found: Sequence[Verdict], absent: Sequence[Absent]) -> str:
    """A line per part of every claim, and one per claim that is not in this suite; numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for v in found:
        for p in v.parts:
            numbers = [
                _number(x)
                for x in (p.p, p.family, p.raw_p, p.sign_flip, p.sign_flip_least, p.bootstrap)
            ]  # fmt: skip
            head = [v.claim["id"], v.claim["kind"], v.claim["where"], plain_cell(p.title), p.word, v.label]
            values = [_number(x) for x in (p.published, p.mean, p.low, p.high)]
            more = "" if p.word != "undecided" or p.more is None else p.more
            writer.writerow([*head, *values, p.n, p.basis, *numbers, more, more_words(p), origin(v)])
    for a in absent:
        gap = [""] * (len(CSV_COLUMNS) - 7)
        writer.writerow([a.claim["id"], a.claim["kind"], a.claim["where"], "", "not in this suite", *gap, a.why, ""])
    return out.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
