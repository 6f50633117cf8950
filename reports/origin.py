"""Which parts of a results folder came out of a bundle: told from the marks that `import` leaves beside them.

A mark is written by the importer and no bundle can carry one, so what a bundle says of itself, hash list
included, cannot make its runs pass as run here. A run folder is imported while `imported.json` lies in it;
suite.json and speed.json are while they are the files that the importer wrote, which the mark in the results folder
knows by their hash: a `run` or `speed` here replaces them, and they are this machine's again.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reports.errors import ReportError
from reports.results import Arm, Run
from reports.untrusted import as_digest, load, mapping, read_bytes

MARK = "imported.json"
IMPORTED = "imported"


def run_bundle(folder: Path) -> str | None:
    """The sha256 of the bundle a run folder came from, `unknown` where its mark is unreadable, None if run here."""
    return _bundle(folder / MARK)


def file_is_imported(root: Path, name: str) -> bool:
    """Is suite.json or speed.json the one that an import brought? An unreadable mark speaks against all of them."""
    path = root / MARK
    if not os.path.lexists(path):
        return False
    try:
        hashes = mapping(load(path).get("files"), str(path))
    except ReportError:
        return True
    return (root / name).is_file() and hashes.get(name) == as_digest(read_bytes(root / name))


def marked_arms(arms: Sequence[Arm], runs: Sequence[Run]) -> tuple[Arm, ...]:
    """Arms with imported runs say so in their title, and so in every table, legend and file that names them."""
    return tuple(_marked(arm, [run for run in runs if run.arm == arm.name and run.status != "missing"]) for arm in arms)


def _marked(arm: Arm, runs: Sequence[Run]) -> Arm:
    count = sum(run.bundle is not None for run in runs)
    if not count:
        return arm
    origin = IMPORTED if count == len(runs) else f"partly {IMPORTED}"
    return replace(arm, title=f"{arm.title} ({origin})", origin=origin)


def _bundle(path: Path) -> str | None:
    if not os.path.lexists(path):
        return None
    try:
        found = load(path).get("bundle_sha256")
    except ReportError:
        return "unknown"
    return found if isinstance(found, str) and len(found) == 64 and found.isalnum() else "unknown"
