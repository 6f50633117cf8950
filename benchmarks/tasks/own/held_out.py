"""Which rows of a training file become dev where the user gives no dev file.

A fixed hash puts the rows into an order, so that the same rows are dev on every machine and in every run, whatever the
run's seed. The first row of each class stays in train: a class that only dev has cannot be learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from benchmarks.base.errors import SuiteError
from benchmarks.tasks.own.files import Rows
from benchmarks.tasks.settings import OwnData


def dev_rows(own: OwnData, rows: Rows, classes: Sequence[float]) -> tuple[list[int], list[int]]:
    """The rows to train on and those of dev, both ascending. `classes`: the class of each row, empty for a regression.
    Raises `SuiteError` if fewer than two rows can become dev."""
    groups = _groups(own, rows)
    firsts = {groups[row] for row in {value: row for row, value in reversed(list(enumerate(classes)))}.values()}
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    wanted = max(2, round(own.dev_share * len(rows)))
    dev: list[int] = []
    for group in sorted(members.keys() - firsts, key=_order):
        if len(dev) + len(members[group]) <= wanted:
            dev += members[group]
    if len(dev) < 2 or len(rows) - len(dev) < 2:
        together = f", because rows of one {own.group} stay together" if own.group else ""
        raise SuiteError(
            f"{rows.place}: of its {len(rows):,} rows {len(dev):,} can be held out as dev{together}: give a dev file, "
            "more rows or another dev_share"
        )
    taken = set(dev)
    return [row for row in range(len(rows)) if row not in taken], sorted(dev)


def _groups(own: OwnData, rows: Rows) -> list[int]:
    """For each row the first row of its group; without groups, the row itself."""
    if own.group is None:
        return list(range(len(rows)))
    firsts: dict[str, int] = {}
    found = []
    for row, value in enumerate(rows.column(own.group)):
        if value is None or value == "":
            raise SuiteError(f"{rows.at(row)}: column {own.group!r} is empty: every row belongs to a group")
        found.append(firsts.setdefault(str(value), row))
    return found


def _order(group: int) -> bytes:
    return hashlib.sha256(f"own dev rows/{group}".encode()).digest()
