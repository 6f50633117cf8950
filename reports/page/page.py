"""One self-contained HTML page from a results folder, with tables as CSV and LaTeX beside it.

    from reports.page.page import render
    render(Path("results/runs/minilm"))        # …/report/report.html, table.csv, table.tex, verdicts.csv, and others

The page opens from disk. It has no script, font, image or address outside the file, and its content security policy
forbids them. The same results give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.claims import ablation
from reports.claims.decisions import sensitivity_words
from reports.findings.findings import Findings, findings
from reports.page import across_rows, contrast_rows, figures, loyalty_rows, reproducibility, sections, verdict_rows
from reports.page.drawing import Style, legend_marker, line_marker
from reports.page.headline import headline
from reports.page.tables import to_csv, to_latex
from reports.statistics.cells import MACRO
from reports.statistics.differences import Difference
from reports.timing.headline_setting import in_words
from reports.timing.matrix import IN_WORDS
from reports.words import counted, decimals, duration, interval, millions, p_words, signed
from results.format import layout, trials
from results.format.errors import ReportError
from results.format.files import replace_text
from results.format.reader import read
from results.format.records import PROTOCOLS, Arm, Results

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
CHECKPOINTS = dict(zip(PROTOCOLS, ("last", "best on dev", "best on held-out data"), strict=True))


@dataclass(frozen=True)
class Row:
    """One row of the differences: `reference` minus `arm`, a cell per column."""

    reference: Arm
    arm: Arm
    cells: list[Difference | None]


def render(results_folder: Path, output: Path | None = None) -> Path:
    """Write report.html and the files it links to into `output` (default `<results>/report`); return the page's path.

    table.csv and table.tex hold the main table, verdicts.csv every claim and failures.csv every failure rate in
    numbers. Where predictions are stored, flips.csv lists the examples on which arms differ. contrasts.csv,
    across_tasks.csv and search.csv hold the numbers of their sections, if the page has these. reproducibility.md is a
    summary for a submission form. Raises `ReportError`
    when the results cannot be read or the output cannot be written.
    """
    found = findings(read(Path(results_folder)))
    folder = Path(output) if output is not None else found.results.root / "report"
    contents = {
        "table.csv": to_csv(found.table),
        "table.tex": to_latex(found.table),
        "verdicts.csv": verdict_rows.to_csv(found.verdicts, found.absent),
        "report.html": _page(found, folder),
        "failures.csv": sections.failures_csv(found),
        "flips.csv": loyalty_rows.flips_csv(found),
        "across_tasks.csv": across_rows.to_csv(found),
        "search.csv": across_rows.search_csv(found),
        "contrasts.csv": contrast_rows.to_csv(found),
        "reproducibility.md": reproducibility.summary(found),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            if content is None:
                (folder / name).unlink(missing_ok=True)
            else:
                replace_text(folder / name, content)
    except OSError as error:
        raise ReportError(f"{folder}: cannot be written ({error.strerror}); give another --output") from None
    return folder / "report.html"


def _page(found: Findings, output: Path) -> str:
    """The page's text. It does not depend on the time of rendering, and on the place only in its relative links."""
    loader = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader.filters |= {
        **{word.__name__: word for word in (decimals, signed, p_words, millions, duration)},
        "decided": lambda d: found.decisions[d.key].word != "open",
        "verdict": lambda d: ablation.in_words(found.decisions[d.key]),
        "in_units_of": verdict_rows.shown,
        "label": verdict_rows.label,
        "flip_words": verdict_rows.flip_words,
        "more_words": verdict_rows.more_words,
        "sensitivity": sensitivity_words,
    }
    called = (counted, interval, in_words, ablation.seeds_word, verdict_rows.interval_words)
    loader.globals |= IN_WORDS | {word.__name__: word for word in called}
    return loader.get_template("report.html.j2").render(
        vars(found) | _context(found, output) | _claims(found) | _across(found)
    )


def _claims(found: Findings) -> dict[str, Any]:
    """The claims: those that one number decides, those decided task by task, and those the suite cannot judge."""
    return {
        "verdicts": verdict_rows.rows(found.verdicts),
        "by_task": verdict_rows.by_task(found.verdicts),
        "claimed_tasks": verdict_rows.task_columns(found.verdicts),
        "unspoken": verdict_rows.absent_lines(found.absent),
        "registered": sections.registration(found.results.suite),
        "per_seed_cost": sections.per_seed_cost(found.results),
    }


def _across(found: Findings) -> dict[str, Any]:
    """The leading arms across tasks and seeds, and the expected best of a search."""
    style, parts = Style(found.results.suite.arms), across_rows.sections(found)
    ranked = {group.leader: group.ranks for group in found.across if group.ranks is not None}
    drawn = {leader: figures.ranks_figure(found, style, ranks, i) for i, (leader, ranks) in enumerate(ranked.items())}
    return {
        "across": [part | {"figure": drawn.get(part["group"].leader, "")} for part in parts],
        "across_csv": across_rows.to_csv(found) is not None,
        "trial_counts": across_rows.trial_counts(found),
        "search_figure": figures.search_figure(found, style),
    }


