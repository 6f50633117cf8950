"""Lines for people, on stderr: stdout is for documents.

An error quotes what it complains of: a column's name, a label, what a library said about a file. Escape
sequences in it could colour, hide or retitle, and direction marks could make a line read backwards. So
whatever leaves here is clean text on one line (`results.format.untrusted.text`).
"""

from __future__ import annotations

import os
import sys

from results.format.limits import MESSAGE
from results.format.untrusted import text


def quieten_clients() -> None:
    """Call this before the hub's clients are imported. They tell every attempt and, on a file, draw their progress line
    by line; what fails in the end is said in one line of ours (`benchmarks.base.hub`)."""
    for client in ("HF_HUB", "DATASETS"):
        os.environ.setdefault(f"{client}_VERBOSITY", "critical")
    if not sys.stderr.isatty():
        for client in ("HF_HUB", "HF_DATASETS"):
            os.environ.setdefault(f"{client}_DISABLE_PROGRESS_BARS", "1")


def say(line: str) -> None:
    """A line on stderr."""
    print(text(line, MESSAGE), file=sys.stderr, flush=True)
