"""The methods that are compared, one file each, all answering `baselines.method.Method`.

A method's name is its file's name. `python -m benchmarks plan SUITE` checks a suite's arms against them; adding
a rival is one file here with a `METHOD` class, and one line in a suite.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.method import Method

SUPPORT = {"method", "losses", "start", "rate"}  # modules here that are not methods


@cache
def names() -> tuple[str, ...]:
    """All method names, without importing any of them."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in SUPPORT))


def find(name: str) -> type[Method]:
    """The class of a method. Raises `ValueError` naming the nearest one for an unknown name."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown method {name!r}: {hint}there are {', '.join(names())}")
    method: type[Method] = importlib.import_module(f"baselines.{name}").METHOD
    return method
