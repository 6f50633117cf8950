"""The main table: arms down, tasks and macro across, in the paper's order, with its numbers where they belong.

    table = main_table(results)
    to_csv(table), to_latex(table)

Three cases for the paper's numbers. A comparable suite has them in the same cell. A suite that is
not comparable has them in a block of their own, with the sentence that says why they are not like
with like. A synthetic suite has none. Where the paper prints nothing the cell is empty, never zero.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.published import ROWS, TASKS, paper_macro, paper_score, published_layers, row_name
from reports.reader import Arm, Results, Run
from reports.statistics import MACRO, Cell, cell, macro_tasks


@dataclass(frozen=True)
class Column:
    """A task, or the macro score. `published`: its name in the paper's tables, or None."""

    name: str
    title: str
    published: str | None


@dataclass(frozen=True)
class Entry:
    """One cell as shown: `value` is the suite's statistic over `cell.summary.n` runs, 0 to 100."""

    cell: Cell
    value: float | None
    sd: float | None
    paper: float | None
    flagged: int

    @property
    def remark(self) -> str:
        """Gaps and degenerate runs in words, or empty."""
        flagged = f"{self.flagged} flagged" if self.flagged else ""
        return ", ".join(part for part in (self.cell.gap, flagged) if part)


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's tables, for the block that stands apart."""

    title: str
    layers: int | None
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class MainTable:
    """Rows × columns of `Entry`. `paper` says where the paper's numbers stand."""

    title: str
    columns: tuple[Column, ...]
    arms: tuple[Arm, ...]
    entries: tuple[tuple[Entry, ...], ...]
    statistic: str
    protocol: str
    paper: Literal["beside", "apart", "none"]
    paper_rows: tuple[PaperRow, ...]
    note: str


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
    apart = _paper_rows(results, arms, columns) if where == "apart" else ()
    if where != "none" and not apart and not any(e.paper is not None for row in entries for e in row):
        where = "none"
    return MainTable(
        suite.title, columns, arms, entries, suite.statistic, protocol, where, apart, _note(results, where)
    )


def ordered_columns(results: Results) -> tuple[Column, ...]:
    """Published tasks in the paper's order, then the others in the suite's, then macro for two tasks or more."""
    rank = {name: i for i, name in enumerate(TASKS)}
    tasks = sorted(results.suite.tasks, key=lambda task: rank.get(task.published or "", len(rank)))
    columns = [Column(task.name, task.title, task.published) for task in tasks]
    if len(macro_tasks(results)) > 1:
        columns.append(Column(MACRO, "Macro", "Macro"))
    return tuple(columns)


def ordered_arms(results: Results) -> tuple[Arm, ...]:
    """The predecessor, then published arms in the paper's order with unpublished rivals after them, Theseus last."""
    rank = {name: i for i, name in enumerate(ROWS)}
    rivals = rank["LayerDrop"] + 0.5

    def key(arm: Arm) -> tuple[int, float]:
        group = 0 if arm.is_predecessor else 2 if arm.method == "theseus" else 1
        return group, rank.get(row_name(arm.published) or "", rivals)

    return tuple(sorted(results.suite.arms, key=key))


def to_csv(table: MainTable) -> str:
    """One line per arm; each column gives value, sd, n, planned, remark, and the paper's number if it stands beside."""
    names = ["value", "sd", "n", "planned", "remark"] + (["paper"] if table.paper == "beside" else [])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [f"{column.name} {name}" for column in table.columns for name in names]
    writer.writerow(["arm", "title", "method", "layers", "statistic", "protocol", *heads])
    for arm, row in zip(table.arms, table.entries, strict=True):
        layers = "" if arm.layers is None else arm.layers
        cells: list[object] = [arm.name, plain_cell(arm.title), arm.method, layers, table.statistic, table.protocol]
        for entry in row:
            summary = entry.cell.summary
            cells += [decimals(entry.value, 2), decimals(entry.sd, 2), summary.n, entry.cell.planned, entry.remark]
            cells += [decimals(entry.paper, 1)] if table.paper == "beside" else []
        writer.writerow(cells)
    return out.getvalue()


