"""The drawing kit of figures.py: settings, colours and markers per arm, small panels, and clean inline SVG.

    @styled()
    def my_panel(results): fig, ax = panel(320, 120); ...; return svg(fig, "mine", "Title", "what it shows")

Every colour is a CSS variable of the page, so one drawing suits light and dark pages. Every arm has a marker shape as
well as a colour. Output is byte-stable: the hash salt is fixed, there is no date, and ids have a prefix per figure
(matplotlib's own ids would collide when several drawings share one page).
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any, TypeGuard

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.words import short
from results.format.records import Arm, leading_theseus

# Stand-ins that no drawing would otherwise contain; `_themed` turns them into CSS variables.
INK, MUTED, GRID, PAPER, NEUTRAL = "#010101", "#020202", "#030303", "#040404", "#050505"
SERIES = tuple(f"#0600{i:02x}" for i in range(1, 8))
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--surface", NEUTRAL: "--neutral"} | {
    colour: f"--series-{i}" for i, colour in enumerate(SERIES, 1)
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
RC: dict[str, Any] = {
    "svg.hashsalt": "reports", "svg.fonttype": "none", "font.size": 11, "font.family": "sans-serif",
    "axes.edgecolor": GRID, "axes.labelcolor": MUTED, "text.color": INK, "xtick.color": GRID, "ytick.color": GRID,
    "xtick.labelcolor": MUTED, "ytick.labelcolor": INK, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": False, "grid.color": GRID, "grid.linewidth": 0.8, "axes.linewidth": 0.8, "xtick.major.width": 0.8,
    "xtick.major.size": 3, "ytick.major.size": 0, "figure.facecolor": "none", "axes.facecolor": "none",
    "lines.linewidth": 1.5, "axes.unicode_minus": True, "path.simplify": False,
    "text.parse_math": False,  # a `$` in somebody's title is a `$`
}  # fmt: skip


@contextmanager
def styled() -> Iterator[None]:
    """Apply our settings over matplotlib's defaults, so that nobody's matplotlibrc changes a figure."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


class Style:
    """Colour and marker per arm, the same in every figure: the reference arm first, the predecessor neutral."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        reference = leading_theseus(arms)
        ranked = sorted(arms, key=lambda arm: arm.name != reference)
        series = [arm.name for arm in ranked if not arm.is_predecessor]
        self.colours = {name: SERIES[i % len(SERIES)] for i, name in enumerate(series)}
        self.markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(series)}
        for arm in arms:
            if arm.is_predecessor:
                self.colours[arm.name], self.markers[arm.name] = NEUTRAL, "*"


def drawable(value: object) -> TypeGuard[float]:
    """Whether an axis can hold the value: matplotlib overflows near the end of the float range."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def short_arm(arm: Arm, depths: int, limit: int = 18) -> str:
    """An arm's title beside an axis. Where several depths are compared, a shortened title keeps its depth."""
    if depths < 2 or arm.layers is None or len(arm.title) <= limit:
        return short(arm.title, limit)
    depth = f" {arm.layers}L"
    return short(arm.title, limit - len(depth)) + depth


def wrapped(title: str, width: int = 26) -> str:
    """A label of at most two lines."""
    lines = textwrap.wrap(title, width) or [""]
    cut = lines if len(lines) < 3 else [lines[0], f"{lines[1]}…"]
    return "\n".join(cut)


def legend_marker(style: Style, arm: Arm, place: str) -> str:
    """An arm's marker, for the legend in HTML at `place`."""
    size = 10 if arm.is_predecessor else 7
    return _marker(f"{place}-{arm.name}", style.markers[arm.name], style.colours[arm.name], size)


def line_marker(at: int) -> str:
    """The marker of the `at`-th line of a sweep."""
    return _marker(f"line-{at}", MARKERS[at % len(MARKERS)], SERIES[at % len(SERIES)], 7)


@styled()
def _marker(name: str, shape: str, colour: str, size: int) -> str:
    fig = Figure(figsize=(14 / 72, 14 / 72), dpi=72)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.axis("off")
    ax.plot([0.5], [0.5], shape, color=colour, ms=size, mew=0)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return svg(fig, f"key-{name}", "", "", hidden=True)


def panel(width: int, height: int, left: int = 122, bottom: int = 26) -> tuple[Figure, Axes]:
    """A figure of width × height CSS pixels (72 dpi, so one point is one pixel) with one axes."""
    fig = Figure(figsize=(width / 72, height / 72), dpi=72)
    right, top = 12, 8
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    return fig, fig.add_axes(box)


def rows(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), labels)
    for label in ax.get_yticklabels():
        label.set_multialignment("right")
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.spines["left"].set_visible(False)


def x_axis(ax: Axes) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))
    ax.grid(axis="x")
    ax.set_axisbelow(True)


def y_axis(ax: Axes, ticks: int) -> None:
    ax.yaxis.set_major_locator(MaxNLocator(ticks))
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", labelcolor=MUTED)


def svg(fig: Figure, name: str, title: str, description: str, hidden: bool = False) -> str:
    """The figure as an inline `<svg>` element with colours of the page, its own ids, a title and a description."""
    prefix = "fig-" + re.sub(r"[^A-Za-z0-9-]", "-", name)
    out = StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser has the fonts, and text stays text here
        FigureCanvasSVG(fig).print_svg(out, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = out.getvalue()
    body = body[body.index("<svg") :].strip()
    # matplotlib's own <style> is `* {…}`, which would reach the whole page.
    body = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", body, flags=re.DOTALL)
    width, height = (72 * inches for inches in fig.get_size_inches())
    body = re.sub(r"\s*\n\s*", " ", body[body.index(">") + 1 :])
    wanted = set(re.findall(r'(?:href="|url\()#([^")]+)', body))
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in wanted else "", body)
    body = re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = _themed(body)
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" class="figure"'
    if hidden:
        return f'{opening} aria-hidden="true">{body}'
    labels = f'role="img" aria-labelledby="{prefix}-t {prefix}-d"'
    heads = f'<title id="{prefix}-t">{escape(title)}</title><desc id="{prefix}-d">{escape(description)}</desc>'
    return f"{opening} {labels}>{heads}{body}"


def _themed(body: str) -> str:
    """Replace colours by CSS variables and fonts by the page's own."""
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    return re.sub(r"font-family: [^;\"]*;? ?", "", body)
