"""The paper's numbers beside a suite's: which table and rows they come from, and a note for the reader.

    paper_value(suite, arm, column)              # the printed number for one of our cells, or None
    paper_rows(suite, arms, columns, "apart")    # rows for a block of their own

A suite may name the table of the paper that it is compared with. Numbers come from that table first, because some rows
differ between tables (the predecessor of table 5 is not that of table 2). Numbers that it does not print come from
tables 2, 7 and 6, and the note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.statistics.cells import MACRO, macro_tasks
from results.format.published_numbers import (
    TASKS,
    paper_cell,
    paper_change,
    paper_macro,
    paper_score,
    paper_speed_up,
    published_layers,
    row_name,
    table_rows,
)
from results.format.records import Arm, Suite

# Things that a table does not say (results/published/README.md).
TABLE_NOTES = {
    4: "Table 4 has no CoLA and prints no macro: the one here is the mean of its cells.",
    5: "Table 5 does not name its metrics and prints no macro, and its predecessor is not that of Table 2.",
    6: "Table 6 prints no macro: the one here is the mean of its cells.",
    7: "Table 7 names no device, batch size, length or precision for its speed-ups.",
}


@dataclass(frozen=True)
class Column:
    """A task, or the macro score. `published`: its name in the paper's tables, or None."""

    name: str
    title: str
    published: str | None


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's tables, for the separate block. `changes` is empty except for table 5."""

    title: str
    layers: int | None
    values: tuple[float | None, ...]
    speed: float | None = None
    changes: tuple[float | None, ...] = ()


def paper_value(suite: Suite, arm: Arm, column: Column) -> float | None:
    """The printed number of an arm's own row and depth."""
    if arm.published is None:
        return None
    return _value(suite, arm.published, published_layers(arm.published, arm.layers, True, suite.table), column)


def paper_rows(suite: Suite, arms: Sequence[Arm], columns: Sequence[Column], where: str) -> tuple[PaperRow, ...]:
    """`apart`: the rows of the named table and of our arms; `beside`: the rows of the named table without an arm."""
    table = suite.table
    named = table_rows(table) if table is not None else ()
    if where == "beside":
        ours = {(row_name(arm.published), arm.layers) for arm in arms}
        wanted: list[tuple[str, int | None]] = [row for row in named if row not in ours]
    else:
        known = {name for name, _ in named}
        names = dict.fromkeys(name for arm in arms if (name := row_name(arm.published)) and name not in known)
        depths = {row_name(arm.published): arm.layers for arm in reversed(arms)}
        other = [(name, published_layers(name, depths[name], False, table)) for name in names]
        wanted = [*named, *other]
    rows = [_row(suite, name, layers, columns) for name, layers in wanted]
    return tuple(row for row in rows if any(value is not None for value in row.values))


def note(suite: Suite, arms: Sequence[Arm], columns: Sequence[Column], where: str) -> str:
    """How the paper's numbers may be read, in whole sentences; empty when no remark is needed."""
    if suite.synthetic:
        return "The tasks are made from a synthetic language, not GLUE: the paper has nothing to set beside them."
    if where == "none":
        return "The paper prints no number for these rows and columns."
    macro = "The paper's macro is taken here over the same tasks as ours, and is empty where it lacks one."
    if set(_macro_names(suite)) == set(TASKS) or len(macro_tasks(suite)) < 2:
        macro = ""
    lead = suite.comparison or ("" if suite.comparable else "The encoder, depth or protocol differs from the paper's.")
    own = TABLE_NOTES.get(suite.table or 0, "")
    return " ".join(part for part in (lead, own, macro, _from_elsewhere(suite, arms, columns, where)) if part)


def _from_elsewhere(suite: Suite, arms: Sequence[Arm], columns: Sequence[Column], where: str) -> str:
    """A sentence on the rows whose numbers the named table does not print."""
    table = suite.table
    if table is None:
        return ""
    # A macro over other tasks than the eight is computed from the cells, so it has no source of its own.
    whole = set(_macro_names(suite)) == set(TASKS)
    printed = [column.published for column in columns if column.name != MACRO or whole]
    strangers: dict[str, None] = {}
    for arm in arms:
        if name := row_name(arm.published):
            layers = published_layers(name, arm.layers, where == "beside", table)
            if {paper_cell(name, layers, task, table=table)[1] for task in printed} - {table, None}:
                strangers[name] = None
    named = ", ".join(strangers)
    return f"What Table {table} lacks is taken from the paper's other tables: {named}." if named else ""


def _row(suite: Suite, name: str, layers: int | None, columns: Sequence[Column]) -> PaperRow:
    table = suite.table
    values = tuple(_value(suite, name, layers, column) for column in columns)
    names = {MACRO: _macro_names(suite)}
    changes = [paper_change(name, names.get(c.name, [c.published])) for c in columns] if table == 5 else []
    return PaperRow(name, layers, values, paper_speed_up(layers) if table == 7 else None, tuple(changes))


def _value(suite: Suite, name: str, layers: int | None, column: Column) -> float | None:
    table = suite.table
    if column.name == MACRO:
        return paper_macro(name, layers, _macro_names(suite), table=table)
    return paper_score(name, layers, column.published, table=table)


def _macro_names(suite: Suite) -> list[str | None]:
    return [task.published for task in suite.tasks if task.in_macro]
