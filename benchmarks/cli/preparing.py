"""What the commands of `benchmarks/cli/prepare.py` do; the import loads torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.base.terminal import say
from benchmarks.models.convert import convert
from benchmarks.plans.inputs import source_of
from benchmarks.suites.chosen import choose
from benchmarks.suites.new import Wanted, new_suite
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.data import check_splits
from benchmarks.tasks.own.summary import summary

__all__ = ["Wanted", "checked_data", "choose", "convert", "new_suite"]


def checked_data(name: str, settings: Sequence[str]) -> Iterator[str]:
    """A line about the data of each task. Says warnings. Raises `SuiteError` for the first fault."""
    suite = load_suite(name, settings)
    for task in suite.tasks:
        source = source_of(suite, task)
        for warning in check_splits(source):
            say(f"warning: {warning}")
        yield summary(source)
