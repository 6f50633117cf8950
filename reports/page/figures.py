"""Figures as inline SVG: dev scores per seed, curves, score against latency, differences, steps and sweeps, mean ranks
with the critical difference, and the expected best of a search.

    svg = score_panel(found, style, column)     # one small panel per task; the page lays them out

There are small panels and no wide chart, so that a phone shows them one under another at full size.
reports/page/drawing.py has the colours, the ids and the stable bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.ticker import MaxNLocator

from reports.claims.paper_numbers import Column
from reports.findings.findings import Findings
from reports.page.drawing import (
    INK,
    MARKERS,
    MUTED,
    PAPER,
    SERIES,
    Style,
    drawable,
    panel,
    rows,
    short_arm,
    styled,
    svg,
    wrapped,
    x_axis,
    y_axis,
)
from reports.statistics.differences import Difference
from reports.statistics.ranks import Ranks
from reports.timing.headline_setting import latency
from reports.words import interval, listed, short, signed
from results.format.records import Run

Curve = Literal["loss", "rate"]


@styled()
def score_panel(found: Findings, style: Style, column: Column) -> str | None:
    """Dev scores of one task: a point per seed, a bar at the suite's statistic, a diamond for the paper."""
    arms, entries = found.table.arms, found.table.column(column)
    values = [list(entry.cell.scores.values()) for entry in entries]
    if not any(values):
        return None
    fig, ax = panel(320, 46 + 25 * len(arms))
    for row, (arm, points, entry) in enumerate(zip(arms, values, entries, strict=True)):
        colour = style.colours[arm.name]
        size = 9 if arm.is_predecessor else 6
        ax.plot(points, [row] * len(points), style.markers[arm.name], color=colour, ms=size, alpha=0.75, mew=0)
        if entry.value is not None and len(points) > 1:
            ax.plot([entry.value] * 2, [row - 0.33, row + 0.33], color=colour, lw=2.2, solid_capstyle="butt")
        if entry.paper is not None and points:
            ax.plot([entry.paper], [row], "D", mfc=PAPER, mec=INK, mew=1, ms=5)
        if not points:
            ax.text(0.02, row, "no score", transform=ax.get_yaxis_transform(), color=MUTED, va="center", size=10)
    rows(ax, [short_arm(arm, len(found.results.suite.depths)) for arm in arms])
    ax.margins(x=0.08)
    x_axis(ax)
    spoken = "; ".join(
        f"{arm.title} {entry.value:.1f} over {len(points)}"
        for arm, points, entry in zip(arms, values, entries, strict=True)
        if entry.value is not None
    )
    return svg(fig, f"score-{column.name}", f"{column.title}: dev score per seed", spoken)


