"""The main table: arms down, tasks and macro across, in the paper's order, with its numbers where they belong.

    table = main_table(results)
    to_csv(table), to_latex(table)

Three cases for the paper's numbers. A comparable suite has them in the same cell. A suite that is
not comparable has them in a block of their own, with the sentence that says why they are not like
with like. A synthetic suite has none. Where the paper prints nothing the cell is empty, never zero. A suite
with a searched arm shows the chosen trial of each task and arm.
"""

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.beside import Column, PaperRow, note, paper_rows, paper_value
from reports.published import ROWS, TASKS, paper_speed_up, row_name
from reports.results import Arm, Results, Run
from reports.statistics import MACRO, Cell, cell, macro_tasks
from reports.timing import SpeedUp, speed_up, timing_for_figure
from reports.trials import chosen_runs
from reports.untrusted import text


@dataclass(frozen=True)
class Entry:
    """One cell as shown: `value` is the suite's statistic over `cell.summary.n` runs, 0 to 100."""

    cell: Cell
    value: float | None
    sd: float | None
    paper: float | None
    flagged: int
    imported: int = 0

    @property
    def remark(self) -> str:
        """Gaps, degenerate runs and imported ones in words, or empty."""
        flagged = f"{self.flagged} flagged" if self.flagged else ""
        imported = f"{self.imported} imported" if self.imported else ""
        return ", ".join(part for part in (self.cell.gap, flagged, imported) if part)


@dataclass(frozen=True)
class MainTable:
    """Rows × columns of `Entry`. `paper` says where the paper's numbers stand, `beside_table` from which table.

    `speed` has an entry per arm where depths are compared, else it is empty. `places` is how many decimals
    the paper prints.
    """

    title: str
    columns: tuple[Column, ...]
    arms: tuple[Arm, ...]
    entries: tuple[tuple[Entry, ...], ...]
    statistic: str
    protocol: str
    paper: Literal["beside", "apart", "none"]
    paper_rows: tuple[PaperRow, ...]
    note: str
    beside_table: int | None = None
    speed: tuple[SpeedUp, ...] = ()
    places: int = 1


def main_table(results: Results, protocol: str | None = None) -> MainTable:
    """The main table at a protocol's checkpoint, the suite's own by default."""
    suite = results.suite
    protocol = protocol or suite.protocol
    columns, arms = ordered_columns(results), ordered_arms(results)
    where: Literal["beside", "apart", "none"] = "beside" if suite.comparable else "apart"
    if suite.synthetic:
        where = "none"
    beside = where == "beside"
    entries = tuple(tuple(_entry(results, arm, column, protocol, beside) for column in columns) for arm in arms)
    printed = paper_rows(results, arms, columns, where) if where != "none" else ()
    if where != "none" and not printed and not any(e.paper is not None for row in entries for e in row):
        where = "none"
    return MainTable(
        title=suite.title,
        columns=columns,
        arms=arms,
        entries=entries,
        statistic=suite.statistic,
        protocol=protocol,
        paper=where,
        paper_rows=printed,
        note=note(results, arms, columns, where),
        beside_table=None if where == "none" else suite.table,
        speed=_speeds(results, arms, where == "beside"),
        places=2 if suite.table == 5 else 1,
    )


def _speeds(results: Results, arms: Sequence[Arm], beside: bool) -> tuple[SpeedUp, ...]:
    """A speed-up per arm where depths are compared: beside table 7, or where arms come out at several timed depths."""
    suite, shown = results.suite, timing_for_figure(results)
    if suite.table != 7 and not (shown and len(suite.depths) > 1):
        return ()
    with_paper = beside and suite.table == 7
    return tuple(SpeedUp(*speed_up(shown, arm), paper_speed_up(arm.layers) if with_paper else None) for arm in arms)


def ordered_columns(results: Results) -> tuple[Column, ...]:
    """Published tasks in the paper's order, then the others in the suite's, then macro for two tasks or more."""
    rank = {name: i for i, name in enumerate(TASKS)}
    tasks = sorted(results.suite.tasks, key=lambda task: rank.get(task.published or "", len(rank)))
    columns = [Column(task.name, task.title, task.published) for task in tasks]
    if len(macro_tasks(results)) > 1:
        columns.append(Column(MACRO, "Macro", "Macro"))
    return tuple(columns)


def ordered_arms(results: Results) -> tuple[Arm, ...]:
    """The predecessor, then published arms in the paper's order with unpublished rivals after them, Theseus last.

    Beside table 7 the deepest successors come first, as they do there.
    """
    rank = {name: i for i, name in enumerate(ROWS)}
    rivals = rank["LayerDrop"] + 0.5

    def key(arm: Arm) -> tuple[int, int, float]:
        group = 0 if arm.is_predecessor else 2 if arm.is_theseus else 1
        depth = -(arm.layers or 0) if results.suite.table == 7 else 0
        return depth if group else -1000, group, rank.get(row_name(arm.published) or "", rivals)

    return tuple(sorted(results.suite.arms, key=key))


