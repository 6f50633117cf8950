"""The paper's numbers beside a suite's: which table they come from, which rows, and what a reader must know.

    paper_value(results, arm, column)              # the printed number for one of our cells, or None
    paper_rows(results, arms, columns, "apart")    # rows for a block of their own

A suite may name the paper's table it stands beside; that table is asked first, because some rows
differ between tables (the predecessor of table 5 is not that of table 2). What it does not print is
looked up in tables 2, 7 and 6, and the note says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.published import (
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
from reports.results import Arm, Results
from reports.statistics import MACRO, macro_tasks

# What a table does not say (results/published/README.md).
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
    """A row of the paper's tables, for the block that stands apart. `changes` is table 5's, else empty."""

    title: str
    layers: int | None
    values: tuple[float | None, ...]
    speed: float | None = None
    changes: tuple[float | None, ...] = ()


def paper_value(results: Results, arm: Arm, column: Column) -> float | None:
    """The printed number of an arm's own row and depth."""
    if arm.published is None:
        return None
    table = results.suite.table
    return _value(results, arm.published, published_layers(arm.published, arm.layers, True, table), column)


def paper_rows(results: Results, arms: Sequence[Arm], columns: Sequence[Column], where: str) -> tuple[PaperRow, ...]:
    """`apart`: the named table's rows and those of our arms; `beside`: rows of the named table that no arm has."""
    table = results.suite.table
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
    rows = [_row(results, name, layers, columns) for name, layers in wanted]
    return tuple(row for row in rows if any(value is not None for value in row.values))


def note(results: Results, arms: Sequence[Arm], columns: Sequence[Column], where: str) -> str:
    """How the paper's numbers may be read, in whole sentences; empty when there is nothing to say."""
    suite = results.suite
    if suite.synthetic:
        return "The tasks are made from a synthetic language, not GLUE: the paper has nothing to set beside them."
    if where == "none":
        return "The paper prints no number for these rows and columns."
    if set(_macro_names(results)) != set(TASKS) and len(macro_tasks(results)) > 1:
        macro = "The paper's macro is taken here over the same tasks as ours, and is empty where it lacks one."
    else:
        macro = ""
    lead = suite.comparison or ("" if suite.comparable else "The encoder, depth or protocol differs from the paper's.")
    own = TABLE_NOTES.get(suite.table or 0, "")
    return " ".join(part for part in (lead, own, macro, _from_elsewhere(results, arms, columns, where)) if part)


def _from_elsewhere(results: Results, arms: Sequence[Arm], columns: Sequence[Column], where: str) -> str:
    """Rows whose numbers the named table does not print, in words."""
    table = results.suite.table
    if table is None:
        return ""
    # a macro over other than the eight tasks is computed from the cells, so it has no source of its own
    whole = set(_macro_names(results)) == set(TASKS)
    printed = [column.published for column in columns if column.name != MACRO or whole]
    strangers: dict[str, None] = {}
    for arm in arms:
        if (name := row_name(arm.published)) is None:
            continue
        layers = published_layers(name, arm.layers, where == "beside", table)
        sources = {paper_cell(name, layers, task, table=table)[1] for task in printed}
        if sources - {table, None}:
            strangers[name] = None
    if not strangers:
        return ""
    return f"What Table {table} lacks is taken from the paper's other tables: {', '.join(strangers)}."


def _row(results: Results, name: str, layers: int | None, columns: Sequence[Column]) -> PaperRow:
    table = results.suite.table
    values = tuple(_value(results, name, layers, column) for column in columns)
    names = {MACRO: _macro_names(results)}
    changes = [paper_change(name, names.get(c.name, [c.published])) for c in columns] if table == 5 else []
    return PaperRow(name, layers, values, paper_speed_up(layers) if table == 7 else None, tuple(changes))


def _value(results: Results, name: str, layers: int | None, column: Column) -> float | None:
    table = results.suite.table
    if column.name == MACRO:
        return paper_macro(name, layers, _macro_names(results), table=table)
    return paper_score(name, layers, column.published, table=table)


def _macro_names(results: Results) -> list[str | None]:
    return [task.published for task in results.suite.tasks if task.in_macro]