def to_latex(table: MainTable) -> str:
    """A booktabs tabular with escaped text; gaps as a second line of their own in the cell's row."""
    width = len(table.columns)
    lines = [
        f"% {latex_comment(table.title)}: {table.statistic} over seeds, {table.protocol} checkpoint; needs booktabs",
        r"\begin{tabular}{l" + "r" * width + "}",
        r"\toprule",
        " & ".join(["Method", *(latex(column.title) for column in table.columns)]) + r" \\",
        r"\midrule",
    ]
    for arm, row in zip(table.arms, table.entries, strict=True):
        lines.append(" & ".join([latex(arm.title), *(_latex_entry(entry) for entry in row)]) + r" \\")
        if any(entry.remark for entry in row):
            remarks = [rf"\scriptsize {latex(entry.remark)}" if entry.remark else "" for entry in row]
            lines.append(" & ".join(["", *remarks]) + r" \\")
        if table.paper == "beside" and any(entry.paper is not None for entry in row):
            papers = [rf"\textit{{{decimals(entry.paper, 1)}}}" if entry.paper is not None else "" for entry in row]
            lines.append(" & ".join([r"\quad\textit{paper}", *papers]) + r" \\")
    if table.paper_rows:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{width + 1}}}{{l}}{{\textit{{Printed in the paper, not like with like}}}} \\",
        ]
        for paper in table.paper_rows:
            lines.append(" & ".join([latex(paper.title), *(decimals(value, 1) for value in paper.values)]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [f"% {latex_comment(table.note)}"] if table.note else []
    return "\n".join(lines) + "\n"


def decimals(value: float | None, places: int) -> str:
    """A fixed number of decimals, a true minus sign never; empty for None."""
    return "" if value is None else f"{value:.{places}f}"


def plain_cell(value: str) -> str:
    """Text that a spreadsheet will not take for a formula: a leading = + - @ gets an apostrophe before it."""
    return "'" + value if value.lstrip()[:1] in ("=", "+", "-", "@") else value


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def latex(value: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(character, character) for character in value)


def latex_comment(value: str) -> str:
    """Text that stays inside one comment line."""
    return " ".join(value.split())


def _latex_entry(entry: Entry) -> str:
    if entry.value is None:
        return "--"
    spread = "" if entry.sd is None else rf" {{\scriptsize$\pm${entry.sd:.1f}}}"
    return f"{entry.value:.1f}{spread}"


def _entry(results: Results, arm: Arm, column: Column, protocol: str, with_paper: bool) -> Entry:
    found = cell(results, column.name, arm.name, protocol)
    paper = _paper_value(results, arm, column) if with_paper else None
    names = macro_tasks(results) if column.name == MACRO else (column.name,)
    flagged = sum(1 for name in names for run in results.of(name, arm.name) if has_flags(run, protocol))
    return Entry(found, found.summary.centre(results.suite.statistic), found.summary.sd, paper, flagged)


def has_flags(run: Run, protocol: str) -> bool:
    """True when the run's checkpoint carries a flag such as `constant predictions`."""
    checkpoint = run.at(protocol)
    return checkpoint is not None and bool(checkpoint.flags)


def _paper_value(results: Results, arm: Arm, column: Column) -> float | None:
    if arm.published is None:
        return None
    layers = published_layers(arm.published, arm.layers, like_for_like=True)
    if column.name == MACRO:
        return paper_macro(arm.published, layers, _published_macro(results))
    return paper_score(arm.published, layers, column.published)


def _published_macro(results: Results) -> list[str | None]:
    return [task.published for task in results.suite.tasks if task.in_macro]


def _paper_rows(results: Results, arms: Sequence[Arm], columns: Sequence[Column]) -> tuple[PaperRow, ...]:
    rows: dict[str, PaperRow] = {}
    for arm in arms:
        name = row_name(arm.published)
        if name is None or name in rows:
            continue
        layers = published_layers(name, arm.layers, like_for_like=False)
        values = tuple(
            paper_macro(name, layers, _published_macro(results))
            if column.name == MACRO
            else paper_score(name, layers, column.published)
            for column in columns
        )
        if any(value is not None for value in values):
            rows[name] = PaperRow(name, layers, values)
    return tuple(rows.values())


def _note(results: Results, where: str) -> str:
    suite = results.suite
    if suite.synthetic:
        return "The tasks are made from a synthetic language, not GLUE: the paper has nothing to set beside them."
    if where == "none":
        return "The paper prints no number for these rows and columns."
    if set(_published_macro(results)) != set(TASKS) and len(macro_tasks(results)) > 1:
        macro = "The paper's macro is taken here over the same tasks as ours, and is empty where it lacks one."
    else:
        macro = ""
    lead = suite.comparison or ("" if suite.comparable else "The encoder, depth or protocol differs from the paper's.")
    return " ".join(part for part in (lead, macro) if part)
