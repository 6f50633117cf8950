"""The kinds of task, one file each; each implements `benchmarks.tasks.kind.Kind`.

A kind's name is its file's name with `-` for `_`. To add one, write one file here with a `KIND`, and name it in a
suite's task. Kinds are found by name, so that a run's id covers the code of its own kind and of no other.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from benchmarks.base.errors import SuiteError, nearest

CLASSIFICATION = "classification"


@cache
def names() -> tuple[str, ...]:
    """The names of all kinds; none of them is imported."""
    return tuple(sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)))


def module_of(name: str) -> str:
    """The module of a kind. For an unknown name it raises `SuiteError`, which names the nearest one."""
    if name not in names():
        raise SuiteError(f"unknown kind of task {name!r}: {nearest(name, names())}")
    return f"{__name__}.{name.replace('-', '_')}"


@cache
def find(name: str) -> Any:
    """The kind of that name, a `benchmarks.tasks.kind.Kind`."""
    return importlib.import_module(module_of(name)).KIND
