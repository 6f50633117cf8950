"""Report the older runs of the same cells that a plan leaves out, and the settings in which they differ.

A run's id hashes everything that can change its number, so results of other code, data or settings are never mistaken
for the suite's. They stay in its folder under their own ids, and one line tells the user why they are not in a table.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.plans.run import Run
from results.format.documents.config import Config, as_read
from results.format.errors import ReportError
from results.format.layout import CONFIG, id_in
from results.format.untrusted import load

SHOWN = 6  # fields named in the line
CONSEQUENCES = {"predecessor", "start", "steps"}  # they follow from other fields, which the line names
UNREADABLE = f"{CONFIG} (unreadable)"


def older_runs(runs: Sequence[Run], results: Path) -> str | None:
    """One line about the runs of these cells that lie in `results` under other ids, or None."""
    planned = {run.id for run in runs}
    cells: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in runs:
        cells.setdefault(_cell(run.config), []).append(_flat(run.config.settings))
    count, fields = 0, Counter[str]()
    for folder in _folders({f"{run.task.name}/{run.method}" for run in runs}, results, planned):
        config = _config(folder)
        if config is None:
            count, fields = count + 1, fields + Counter([UNREADABLE])
        elif of_cell := cells.get(_cell(config)):
            count += 1
            fields.update(_nearest(_flat(config.settings), of_cell))
    if not count:
        return None
    names = [name for name, _ in sorted(fields.items(), key=lambda field: (-field[1], field[0]))] or ["run id"]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    what = f"{count} older run{'s are' if count > 1 else ' is'} left out"
    return f"{what}: {', '.join(names[:SHOWN])}{more} differ{'s' if len(names) == 1 else ''}"


def _cell(config: Config) -> tuple[str, ...]:
    return str(config.task), str(config.arm), str(config.seed)


def _nearest(found: dict[str, Any], of_cell: list[dict[str, Any]]) -> set[str]:
    """The fields that differ from the most similar planned run (a cell has several if its arm has trials)."""
    differing = [_differing(found, wanted) for wanted in of_cell]
    return min(differing, key=lambda names: len(names))


def _folders(places: set[str], results: Path, planned: set[str]) -> Iterator[Path]:
    """The folders of runs in these `task/method` folders that are not planned; each is listed once."""
    for place in sorted(places):
        try:
            names = sorted(os.listdir(results / place))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            if (found := id_in(name)) and found not in planned:
                yield results / place / name


def _config(folder: Path) -> Config | None:
    try:
        raw = load(folder / CONFIG)
    except ReportError:
        return None
    return as_read(Config, raw, CONFIG)


def _flat(value: dict[str, Any], under: str = "") -> dict[str, Any]:
    """The config as dotted names and plain values."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat |= _flat(inner, f"{under}{name}.")
        else:
            flat[under + name] = inner
    return flat


def _differing(found: dict[str, Any], wanted: dict[str, Any]) -> set[str]:
    """The fields whose values differ, or that one side lacks."""
    missing = object()
    names = {name for name in found.keys() | wanted.keys() if found.get(name, missing) != wanted.get(name, missing)}
    return (names - CONSEQUENCES) or names
