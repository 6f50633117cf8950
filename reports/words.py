"""Numbers and lists as readable text."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence


def millions(value: int | None) -> str:
    """`66.96 M`; empty for None."""
    return "" if value is None else f"{value / 1e6:.2f} M"


def duration(seconds: float | None) -> str:
    """`48 s`, `12.5 min` or `3.4 h`; `?` for None."""
    if seconds is None:
        return "?"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def protocol_name(protocol: str) -> str:
    """A protocol's name as an adjective of `checkpoint`."""
    return protocol.replace("_", "-")


def decimals(value: float | None, places: int) -> str:
    """A fixed number of decimals, with an ASCII minus; empty for None."""
    return "" if value is None else f"{value:.{places}f}"


def plain_cell(value: str) -> str:
    """Text that a spreadsheet does not take for a formula: an apostrophe goes before anything that begins like one.

    A leading tab or line break counts too, because spreadsheets drop it and read the next character first. So do
    full-width signs, which some spreadsheets read like plain ones, and signs after characters without width.
    """
    shown = "".join(c for c in value if unicodedata.category(c) not in ("Cc", "Cf", "Zs")).lstrip()
    leads = unicodedata.normalize("NFKC", shown[:1])[:1] in ("=", "+", "-", "@") and bool(shown)
    return "'" + value if leads or value[:1] in ("\t", "\r", "\n") else value


def short(title: str, limit: int = 18) -> str:
    """A label that fits beside an axis."""
    return title if len(title) <= limit else title[: limit - 1] + "…"


def signed(value: float | None, places: int = 1) -> str:
    """A number with its sign and a true minus; empty for None.

    A number that would round to zero gets one more decimal, because readers want to know its side of zero.
    """
    if value is None:
        return ""
    shown = f"{value:+.{places}f}"
    if float(shown) == 0:
        shown = f"{value:+.{places + 1}f}"
    return f"{0:.{places}f}" if float(shown) == 0 else shown.replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """`+0.4 to +1.2`; empty where there is none."""
    return "" if low is None or high is None else f"{signed(low)} to {signed(high)}"


def p_words(p: float | None) -> str:
    """`0.012`, `< 0.001`; empty for None."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def csv_text(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows under their heads as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([heads, *rows])
    return out.getvalue()


def listed(parts: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; three or more parts with semicolons if a part contains a comma."""
    if len(parts) > 2 and any("," in part for part in parts):
        return f"{'; '.join(parts[:-1])}; {last} {parts[-1]}"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def counted(n: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
