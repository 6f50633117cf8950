"""The compared methods, one file each. Each implements `baselines.method.Method`.

A method's name is its file's name, and `parts` has the code that several methods share. `python -m benchmarks plan
SUITE` checks a suite's arms against them. To add a rival, write one file here with a `METHOD` class, and one line in a
suite.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.method import Method


@cache
def names() -> tuple[str, ...]:
    """The names of all methods; none of them is imported."""
    found = (module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)
    return tuple(sorted(name for name in found if name != "method"))


def find(name: str) -> type[Method]:
    """The class of a method. For an unknown name it raises `ValueError`, which names the nearest one."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown method {name!r}: {hint}the methods are {', '.join(names())}")
    method: type[Method] = importlib.import_module(f"baselines.{name}").METHOD
    return method
