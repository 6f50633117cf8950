"""Property-based tests in two lengths: a few examples in the fast tier, thousands behind `slow`; always the same ones.

    @EXAMPLES
    def test_a_thing_holds(examples):
        def check(tree): ...
        fuzz(check, examples, tree=trees())

Derandomised, so that a failure in CI is the same failure here; nothing is kept between runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = pytest.mark.parametrize("examples", [20, pytest.param(2000, marks=pytest.mark.slow)])
FEW_EXAMPLES = pytest.mark.parametrize("examples", [6, pytest.param(300, marks=pytest.mark.slow)])


def fuzz(check: Callable[..., None], examples: int, **strategies: st.SearchStrategy[Any]) -> None:
    """Call `check` with `examples` draws of its arguments; the smallest failing draw is reported."""
    given(**strategies)(
        settings(
            max_examples=examples, derandomize=True, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        )(check)
    )()  # fmt: skip


# Anything that JSON can hold, and what only looks like it.
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=30)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def places(tree: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of every value in a JSON tree, its own root left out."""
    found = [so_far] if so_far else []
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        found += places(value, (*so_far, key))
    return found


def put(tree: Any, place: tuple[Any, ...], value: Any) -> None:
    """Put a value where another one is."""
    for key in place[:-1]:
        tree = tree[key]
    tree[place[-1]] = value
