"""Lines for people, on stderr: stdout is for documents.

An error quotes what it complains of: a column's name, a label, what a library said about a file. Escape
sequences in it could colour, hide or retitle, and direction marks could make a line read backwards. So
whatever leaves here is clean text on one line (`results.format.untrusted.text`).
"""

from __future__ import annotations

import sys

from results.format.limits import MESSAGE
from results.format.untrusted import text


def say(line: str) -> None:
    """A line on stderr."""
    print(text(line, MESSAGE), file=sys.stderr, flush=True)
