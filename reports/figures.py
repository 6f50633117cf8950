"""Figures as inline SVG: dev scores per seed, curves, score against latency, differences from Theseus.

    svg = score_panel(results, column, "last")     # one small panel per task; the page lays them out

Small panels rather than one wide chart, so that a phone shows them one under another at full size.
Every colour is a CSS variable of the page, which makes one drawing right in light and in dark; every
arm has a marker shape as well as a colour. Output is byte-stable: fixed hash salt, no date, ids
prefixed per figure (matplotlib's own would collide when several drawings share one page).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from html import escape
from io import StringIO
from typing import Any, ParamSpec, TypeGuard, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.reader import Arm, Results, Run
from reports.statistics import Difference, by_seed, leading_theseus
from reports.tables import Column, Entry, ordered_arms

P = ParamSpec("P")
T = TypeVar("T")

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
}  # fmt: skip


@contextmanager
def _settings() -> Iterator[None]:
    """Our settings over matplotlib's defaults, so that nobody's matplotlibrc changes a figure."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def _styled(draw: Callable[P, T]) -> Callable[P, T]:
    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        with _settings():
            return draw(*args, **kwargs)

    return inner


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

    def variable(self, arm: str) -> str:
        """The CSS variable of an arm's colour."""
        return VARIABLES[self.colours[arm]]


def drawable(value: object) -> TypeGuard[float]:
    """True for a number that an axis can hold: matplotlib overflows near the end of the float range."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30


def short(title: str, limit: int = 18) -> str:
    """A label that fits beside an axis; `$` is escaped because matplotlib reads it as mathematics."""
    cut = title if len(title) <= limit else title[: limit - 1] + "…"
    return cut.replace("$", r"\$")


@_styled
def score_panel(results: Results, column: Column, entries: Sequence[Entry], protocol: str) -> str | None:
    """Dev scores of one task: a point per seed, a bar at the suite's statistic, a diamond for the paper."""
    arms, style = ordered_arms(results), Style(results.suite.arms)
    values = [list(by_seed(results, column.name, arm.name, protocol).values()) for arm in arms]
    if not any(values):
        return None
    fig, ax = _panel(320, 46 + 25 * len(arms))
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
    _rows(ax, [short(arm.title) for arm in arms])
    ax.margins(x=0.08)
    _x_axis(ax)
    spoken = "; ".join(
        f"{arm.title} {entry.value:.1f} over {len(points)}"
        for arm, points, entry in zip(arms, values, entries, strict=True)
        if entry.value is not None
    )
    return _svg(fig, f"score-{column.name}", f"{column.title}: dev score per seed", spoken)


@_styled
def difference_panel(results: Results, arm: Arm, found: Sequence[Difference], titles: dict[str, str]) -> str | None:
    """Reference minus one arm: a point and its interval per task, zero marked."""
    drawn = [d for d in found if d.mean is not None]
    if not drawn:
        return None
    style = Style(results.suite.arms)
    fig, ax = _panel(320, 46 + 25 * len(drawn), left=76)
    ax.axvline(0, color=MUTED, lw=1)
    for row, d in enumerate(drawn):
        colour = style.colours[d.reference]
        if d.low is not None and d.high is not None:
            ax.plot([d.low, d.high], [row, row], color=colour, lw=2)
        filled = d.verdict != "open"
        ax.plot([d.mean or 0.0], [row], "o", ms=7, mec=colour, mew=1.6, mfc=colour if filled else PAPER)
    _rows(ax, [short(titles.get(d.task, d.task), 10) for d in drawn])
    ax.margins(x=0.1)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, -0.5), max(high, 0.5))
    _x_axis(ax)
    spoken = "; ".join(f"{titles.get(d.task, d.task)} {signed(d.mean)}{_spoken_interval(d)}" for d in drawn)
    return _svg(fig, f"difference-{arm.name}", f"Difference from {arm.title}, points", spoken)


def loss_panel(results: Results, task: str, title: str) -> str | None:
    """Training loss over optimizer steps, one line per run."""
    return _curves(results, task, "loss", f"{title}: training loss over steps", f"loss-{task}")


def rate_panel(results: Results, task: str, title: str) -> str | None:
    """Replacing rate over optimizer steps, one line per run that has one."""
    return _curves(results, task, "replacing_rate", f"{title}: replacing rate over steps", f"rate-{task}")