@styled()
def difference_panel(
    found: Findings, style: Style, name: str, title: str, shown: Sequence[tuple[str, Difference]], left: int = 76
) -> str | None:
    """A labelled row per difference: a point and its interval, with a line at zero; filled where decided."""
    labelled = [(label, d) for label, d in shown if d.mean is not None]
    if not labelled:
        return None
    labels, drawn = zip(*labelled, strict=True)
    fig, ax = panel(320, 46 + 25 * len(drawn), left=left)
    ax.axvline(0, color=MUTED, lw=1)
    for row, d in enumerate(drawn):
        colour = style.colours[d.reference]
        if d.low is not None and d.high is not None:
            ax.plot([d.low, d.high], [row, row], color=colour, lw=2)
        filled = found.decisions[d.key].word != "open"
        ax.plot([d.mean or 0.0], [row], "o", ms=7, mec=colour, mew=1.6, mfc=colour if filled else PAPER)
    rows(ax, [short(label, left // 6 - 2) for label in labels])
    ax.margins(x=0.1)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, -0.5), max(high, 0.5))
    x_axis(ax)
    spoken = "; ".join(f"{label} {signed(d.mean)}{_spoken_interval(d)}" for label, d in labelled)
    return svg(fig, f"difference-{name}", title, spoken)


@styled()
def latency_figure(found: Findings, style: Style) -> str | None:
    """The main score against the median latency under one timing setting; arms of one depth share a latency."""
    fig, ax = panel(380, 240, left=48, bottom=42)
    spoken = []
    for arm, entry in zip(found.table.arms, found.table.column(found.main), strict=True):
        seconds = latency(found.timed, arm)
        if seconds is None or entry.value is None:
            continue
        colour = style.colours[arm.name]
        if (sd := entry.cell.summary.sd) is not None:
            spread = [entry.value - sd, entry.value + sd]
            ax.plot([seconds * 1000] * 2, spread, color=colour, lw=1, alpha=0.6)
        size = 12 if arm.is_predecessor else 8
        ax.plot([seconds * 1000], [entry.value], style.markers[arm.name], color=colour, ms=size, mec=PAPER, mew=0.8)
        spoken.append(f"{arm.title} {entry.value:.1f} at {seconds * 1000:.1f} ms")
    if not spoken:
        return None
    ax.set_xlabel("median latency per batch, ms")
    ax.set_ylabel(short(f"{found.main.title} score", 30))
    ax.set_xlim(left=0)
    ax.set_xlim(right=ax.get_xlim()[1] * 1.08)
    ax.margins(y=0.12)
    y_axis(ax, 5)
    return svg(fig, "latency", "Score against latency", "; ".join(spoken))


@styled()
def curve_panel(found: Findings, style: Style, column: Column, curve: Curve) -> str | None:
    """Training loss or replacing rate over optimizer steps, one line per run that has one."""
    is_rate = curve == "rate"
    fig, ax = panel(320, 130 if is_rate else 190, left=44, bottom=38)
    drawn: dict[str, int] = {}
    for arm in found.table.arms:
        for run in found.cells.at(column.name, arm.name).runs:
            steps, values = _series(run, curve)
            if len(steps):
                marker = style.markers[arm.name] if len(steps) == 1 else ""
                ax.plot(steps, values, marker=marker, color=style.colours[arm.name], lw=1.3, ms=5, alpha=0.8)
                drawn[arm.title] = drawn.get(arm.title, 0) + 1
    if not drawn:
        return None
    ax.set_xlabel("optimizer step")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_xlim(left=0)
    y_axis(ax, 4)
    if is_rate:
        ax.set_ylim(0, 1.05)
        ax.set_yticks([0, 0.5, 1])
    title = "replacing rate over steps" if is_rate else "training loss over steps"
    spoken = "runs drawn: " + ", ".join(f"{arm} {count}" for arm, count in drawn.items())
    return svg(fig, f"{curve}-{column.name}", f"{column.title}: {title}", spoken)


def _series(run: Run, curve: Curve, limit: int = 250) -> tuple[list[float], list[float]]:
    """Steps and values of one run where the value is a number, thinned evenly to `limit` points."""
    found = [(line.step, line.replacing_rate if curve == "rate" else line.loss) for line in run.curve]
    pairs = [(float(step), float(value)) for step, value in found if drawable(step) and drawable(value)]
    if len(pairs) > limit:
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).round().astype(int)]
    return [step for step, _ in pairs], [value for _, value in pairs]


@styled()
def steps_figure(found: Findings, style: Style, label: str) -> str | None:
    """The score of each step. The bar is the interval of the change from the step before, laid around the score."""
    steps = found.ablation.steps
    if not any(step.value is not None for step in steps):
        return None
    fig, ax = panel(400, 58 + 34 * len(steps), left=164, bottom=42)
    before: float | None = None
    for row, step in enumerate(steps):
        colour, change = style.colours[step.arm.name], step.change
        if step.value is None:
            ax.text(0.02, row, "no score", transform=ax.get_yaxis_transform(), color=MUTED, va="center", size=10)
            continue
        if before is not None and change is not None and change.mean is not None:
            ax.plot([before, before], [row - 1, row], color=MUTED, lw=1)
            ax.plot([before, step.value], [row, row], color=MUTED, lw=1)
        if change is not None and change.mean is not None and change.low is not None and change.high is not None:
            ends = [step.value + (end - change.mean) for end in (change.low, change.high)]
            ax.plot(ends, [row, row], color=colour, lw=5, alpha=0.35, solid_capstyle="butt")
        filled = change is None or found.decisions[change.key].word != "open"
        marker = style.markers[step.arm.name]
        ax.plot([step.value], [row], marker, ms=8, mec=colour, mew=1.6, mfc=colour if filled else PAPER)
        before = step.value
    rows(ax, [wrapped(step.arm.title) for step in steps])
    ax.set_xlabel(short(label, 40))
    ax.margins(x=0.08)
    x_axis(ax)
    spoken = "; ".join(
        f"{step.arm.title} {step.value:.1f}"
        + (f", {signed(step.change.mean)}{_spoken_interval(step.change)}" if step.change else "")
        for step in steps
        if step.value is not None
    )
    return svg(fig, "steps", "Score along the steps", spoken)


