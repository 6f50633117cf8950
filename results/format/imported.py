"""Find out which parts of a results folder were imported from a bundle, by the marks that `import` writes.

The importer writes the marks and a bundle cannot contain one, so a bundle cannot pretend that its runs were made here.
A run folder is imported if `imported.json` is in it. For suite.json and speed.json the mark in the results folder holds
the hashes of the imported files: once a `run` or `speed` on this machine replaces them, they are no longer imported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from results.format.documents.codec import from_json
from results.format.documents.run import Mark
from results.format.errors import ReportError
from results.format.layout import MARK
from results.format.records import Arm, Run
from results.format.untrusted import as_digest, load, read_bytes

IMPORTED = "imported"


def read_mark(path: Path) -> Mark:
    """The mark in a file; raises `ReportError` if it cannot be read."""
    return from_json(Mark, load(path), str(path))


def run_bundle(folder: Path) -> str | None:
    """The sha256 of a run folder's bundle, `unknown` for an unreadable mark, None for a run made here."""
    path = folder / MARK
    if not os.path.lexists(path):
        return None
    try:
        found = read_mark(path).bundle_sha256
    except ReportError:
        return "unknown"
    return found if isinstance(found, str) and len(found) == 64 and found.isalnum() else "unknown"


def file_is_imported(root: Path, name: str) -> bool:
    """Was this suite.json or speed.json imported? With an unreadable mark the answer is yes."""
    path = root / MARK
    if not os.path.lexists(path):
        return False
    try:
        mark = read_mark(path)
    except ReportError:
        return True
    return (root / name).is_file() and mark.files.get(name) == as_digest(read_bytes(root / name))


def marked_arms(arms: Sequence[Arm], runs: Sequence[Run]) -> tuple[Arm, ...]:
    """The arms, with a note on imported runs in the title, which every table, legend and file shows."""
    return tuple(_marked(arm, [run for run in runs if run.arm == arm.name and run.status != "missing"]) for arm in arms)


def _marked(arm: Arm, runs: Sequence[Run]) -> Arm:
    count = sum(run.bundle is not None for run in runs)
    if not count:
        return arm
    origin = IMPORTED if count == len(runs) else f"partly {IMPORTED}"
    return replace(arm, title=f"{arm.title} ({origin})", origin=origin)