@_styled
def latency_figure(results: Results, condition: Any, entries: dict[str, Entry], label: str) -> str | None:
    """Score against median latency under one timing condition; arms of one depth share a latency."""
    style, arms = Style(results.suite.arms), ordered_arms(results)
    fig, ax = _panel(380, 240, left=48, bottom=42)
    spoken = []
    for arm in arms:
        seconds, entry = latency(condition, arm), entries.get(arm.name)
        if seconds is None or entry is None or entry.value is None:
            continue
        colour = style.colours[arm.name]
        if entry.sd is not None:
            spread = [entry.value - entry.sd, entry.value + entry.sd]
            ax.plot([seconds * 1000] * 2, spread, color=colour, lw=1, alpha=0.6)
        size = 12 if arm.is_predecessor else 8
        ax.plot([seconds * 1000], [entry.value], style.markers[arm.name], color=colour, ms=size, mec=PAPER, mew=0.8)
        spoken.append(f"{arm.title} {entry.value:.1f} at {seconds * 1000:.1f} ms")
    if not spoken:
        return None
    ax.set_xlabel("median latency per batch, ms")
    ax.set_ylabel(short(label, 30))
    ax.set_xlim(left=0)
    ax.set_xlim(right=ax.get_xlim()[1] * 1.08)
    ax.margins(y=0.12)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", labelcolor=MUTED)
    return _svg(fig, "latency", "Score against latency", "; ".join(spoken))


def latency(condition: Any, arm: Arm) -> float | None:
    """Median seconds per batch of an arm's depth under a timing condition, None when it was not timed."""
    for side in ("predecessor", "successor"):
        own_side = arm.is_predecessor == (side == "predecessor")
        if own_side and arm.layers is not None and arm.layers == condition.get(f"{side}_layers"):
            timing = condition.get(side)
            value = timing.get("p50") if isinstance(timing, Mapping) else None
            return float(value) if drawable(value) else None
    return None


@_styled
def legend_marker(style: Style, arm: Arm, place: str) -> str:
    """A 14-pixel SVG of an arm's marker, for the legend in HTML at `place`."""
    fig = Figure(figsize=(14 / 72, 14 / 72), dpi=72)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.axis("off")
    size = 10 if arm.is_predecessor else 7
    ax.plot([0.5], [0.5], style.markers[arm.name], color=style.colours[arm.name], ms=size, mew=0)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return _svg(fig, f"key-{place}-{arm.name}", "", "", hidden=True)


def signed(value: float | None, places: int = 1) -> str:
    """A number with its sign and a true minus; empty for None.

    What would round to zero gets one decimal more, because on which side of zero an end lies is the point.
    """
    if value is None:
        return ""
    shown = f"{value:+.{places}f}"
    if float(shown) == 0:
        shown = f"{value:+.{places + 1}f}"
    return f"{0:.{places}f}" if float(shown) == 0 else shown.replace("-", "−")


@_styled
def _curves(results: Results, task: str, key: str, title: str, name: str) -> str | None:
    style = Style(results.suite.arms)
    is_rate = key == "replacing_rate"
    fig, ax = _panel(320, 130 if is_rate else 190, left=44, bottom=38)
    drawn: dict[str, int] = {}
    for arm in ordered_arms(results):
        for run in results.of(task, arm.name):
            steps, values = _series(run, key)
            if len(steps):
                marker = style.markers[arm.name] if len(steps) == 1 else ""
                ax.plot(steps, values, marker=marker, color=style.colours[arm.name], lw=1.3, ms=5, alpha=0.8)
                drawn[arm.title] = drawn.get(arm.title, 0) + 1
    if not drawn:
        return None
    ax.set_xlabel("optimizer step")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlim(left=0)
    if is_rate:
        ax.set_ylim(0, 1.05)
        ax.set_yticks([0, 0.5, 1])
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", labelcolor=MUTED)
    spoken = "runs drawn: " + ", ".join(f"{arm} {count}" for arm, count in drawn.items())
    return _svg(fig, name, title, spoken)


def _series(run: Run, key: str, limit: int = 250) -> tuple[list[float], list[float]]:
    """Steps and values of one run where the value is a number, thinned evenly to `limit` points."""
    pairs = [
        (float(line["step"]), float(line[key]))
        for line in run.curve
        if drawable(line.get(key)) and drawable(line.get("step"))
    ]
    if len(pairs) > limit:
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).round().astype(int)]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _panel(width: int, height: int, left: int = 122, bottom: int = 26) -> tuple[Figure, Axes]:
    """A figure of width × height CSS pixels (72 dpi, so one point is one pixel) with one axes."""
    fig = Figure(figsize=(width / 72, height / 72), dpi=72)
    right, top = 12, 8
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    return fig, fig.add_axes(box)


def _rows(ax: Axes, labels: Sequence[str]) -> None:
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.spines["left"].set_visible(False)


def _x_axis(ax: Axes) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(5, min_n_ticks=3))
    ax.grid(axis="x")
    ax.set_axisbelow(True)


def _spoken_interval(d: Difference) -> str:
    return "" if d.low is None else f" (interval {signed(d.low)} to {signed(d.high)})"


def _svg(fig: Figure, name: str, title: str, description: str, hidden: bool = False) -> str:
    """The figure as an inline `<svg>` element: themed, with its own ids, a title and a description."""
    prefix = "fig-" + re.sub(r"[^A-Za-z0-9-]", "-", name)
    out = StringIO()
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
    """Colours to CSS variables, fonts to the page's own."""
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", body)
    return re.sub(r"font-family: [^;\"]*;? ?", "", body)
