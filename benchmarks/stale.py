"""Older runs of the same cells: what is left out, and which settings make them other runs.

A run's id is a hash of all that can change its number, so results of other code, data or settings are never mistaken
for the suite's; they stay in its folder under their own ids. Whoever finds hours of work missing from a table is told
why in one line.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.limits import MODEL_CONFIG
from benchmarks.plan import Run

SHOWN = 6  # fields named in the line
CONSEQUENCES = {"predecessor", "start"}  # another run as input; why it is another one, its own older run says
UNREADABLE = "config.json (unreadable)"


def older_runs(runs: Sequence[Run], results: Path) -> str | None:
    """One line on the runs of these cells that lie in `results` under other ids; None where there are none."""
    planned = {run.id for run in runs}
    cells: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in runs:
        cells.setdefault(_cell(run.config), []).append(_flat(run.config))
    count, fields = 0, Counter[str]()
    for folder in _folders({f"{run.task.name}/{run.method}" for run in runs}, results, planned):
        config = _config(folder)
        if config is None:
            count, fields = count + 1, fields + Counter([UNREADABLE])
        elif of_cell := cells.get(_cell(config)):
            count += 1
            fields.update(_nearest(_flat(config), of_cell))
    if not count:
        return None
    names = [name for name, _ in sorted(fields.items(), key=lambda field: (-field[1], field[0]))] or ["run id"]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    what = f"{count} older run{'s are' if count > 1 else ' is'} left out"
    return f"{what}: {', '.join(names[:SHOWN])}{more} differ{'s' if len(names) == 1 else ''}"


def _cell(config: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(config.get(name)) for name in ("task", "arm", "seed"))


def _nearest(found: dict[str, Any], of_cell: list[dict[str, Any]]) -> set[str]:
    """The fields that differ from the planned run (of several trials) that is most like it."""
    differing = [_differing(found, wanted) for wanted in of_cell]
    return min(differing, key=lambda names: len(names))


def _folders(places: set[str], results: Path, planned: set[str]) -> Iterator[Path]:
    """Finished runs of these `task/method` folders that are not planned; one listing for each."""
    for place in sorted(places):
        try:
            names = sorted(os.listdir(results / place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            if name.startswith("seed-") and name.rpartition("-")[2] not in planned:
                yield results / place / name


def _config(folder: Path) -> dict[str, Any] | None:
    file = folder / "config.json"
    try:
        if file.stat().st_size > MODEL_CONFIG:
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _flat(value: dict[str, Any], under: str = "") -> dict[str, Any]:
    """Dotted names and plain values; the suite's name is no part of an id."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat |= _flat(inner, f"{under}{name}.")
        elif under or name != "suite":
            flat[under + name] = inner
    return flat


def _differing(found: dict[str, Any], wanted: dict[str, Any]) -> set[str]:
    """Fields of another value, or that one side lacks."""
    missing = object()
    names = {name for name in found.keys() | wanted.keys() if found.get(name, missing) != wanted.get(name, missing)}
    return (names - CONSEQUENCES) or names