def to_csv(table: MainTable) -> str:
    """One line per arm; each column gives value, sd, n, planned, remark, and the paper's number if it stands beside.

    Where depths are compared the speed-up follows.
    """
    names = ["value", "sd", "n", "planned", "remark"] + (["paper"] if table.paper == "beside" else [])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [f"{column.name} {name}" for column in table.columns for name in names]
    speed_heads = ["speed-up", "speed-up decided", "speed-up paper"] if table.speed else []
    writer.writerow(["arm", "title", "method", "layers", "statistic", "protocol", *heads, *speed_heads])
    for i, (arm, row) in enumerate(zip(table.arms, table.entries, strict=True)):
        layers = "" if arm.layers is None else arm.layers
        cells: list[object] = [arm.name, plain_cell(arm.title), arm.method, layers, table.statistic, table.protocol]
        for entry in row:
            summary = entry.cell.summary
            cells += [decimals(entry.value, 2), decimals(entry.sd, 2), summary.n, entry.cell.planned, entry.remark]
            cells += [decimals(entry.paper, table.places)] if table.paper == "beside" else []
        for speed in table.speed[i : i + 1]:
            cells += [decimals(speed.ratio, 2), "yes" if speed.decided else "no", decimals(speed.paper, 2)]
        writer.writerow(cells)
    return out.getvalue()


def to_latex(table: MainTable) -> str:
    """A booktabs tabular with escaped text; gaps as a second line of their own in the cell's row."""
    width = len(table.columns) + bool(table.speed)
    which = f", beside Table {table.beside_table} of the paper" if table.beside_table else ""
    kind = f"{table.statistic} over seeds, {protocol_name(table.protocol)} checkpoint"
    speed_head = ["Speed-up"] if table.speed else []
    lines = [
        f"% {latex_comment(table.title)}: {kind}{which}; needs booktabs",
        r"\begin{tabular}{l" + "r" * width + "}",
        r"\toprule",
        " & ".join(["Method", *(latex(column.title) for column in table.columns), *speed_head]) + r" \\",
        r"\midrule",
    ]
    for i in range(len(table.arms)):
        lines += _latex_row(table, i)
    if table.paper_rows:
        why = "not like with like" if table.paper == "apart" else "not run here"
        lines += [r"\midrule", rf"\multicolumn{{{width + 1}}}{{l}}{{\textit{{Printed in the paper, {why}}}}} \\"]
        titles = [row.title for row in table.paper_rows]
        for paper in table.paper_rows:
            title = f"{paper.title}, {paper.layers} layers" if titles.count(paper.title) > 1 else paper.title
            speed = [decimals(paper.speed, 2)] if table.speed else []
            values = [decimals(value, table.places) for value in paper.values]
            lines.append(" & ".join([latex(title), *values, *speed]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [f"% {latex_comment(table.note)}"] if table.note else []
    return "\n".join(lines) + "\n"


def _latex_row(table: MainTable, at: int) -> list[str]:
    """An arm's line, then a line of remarks and one of the paper's numbers where it has them."""
    arm, row, speed = table.arms[at], table.entries[at], table.speed[at : at + 1]
    ours = [*(_latex_entry(entry) for entry in row), *(decimals(s.ratio, 2) or "--" for s in speed)]
    lines = [" & ".join([latex(arm.title), *ours]) + r" \\"]
    undecided = ["" if s.decided or s.ratio is None else "undecided" for s in speed]
    remarks = [*(entry.remark for entry in row), *undecided]
    if any(remarks):
        small = [rf"\scriptsize {latex(remark)}" if remark else "" for remark in remarks]
        lines.append(" & ".join(["", *small]) + r" \\")
    printed = [*(decimals(entry.paper, table.places) for entry in row), *(decimals(s.paper, 2) for s in speed)]
    if table.paper == "beside" and any(printed):
        papers = [rf"\textit{{{value}}}" if value else "" for value in printed]
        lines.append(" & ".join([r"\quad\textit{paper}", *papers]) + r" \\")
    return lines


def protocol_name(protocol: str) -> str:
    """A protocol as a word before `checkpoint`."""
    return protocol.replace("_", "-")


def decimals(value: float | None, places: int) -> str:
    """A fixed number of decimals, a true minus sign never; empty for None."""
    return "" if value is None else f"{value:.{places}f}"


def plain_cell(value: str) -> str:
    """Text that a spreadsheet will not take for a formula: what begins like one gets an apostrophe before it.

    A tab or line break at the start counts as well, because it is dropped and what follows then leads; so do the
    full-width signs that some spreadsheets read like the plain ones, and signs behind characters without width.
    """
    shown = "".join(c for c in value if unicodedata.category(c) not in ("Cc", "Cf", "Zs")).lstrip()
    leads = unicodedata.normalize("NFKC", shown[:1])[:1] in ("=", "+", "-", "@") and bool(shown)
    return "'" + value if leads or value[:1] in ("\t", "\r", "\n") else value


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def latex(value: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(character, character) for character in value)


def latex_comment(value: str) -> str:
    """Text that stays inside one comment line."""
    return text(value, 4000)


def _latex_entry(entry: Entry) -> str:
    if entry.value is None:
        return "--"
    spread = "" if entry.sd is None else rf" {{\scriptsize$\pm${entry.sd:.1f}}}"
    return f"{entry.value:.1f}{spread}"


def _entry(results: Results, arm: Arm, column: Column, protocol: str, with_paper: bool) -> Entry:
    found = cell(results, column.name, arm.name, protocol)
    paper = paper_value(results, arm, column) if with_paper else None
    names = macro_tasks(results) if column.name == MACRO else (column.name,)
    runs = [run for name in names for run in chosen_runs(results, name, arm.name, protocol)]
    flagged = sum(has_flags(run, protocol) for run in runs)
    imported = sum(run.bundle is not None for run in runs)
    return Entry(found, found.summary.centre(results.suite.statistic), found.summary.sd, paper, flagged, imported)


def has_flags(run: Run, protocol: str) -> bool:
    """True when the run's checkpoint carries a flag such as `constant predictions`."""
    checkpoint = run.at(protocol)
    return checkpoint is not None and bool(checkpoint.flags)
