"""One self-contained HTML page from a results folder, with the main table as CSV and LaTeX beside it.

    from reports.page import render
    render(Path("results/runs/minilm"))        # …/report/report.html, table.csv, table.tex

The page opens from disk: no script, no font, no image and no address outside the file; its content
security policy forbids them. The same results give the same bytes.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports import figures, sections
from reports.environment import environment
from reports.errors import ReportError
from reports.headline import headline
from reports.reader import Arm, Results, export_table, read
from reports.statistics import MACRO, Difference, differences, main_task, reference_arm
from reports.tables import Column, MainTable, decimals, main_table, ordered_arms, plain_cell, to_csv, to_latex

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Key:
    """One entry of the legend."""

    arm: Arm
    marker: str


def render(results_folder: Path, output: Path | None = None) -> Path:
    """Write report.html, table.csv and table.tex into `output` (default `<results>/report`); returns the page's path.

    Raises `ReportError` when the results cannot be read or the output cannot be written.
    """
    results = read(Path(results_folder))
    folder = Path(output) if output is not None else results.root / "report"
    table = main_table(results)
    page = _page(results, table, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("table.csv", to_csv(table)), ("table.tex", to_latex(table)), ("report.html", page)):
            _write(folder / name, content)
    except OSError as error:
        raise ReportError(f"{folder}: cannot be written ({error.strerror}); give another --output") from None
    return folder / "report.html"


def export(results_folder: Path, format: Literal["csv", "parquet", "json"] | str) -> bytes:
    """The results table (`reader.export_table`) as csv, parquet or json (a list of objects); raises `ReportError`."""
    if format not in ("csv", "parquet", "json"):
        raise ReportError(f"export format {format!r} is unknown; use csv, parquet or json")
    frame = export_table(Path(results_folder))
    if format == "parquet":
        out = io.BytesIO()
        frame.to_parquet(out, index=False)
        return out.getvalue()
    if format == "json":
        return (frame.to_json(orient="records", indent=1, double_precision=15) + "\n").encode()
    for name in frame.columns[frame.dtypes == "str"]:
        frame[name] = frame[name].map(plain_cell, na_action="ignore")
    return bytes(frame.to_csv(index=False, lineterminator="\n").encode())


def _page(results: Results, table: MainTable, output: Path) -> str:
    """The page's text; nothing in it depends on the time or the place of rendering but the links' way back."""
    loader = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader.filters |= {"decimals": decimals, "signed": figures.signed}
    return loader.get_template("report.html.j2").render(_context(results, table, output))


def _context(results: Results, table: MainTable, output: Path) -> dict[str, Any]:
    suite, reference = results.suite, reference_arm(results)
    found = differences(results, reference, table.protocol) if reference else []
    shown = found if any(d.mean is not None for d in found) else []
    style = figures.Style(suite.arms)
    title = suite.title
    if suite.synthetic and "synthetic language, not GLUE" not in title:
        title += " (synthetic language, not GLUE)"
    return {
        "title": title,
        "suite": suite,
        "results": results,
        "done": sum(run.status == "done" for run in results.runs),
        "answer": headline(results, found),
        "table": table,
        "keys": {
            place: [Key(arm, figures.legend_marker(style, arm, place)) for arm in ordered_arms(results)]
            for place in ("latency", "curves")
        },
        "reference": next((arm for arm in suite.arms if arm.name == reference), None),
        "differences": _grid(table, shown),
        "flagged": any(entry.flagged for row in table.entries for entry in row),
        "intervals": sum(d.low is not None for d in found),
        "figures": _figures(results, table, shown),
        "speeds": sections.speeds(results),
        "paper_speeds": ", ".join(sorted({speed.paper for speed in sections.speeds(results) if speed.paper})),
        "costs": sections.costs(results),
        "selections": sections.selections(results),
        "main": _main_column(results, table).title,
        "main_at": table.columns.index(_main_column(results, table)),
        "groups": sections.run_lines(results, output),
        "missing": sections.missing(results),
        "gaps": sum(run.status != "done" for run in results.runs),
        "environment": environment(results),
    }


def _grid(table: MainTable, found: Sequence[Difference]) -> list[tuple[Arm, list[Difference | None]]]:
    """Differences as rows of the main table's columns, the predecessor last, because it is no rival."""
    by_key = {(d.arm, d.task): d for d in found}
    arms = sorted((arm for arm in table.arms if any(d.arm == arm.name for d in found)), key=lambda a: a.is_predecessor)
    return [(arm, [by_key.get((arm.name, column.name)) for column in table.columns]) for arm in arms]


def _figures(results: Results, table: MainTable, found: Sequence[Difference]) -> dict[str, Any]:
    titles = {column.name: column.title for column in table.columns}
    main = _main_column(results, table)
    at = table.columns.index(main)
    timing = sections.timing_for_figure(results)
    entries = {arm.name: row[at] for arm, row in zip(table.arms, table.entries, strict=True)}
    tasks = [column for column in table.columns if column.name != MACRO]
    score = [
        (column.title, figures.score_panel(results, column, [row[i] for row in table.entries], table.protocol))
        for i, column in enumerate(table.columns)
    ]
    pairs = [(arm.title, [d for d in row if d is not None], arm) for arm, row in _grid(table, found)]
    return {
        "scores": _drawn(score),
        "differences": _drawn([(t, figures.difference_panel(results, arm, row, titles)) for t, row, arm in pairs]),
        "losses": _drawn([(c.title, figures.loss_panel(results, c.name, c.title)) for c in tasks]),
        "rates": _drawn([(c.title, figures.rate_panel(results, c.name, c.title)) for c in tasks]),
        "latency": _drawn(
            [("", figures.latency_figure(results, timing, entries, f"{main.title} score") if timing else None)]
        ),
        "latency_where": sections.speeds(results)[results.speed.index(timing)] if timing else None,
    }


def _main_column(results: Results, table: MainTable) -> Column:
    """The column that the answer is about."""
    name = main_task(results)
    return next((column for column in table.columns if column.name == name), table.columns[-1])


def _drawn(panels: Sequence[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """Panels that have something to show."""
    return [(title, svg) for title, svg in panels if svg is not None]


def _write(path: Path, content: str) -> None:
    """Replace a file at once, so that a reader never sees half a page."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(content, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
