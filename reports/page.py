"""One self-contained HTML page from a results folder, with tables as CSV and LaTeX beside it.

    from reports.page import render
    render(Path("results/runs/minilm"))        # …/report/report.html, table.csv, table.tex, verdicts.csv, flips.csv

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

from reports import agreement_rows, figures, sections, speed_matrix, steps, timing, trials, verdict_rows
from reports.beside import Column
from reports.constant import constant_cells
from reports.drawing import Style, legend_marker, line_marker, signed
from reports.environment import environment
from reports.errors import ReportError
from reports.headline import headline
from reports.intervals import Joint
from reports.reader import export_table, read
from reports.results import Arm, Results
from reports.statistics import MACRO, Difference, comparisons, main_task, reference_arm
from reports.tables import MainTable, decimals, main_table, ordered_arms, plain_cell, to_csv, to_latex
from reports.verdicts import Absent, Verdict, verdicts

TEMPLATES = Path(__file__).resolve().parent / "templates"


CHECKPOINTS = {"last": "last", "selected": "best on dev", "held_out": "best on held-out data"}


@dataclass(frozen=True)
class Key:
    """One entry of the legend."""

    title: str
    marker: str


@dataclass(frozen=True)
class Row:
    """One row of the differences: `reference` minus `arm`, a cell per column."""

    reference: Arm
    arm: Arm
    cells: list[Difference | None]


def render(results_folder: Path, output: Path | None = None) -> Path:
    """Write report.html and the files it links to into `output` (default `<results>/report`); returns the page's path.

    table.csv and table.tex hold the main table, verdicts.csv every claim in numbers, and flips.csv, where predictions
    are stored, the examples on which arms differ. Raises `ReportError` when the results cannot be read or the
    output cannot be written.
    """
    results = read(Path(results_folder))
    folder = Path(output) if output is not None else results.root / "report"
    table = main_table(results)
    joint = Joint(results, table.protocol)
    judged = verdicts(results, joint)
    page = _page(results, table, folder, joint, judged)
    contents = {"table.csv": to_csv(table), "table.tex": to_latex(table), "verdicts.csv": verdict_rows.to_csv(*judged)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (contents | {"report.html": page}).items():
            _write(folder / name, content)
        flips = agreement_rows.flips_csv(results, joint.answers)
        if flips is not None:
            _write(folder / "flips.csv", flips)
        else:
            (folder / "flips.csv").unlink(missing_ok=True)
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


def _page(
    results: Results, table: MainTable, output: Path, joint: Joint, judged: tuple[list[Verdict], list[Absent]]
) -> str:
    """The page's text; nothing in it depends on the time or the place of rendering but the links' way back."""
    loader = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader.filters |= {"decimals": decimals, "signed": signed, "verdict": steps.verdict}
    context = _context(results, table, output, joint) | _judged(*judged) | _agreement(results, joint)
    return loader.get_template("report.html.j2").render(context)


def _judged(found: Sequence[Verdict], absent: Sequence[Absent]) -> dict[str, Any]:
    """The claims: those that one number decides, those of each task, and those the suite cannot speak to."""
    return {
        "verdicts": verdict_rows.rows(found),
        "by_task": verdict_rows.by_task(found),
        "claimed_tasks": verdict_rows.task_columns(found),
        "unspoken": verdict_rows.absent_lines(absent),
        "unspoken_count": len(absent),
    }


def _agreement(results: Results, joint: Joint) -> dict[str, Any]:
    """Loyalty, calibration and flips, all empty where no predictions are stored."""
    return {
        "loyalty": agreement_rows.grids(results, joint.answers),
        "loyalty_tasks": [task for task in results.suite.tasks if task.name in joint.answers],
        "flips": agreement_rows.flip_rows(results, joint.answers),
        "flips_kept": agreement_rows.kept(results, joint.answers),
    }


def _context(results: Results, table: MainTable, output: Path, joint: Joint) -> dict[str, Any]:
    suite, reference = results.suite, reference_arm(results)
    found = comparisons(results, table.protocol, joint)
    shown = found if any(d.mean is not None for d in found) else []
    main = _main_column(results, table)
    title = suite.title
    if suite.synthetic and "synthetic language, not GLUE" not in title:
        title += " (synthetic language, not GLUE)"
    return {
        "title": title,
        "suite": suite,
        "results": results,
        "done": sum(run.status == "done" for run in results.runs),
        "answer": headline(results, found, joint),
        "table": table,
        "checkpoint": CHECKPOINTS[table.protocol],
        "keys": _keys(results),
        "reference": suite.arm(reference) if reference else None,
        "differences": _grid(results, table, shown),
        "references": len({d.reference for d in shown}),
        "flagged": any(entry.flagged for row in table.entries for entry in row),
        "constant": constant_cells(results, table.protocol),
        "intervals": sum(d.low is not None for d in found),
        "joint_intervals": sum(d.low is not None and d.basis != "seeds" for d in found),
        "figures": _figures(results, table, shown, joint),
        "inference": speed_matrix.matrix(results),
        "costs": sections.costs(results),
        "selections": sections.selections(results),
        "main": main.title,
        "main_words": main.title.lower() if main.name == MACRO else main.title,
        "main_at": table.columns.index(main),
        "groups": sections.run_lines(results, output),
        "missing": sections.missing(results),
        "gaps": sum(run.status != "done" for run in results.runs),
        **_origin(results),
        "environment": environment(results),
        **_experiment(results, table, joint),
    }


def _origin(results: Results) -> dict[str, Any]:
    """What came out of bundles: how many runs, which bundles, and whether plan and timing did."""
    bundles = sorted({run.bundle for run in results.runs if run.bundle is not None})
    return {
        "imported_runs": sum(run.bundle is not None for run in results.runs),
        "bundles": [bundle[:12] for bundle in bundles],
        "imported_plan": "suite.json" in results.imported,
        "imported_speed": "speed.json" in results.imported,
    }


def _experiment(results: Results, table: MainTable, joint: Joint) -> dict[str, Any]:
    """What only some suites have: steps, changes from the predecessor, a search, held-out data."""
    shown = timing.timing_for_figure(results)
    found = steps.steps(results, joint)
    return {
        "steps": [(step, steps.seeds_word(results, step.change) if step.change else "") for step in found],
        "whole_change": steps.whole_change(results, joint),
        "changes": steps.changes(results, table.columns, table.paper == "beside", joint),
        "choices": trials.choices(results),
        "budgets": trials.budgets(results.suite.arms) if results.suite.unequal_budget else [],
        "held_out": "held_out" in results.protocols,
        "speed_where": timing.in_words(shown[0]) if shown else None,
        "sweep": bool(steps.lines(results)),
    }


def _keys(results: Results) -> dict[str, list[Key]]:
    """The legends: one of arms for each place that needs its own ids, and one of the lines of a sweep."""
    style, arms = Style(results.suite.arms), ordered_arms(results)
    keys = {
        place: [Key(arm.title, legend_marker(style, arm, place)) for arm in arms] for place in ("latency", "curves")
    }
    return keys | {"sweep": [Key(group, line_marker(i)) for i, group in enumerate(steps.lines(results))]}


def _grid(results: Results, table: MainTable, found: Sequence[Difference]) -> list[Row]:
    """Differences as rows of the main table's columns, each predecessor row last, because it is no rival."""
    by_key = {(d.reference, d.arm, d.task): d for d in found}
    pairs = dict.fromkeys((d.reference, d.arm) for d in found)
    order = {arm.name: (arm.is_predecessor, i) for i, arm in enumerate(table.arms)}
    references = list(dict.fromkeys(reference for reference, _ in pairs))
    ranked = sorted(pairs, key=lambda pair: (references.index(pair[0]), order[pair[1]]))
    return [
        Row(results.suite.arm(one), results.suite.arm(other), [by_key.get((one, other, c.name)) for c in table.columns])
        for one, other in ranked
    ]