def _context(found: Findings, output: Path) -> dict[str, Any]:
    results, table, main = found.results, found.table, found.main
    suite = results.suite
    shown = found.differences if any(d.mean is not None for d in found.differences) else ()
    grid = _grid(found, shown)
    title = suite.title
    if suite.synthetic and "synthetic language, not GLUE" not in title:
        title += " (synthetic language, not GLUE)"
    return {
        "title": title,
        "suite": suite,
        "done": sum(run.status == "done" for run in results.runs),
        "answer": headline(found),
        "checkpoint": CHECKPOINTS[suite.protocol],
        "keys": _keys(found),
        "differences": grid,
        "references": len({d.reference for d in shown}),
        "flagged": any(entry.flagged for row in table.entries for entry in row),
        **_failures(found),
        "intervals": sum(d.low is not None for d in found.differences),
        "joint_intervals": sum(d.low is not None and d.basis != "seeds" for d in found.differences),
        "stored": bool(found.answers),
        "figures": _figures(found, grid),
        "costs": sections.costs(found),
        "selections": sections.selections(found),
        "main_words": main.title.lower() if main.name == MACRO else main.title,
        "main_at": table.columns.index(main),
        "groups": sections.run_lines(found, output),
        "missing": sections.missing(found),
        "gaps": sum(run.status != "done" for run in results.runs),
        **_origin(results),
        "budgets": trials.budgets(suite.arms) if suite.unequal_budget else [],
        "held_out": "held_out" in results.protocols,
        "contrasts": contrast_rows.rows(found),
        "loyalty": loyalty_rows.grids(found),
        "flips": loyalty_rows.leading_flips(found),
    }


def _failures(found: Findings) -> dict[str, Any]:
    """Failure rates by arm and task, and those of the cells with runs that have no score."""
    tasks = [column for column in found.table.columns if column.name != MACRO]
    known = {(f.task, f.arm): f for f in found.failures}
    grid = [(arm.title, [known.get((task.name, arm.name)) for task in tasks]) for arm in found.table.arms]
    broken = [f for f in found.failures if f.diverged or f.failed]
    return {"failures": grid, "broken": broken, "task_titles": {task.name: task.title for task in tasks}}


def _origin(results: Results) -> dict[str, Any]:
    """What was imported: how many runs, from which bundles, and whether the plan and the timing were."""
    bundles = sorted({run.bundle for run in results.runs if run.bundle is not None})
    return {
        "imported_runs": sum(run.bundle is not None for run in results.runs),
        "bundles": [bundle[:12] for bundle in bundles],
        "imported_plan": layout.SUITE in results.imported,
        "imported_speed": layout.SPEED in results.imported,
    }


def _keys(found: Findings) -> dict[str, list[tuple[str, str]]]:
    """The legends as titles and markers: one of arms per place, because ids differ, and one of the lines of a sweep."""
    style, arms = Style(found.results.suite.arms), found.table.arms
    keys = {place: [(arm.title, legend_marker(style, arm, place)) for arm in arms] for place in ("latency", "curves")}
    searched = [found.results.suite.arm(curve.arm) for curve in found.search]
    keys["search"] = [(arm.title, legend_marker(style, arm, "search")) for arm in searched]
    return keys | {"sweep": [(group, line_marker(i)) for i, group in enumerate(found.ablation.lines)]}


def _grid(found: Findings, shown: Sequence[Difference]) -> list[Row]:
    """Differences as rows of the main table's columns, predecessors last, because they are not rivals."""
    table, suite = found.table, found.results.suite
    by_key = {(d.reference, d.arm, d.task): d for d in shown}
    pairs = dict.fromkeys((d.reference, d.arm) for d in shown)
    order = {arm.name: (arm.is_predecessor, i) for i, arm in enumerate(table.arms)}
    references = list(dict.fromkeys(reference for reference, _ in pairs))
    ranked = sorted(pairs, key=lambda pair: (references.index(pair[0]), order[pair[1]]))
    return [
        Row(suite.arm(one), suite.arm(other), [by_key.get((one, other, c.name)) for c in table.columns])
        for one, other in ranked
    ]


def _figures(found: Findings, grid: Sequence[Row]) -> dict[str, Any]:
    columns, swept = found.table.columns, found.ablation.lines
    style = Style(found.results.suite.arms)
    tasks = [column for column in columns if column.name != MACRO]
    steps = figures.steps_figure(found, style, f"{found.main.title} score")
    return {
        "scores": _drawn([(c.title, figures.score_panel(found, style, c)) for c in columns]),
        "differences": _drawn(_differences(found, style, grid, {column.name: column.title for column in columns})),
        "losses": _drawn([(c.title, figures.curve_panel(found, style, c, "loss")) for c in tasks]),
        "rates": _drawn([(c.title, figures.curve_panel(found, style, c, "rate")) for c in tasks]),
        "latency": _drawn([("", figures.latency_figure(found, style))]),
        "steps": _drawn([("", steps)]),
        "contrasts": _drawn(_contrasts(found, style)),
        "sweep": _drawn([(c.title, figures.sweep_panel(found, c)) for c in columns] if swept else []),
    }


def _differences(
    found: Findings, style: Style, grid: Sequence[Row], titles: dict[str, str]
) -> list[tuple[str, str | None]]:
    several = len({row.reference.name for row in grid}) > 1
    panels = []
    for row in grid:
        cells = [d for d in row.cells if d is not None]
        title = f"{row.reference.title} − {row.arm.title}" if several else row.arm.title
        labelled = [(titles.get(d.task, d.task), d) for d in cells]
        name, spoken = f"{row.reference.name}-{row.arm.name}", f"Difference from {row.arm.title}, points"
        panels.append((title, figures.difference_panel(found, style, name, spoken, labelled)))
    return panels


def _contrasts(found: Findings, style: Style) -> list[tuple[str, str | None]]:
    """The registered questions, a panel per column of the main table."""
    panels = []
    for at, column in enumerate(found.table.columns):
        labelled = [(f"{c.contrast.first} − {c.contrast.second}", c.decisions[at].difference) for c in found.contrasts]
        spoken = f"{column.title}: differences that the suite registered, points"
        panels.append(
            (column.title, figures.difference_panel(found, style, f"asked-{column.name}", spoken, labelled, 186))
        )
    return panels


def _drawn(panels: Sequence[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """The panels that show something."""
    return [(title, svg) for title, svg in panels if svg is not None]
