"""The main table as CSV and LaTeX.

to_csv(found.table), to_latex(found.table)
"""

from __future__ import annotations

from reports.findings.main_table import Entry, MainTable
from reports.words import csv_text, decimals, plain_cell, protocol_name
from results.format.untrusted import text


def to_csv(table: MainTable) -> str:
    """One line per arm: value, sd, n, planned, remark and, beside the paper, its number for each column.

    The speed-up follows where depths are compared.
    """
    names = ["value", "sd", "n", "planned", "remark"] + (["paper"] if table.paper == "beside" else [])
    heads = [f"{column.name} {name}" for column in table.columns for name in names]
    speed_heads = ["speed-up", "speed-up decided", "speed-up paper"] if table.speed else []
    suite, rows = table.suite, []
    for i, (arm, row) in enumerate(zip(table.arms, table.entries, strict=True)):
        layers = "" if arm.layers is None else arm.layers
        cells: list[object] = [arm.name, plain_cell(arm.title), arm.method, layers, suite.statistic, suite.protocol]
        for entry in row:
            summary = entry.cell.summary
            cells += [decimals(entry.value, 2), decimals(summary.sd, 2), summary.n, entry.cell.planned, entry.remark]
            cells += [decimals(entry.paper, table.places)] if table.paper == "beside" else []
        for speed in table.speed[i : i + 1]:
            cells += [decimals(speed.ratio, 2), "yes" if speed.decided else "no", decimals(speed.paper, 2)]
        rows.append(cells)
    return csv_text(["arm", "title", "method", "layers", "statistic", "protocol", *heads, *speed_heads], rows)


def to_latex(table: MainTable) -> str:
    """A booktabs tabular with escaped text; remarks about gaps are on a second line of the arm's row."""
    width = len(table.columns) + bool(table.speed)
    which = f", beside Table {table.beside_table} of the paper" if table.beside_table else ""
    kind = f"{table.suite.statistic} over seeds, {protocol_name(table.suite.protocol)} checkpoint"
    speed_head = ["Speed-up"] if table.speed else []
    lines = [
        f"% {text(table.suite.title, 4000)}: {kind}{which}; needs booktabs",
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
    lines += [f"% {text(table.note, 4000)}"] if table.note else []
    return "\n".join(lines) + "\n"


def _latex_row(table: MainTable, at: int) -> list[str]:
    """An arm's line, then a line of remarks and a line of the paper's numbers if there are any."""
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


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def latex(value: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(character, character) for character in value)


def _latex_entry(entry: Entry) -> str:
    if entry.value is None:
        return "--"
    sd = entry.cell.summary.sd
    spread = "" if sd is None else rf" {{\scriptsize$\pm${sd:.1f}}}"
    return f"{entry.value:.1f}{spread}"
