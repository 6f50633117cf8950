"""Two figures as inline SVG: mean ranks with the critical difference, and the expected best of a search.

    ranks_figure(found, style, group.ranks, 1)
    search_figure(found, style)

`reports/page/drawing.py` has the colours, the ids and the stable bytes.
"""

from __future__ import annotations

from matplotlib.ticker import MaxNLocator

from reports.findings.findings import Findings
from reports.page.drawing import INK, MUTED, PAPER, Style, panel, rows, short_arm, styled, svg, x_axis, y_axis
from reports.statistics.ranks import Ranks
from reports.words import listed, short


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
