"""Errors, exit codes and folders that all of `benchmarks` shares; the import is cheap."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from results.format.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "runs"
ACCEPTED = ROOT / "results" / "accepted"

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 75


class SuiteError(UserError):
    """Bad input. The message is one line: what is wrong, where, and what to do. The CLI exits with 2."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the nearest valid one, or all of them."""
    choices = list(valid)
    near = difflib.get_close_matches(name[:100], choices, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(choices)}"
