"""Text that somebody else may have written, on its way to a terminal or a log.

    print(plain("\\x1b[31mred\\x1b[0m"))        # [31mred[0m

An error quotes what it complains of: a column's name, a label, what a library said about a file. Escape
sequences in it could colour, hide or retitle, and direction marks could make a line read backwards. So
whatever leaves here is one line without control or format characters, cut at `limits.MESSAGE`.
"""

from __future__ import annotations

import sys
import unicodedata

from benchmarks.limits import MESSAGE

DROPPED = ("Cc", "Cf", "Cs")  # control, format (direction marks among them), lone surrogates


def plain(text: str, limit: int = MESSAGE) -> str:
    """One line of at most `limit` characters, without control and format characters."""
    head = text[: 4 * limit]  # ten megabytes on a line are not looked through to show a thousand characters of it
    spaced = "".join(" " if c.isspace() else c for c in head)
    line = " ".join("".join(c for c in spaced if unicodedata.category(c) not in DROPPED).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def say(text: str) -> None:
    """A line for people, on stderr: stdout is for documents."""
    print(plain(text), file=sys.stderr, flush=True)
