"""The suite, settings and filters that a user gives to a command. The import is cheap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.base.errors import SuiteError


@dataclass(frozen=True)
class Asked:
    """A suite with overrides, the folder of its results, and the tasks, methods (or arms) and seeds to use (empty:
    all)."""

    suite: str
    results: Path | None = None
    settings: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()


def asked(
    suite: str, results: Path | None, settings: list[str] | None, tasks: str = "", methods: str = "", seeds: str = ""
) -> Asked:
    """Parse the options; names and numbers are comma-separated. Raises `SuiteError`."""
    try:
        numbers = tuple(int(part) for part in _split(seeds))
    except ValueError:
        raise SuiteError(f"--seeds {seeds}: seeds are whole numbers, comma-separated") from None
    return Asked(suite, results, tuple(settings or ()), _split(tasks), _split(methods), numbers)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