def _figures(results: Results, table: MainTable, found: Sequence[Difference], joint: Joint) -> dict[str, Any]:
    titles = {column.name: column.title for column in table.columns}
    main, swept = _main_column(results, table), steps.lines(results)
    label = f"{main.title} score"
    entries = {arm.name: row[table.columns.index(main)] for arm, row in zip(table.arms, table.entries, strict=True)}
    tasks = [column for column in table.columns if column.name != MACRO]
    score = [
        (column.title, figures.score_panel(results, column, [row[i] for row in table.entries], table.protocol))
        for i, column in enumerate(table.columns)
    ]
    timed = timing.timing_for_figure(results)
    latency = figures.latency_figure(results, timed, entries, label)
    return {
        "scores": _drawn(score),
        "differences": _drawn(_differences(results, _grid(results, table, found), titles)),
        "losses": _drawn([(c.title, figures.loss_panel(results, c.name, c.title)) for c in tasks]),
        "rates": _drawn([(c.title, figures.rate_panel(results, c.name, c.title)) for c in tasks]),
        "latency": _drawn([("", latency)]),
        "steps": _drawn([("", figures.steps_figure(results, steps.steps(results, joint), label))]),
        "sweep": _drawn([(c.title, figures.sweep_panel(results, c, swept)) for c in table.columns] if swept else []),
    }


def _differences(results: Results, grid: Sequence[Row], titles: dict[str, str]) -> list[tuple[str, str | None]]:
    several = len({row.reference.name for row in grid}) > 1
    panels = []
    for row in grid:
        cells = [d for d in row.cells if d is not None]
        title = f"{row.reference.title} − {row.arm.title}" if several else row.arm.title
        panels.append((title, figures.difference_panel(results, row.arm, cells, titles)))
    return panels


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
