"""The main table: a row per arm, a column per task and the macro, in the paper's order, with the paper's numbers.

    table = main_table(cells, timed)

A comparable suite has the paper's number in the same cell. A suite that is not comparable has them in a separate block,
with the sentence that says why like is not compared with like. A synthetic suite has none. Where the paper prints
nothing the cell is empty, never zero. A searched arm shows the chosen trial of each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.claims.paper_numbers import Column, PaperRow, note, paper_rows, paper_value
from reports.statistics.cells import MACRO, Cell, Cells
from reports.timing.headline_setting import SpeedUp, speed_up
from results.format.documents.speed import Condition
from results.format.published_numbers import ROWS, TASKS, paper_speed_up, row_name
from results.format.records import Arm, Suite


@dataclass(frozen=True)
class Entry:
    """One cell as shown: `value` is the suite's statistic over `cell.summary.n` runs, 0 to 100."""

    cell: Cell
    value: float | None
    paper: float | None
    flagged: int
    imported: int = 0

    @property
    def remark(self) -> str:
        """Gaps, flagged runs and imported runs as text, or empty."""
        flagged = f"{self.flagged} flagged" if self.flagged else ""
        imported = f"{self.imported} imported" if self.imported else ""
        return ", ".join(part for part in (self.cell.gap, flagged, imported) if part)


@dataclass(frozen=True)
class MainTable:
    """Rows × columns of `Entry`. `paper` says where the paper's numbers are, `beside_table` from which table.

    `speed` has an entry per arm where depths are compared, else it is empty. The paper prints `places` decimals.
    """

    suite: Suite
    columns: tuple[Column, ...]
    arms: tuple[Arm, ...]
    entries: tuple[tuple[Entry, ...], ...]
    paper: Literal["beside", "apart", "none"]
    paper_rows: tuple[PaperRow, ...]
    note: str
    beside_table: int | None = None
    speed: tuple[SpeedUp, ...] = ()
    places: int = 1

    def column(self, column: Column) -> tuple[Entry, ...]:
        """The entries of one column, arm by arm."""
        at = self.columns.index(column)
        return tuple(row[at] for row in self.entries)


def main_table(cells: Cells, timed: Sequence[Condition]) -> MainTable:
    """The main table at the suite's own checkpoint; `timed` are the conditions that give the speed-ups."""
    suite = cells.results.suite
    columns, arms = ordered_columns(cells), ordered_arms(suite)
    where: Literal["beside", "apart", "none"] = "beside" if suite.comparable else "apart"
    if suite.synthetic:
        where = "none"
    entries = tuple(tuple(_entry(cells, arm, column, where == "beside") for column in columns) for arm in arms)
    printed = paper_rows(suite, arms, columns, where) if where != "none" else ()
    if where != "none" and not printed and not any(e.paper is not None for row in entries for e in row):
        where = "none"
    return MainTable(
        suite=suite,
        columns=columns,
        arms=arms,
        entries=entries,
        paper=where,
        paper_rows=printed,
        note=note(suite, arms, columns, where),
        beside_table=None if where == "none" else suite.table,
        speed=_speeds(suite, timed, arms, where == "beside"),
        places=2 if suite.table == 5 else 1,
    )


def _speeds(suite: Suite, timed: Sequence[Condition], arms: Sequence[Arm], beside: bool) -> tuple[SpeedUp, ...]:
    """A speed-up per arm where depths are compared: beside table 7, or where arms have several timed depths."""
    if suite.table != 7 and not (timed and len(suite.depths) > 1):
        return ()
    with_paper = beside and suite.table == 7
    return tuple(SpeedUp(*speed_up(timed, arm), paper_speed_up(arm.layers) if with_paper else None) for arm in arms)


def ordered_columns(cells: Cells) -> tuple[Column, ...]:
    """Published tasks in the paper's order, then the others in the suite's order, then macro for several tasks."""
    rank = {name: i for i, name in enumerate(TASKS)}
    tasks = sorted(cells.results.suite.tasks, key=lambda task: rank.get(task.published or "", len(rank)))
    columns = [Column(task.name, task.title, task.published) for task in tasks]
    if len(cells.macro_tasks) > 1:
        columns.append(Column(MACRO, "Macro", "Macro"))
    return tuple(columns)


def ordered_arms(suite: Suite) -> tuple[Arm, ...]:
    """The predecessor, then published arms in the paper's order, then unpublished rivals, then Theseus.

    Beside table 7 the deepest successors come first, as in that table.
    """
    rank = {name: i for i, name in enumerate(ROWS)}
    rivals = rank["LayerDrop"] + 0.5

    def key(arm: Arm) -> tuple[int, int, float]:
        group = 0 if arm.is_predecessor else 2 if arm.is_theseus else 1
        depth = -(arm.layers or 0) if suite.table == 7 else 0
        return depth if group else -1000, group, rank.get(row_name(arm.published) or "", rivals)

    return tuple(sorted(suite.arms, key=key))


def _entry(cells: Cells, arm: Arm, column: Column, with_paper: bool) -> Entry:
    suite, found = cells.results.suite, cells.at(column.name, arm.name)
    paper = paper_value(suite, arm, column) if with_paper else None
    checkpoints = [run.at(suite.protocol) for run in found.runs]
    flagged = sum(checkpoint is not None and bool(checkpoint.flags) for checkpoint in checkpoints)
    imported = sum(run.bundle is not None for run in found.runs)
    return Entry(found, found.summary.centre(suite.statistic), paper, flagged, imported)