@styled()
def sweep_panel(found: Findings, column: Column) -> str | None:
    """One line per group: the suite's statistic against x, with a point per seed."""
    suite = found.results.suite
    fig, ax = panel(320, 220, left=44, bottom=42)
    spoken = []
    for i, (group, arms) in enumerate(found.ablation.lines.items()):
        colour, marker = SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]
        line = []
        for arm in arms:
            cell = found.cells.at(column.name, arm.name)
            points, centre = list(cell.scores.values()), cell.summary.centre(suite.statistic)
            if centre is None or arm.x is None or not drawable(arm.x):
                continue
            if len(points) > 1:
                ax.plot([arm.x] * len(points), points, marker, color=colour, ms=4, alpha=0.45, mew=0)
            line.append((arm.x, centre))
        if line:
            ax.plot([x for x, _ in line], [y for _, y in line], marker + "-", color=colour, ms=7, mec=PAPER, mew=0.8)
            spoken.append(f"{group}: " + ", ".join(f"{y:.1f} at {x:g}" for x, y in line))
    if not spoken:
        return None
    ax.set_xlabel(short(suite.x_title or "setting", 40))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.margins(x=0.06, y=0.1)
    y_axis(ax, 5)
    return svg(fig, f"sweep-{column.name}", f"{column.title}: score against {suite.x_title or 'x'}", "; ".join(spoken))


@styled()
def ranks_figure(found: Findings, style: Style, ranks: Ranks, number: int) -> str:
    """Demsar's diagram in rows: a mark per arm at its mean rank, above it the critical difference, below it the groups.

    The `number`-th of the page.
    """
    suite, arms = found.results.suite, list(ranks.mean)
    labels = [short_arm(suite.arm(arm), len(suite.depths)) for arm in arms]
    fig, ax = panel(400, 58 + 25 * (1 + len(arms) + len(ranks.groups)), left=132, bottom=38)
    ax.plot([1, 1 + ranks.critical], [0, 0], "|-", color=INK, lw=1.2, ms=8)
    for row, arm in enumerate(arms, 1):
        ax.plot([ranks.mean[arm]], [row], style.markers[arm], color=style.colours[arm], ms=8, mew=0)
    for row, group in enumerate(ranks.groups, 1 + len(arms)):
        ends = [ranks.mean[group[0]] - 0.04, ranks.mean[group[-1]] + 0.04]
        ax.plot(ends, [row, row], color=MUTED, lw=5, solid_capstyle="butt")
    rows(ax, ["critical difference", *labels, *["not separated"] * len(ranks.groups)])
    ax.set_xlabel("mean rank over tasks (1 is best)")
    ax.set_xlim(0.9, max(len(arms), 1 + ranks.critical) + 0.1)
    x_axis(ax)
    ax.set_xticks(range(1, int(ax.get_xlim()[1]) + 1))
    spoken = "; ".join(f"{suite.arm(arm).title} {mean:.2f}" for arm, mean in ranks.mean.items())
    together = [listed([suite.arm(arm).title for arm in group]) for group in ranks.groups]
    spoken += f". Critical difference {ranks.critical:.2f}" + "".join(f". Not separated: {names}" for names in together)
    return svg(fig, f"ranks-{number}", "Mean ranks over tasks", spoken)


@styled()
def search_figure(found: Findings, style: Style) -> str | None:
    """A line per arm with a search: the expected best of k trials against k. An arm with one trial is one mark."""
    if not found.search:
        return None
    fig, ax = panel(400, 240, left=48, bottom=42)
    for curve in found.search:
        ks, colour, marker = range(1, len(curve.values) + 1), style.colours[curve.arm], style.markers[curve.arm]
        ax.plot(ks, curve.values, f"{marker}-", color=colour, ms=6, mec=PAPER, mew=0.6)
    ax.set_xlabel("trials")
    ax.set_ylabel(short("expected best choosing score", 34))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlim(0.5, max(len(curve.values) for curve in found.search) + 0.5)
    ax.margins(y=0.1)
    y_axis(ax, 5)
    suite = found.results.suite
    spoken = "; ".join(
        f"{suite.arm(curve.arm).title} {curve.values[0]:.1f} with one trial"
        + (f", {curve.values[-1]:.1f} with {len(curve.values)}" if len(curve.values) > 1 else "")
        for curve in found.search
    )
    return svg(fig, "search", "Expected best score by number of trials", spoken)


def _spoken_interval(d: Difference) -> str:
    return "" if d.low is None else f" (interval {interval(d.low, d.high)})"
