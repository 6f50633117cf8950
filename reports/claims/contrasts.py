"""The questions that a suite registered before its first run, each answered on the macro score and on every task.

    known = registered_family(compared, columns)     # a decision per question and column, all in one Holm family
    contrasts(suite, columns, known)[0].decisions[0].word

A difference that is registered is decided in this family alone: a claim of the paper about the same two arms, and every
table and figure, take its decision from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.claims.decisions import Decision, Key, decide
from reports.claims.paper_numbers import Column
from reports.statistics.differences import Differences
from results.format.documents.suite import Contrast
from results.format.records import Suite


@dataclass(frozen=True)
class Contrasted:
    """A question and its decisions, in the order of the main table's columns."""

    contrast: Contrast
    decisions: tuple[Decision, ...]


def registered_family(compared: Differences, columns: Sequence[Column]) -> dict[Key, Decision]:
    """The decisions on all questions; empty where the suite registered none."""
    keys = [_key(contrast, column) for contrast in compared.cells.results.suite.contrasts for column in columns]
    return dict(zip(keys, decide(compared, keys), strict=True))


def contrasts(suite: Suite, columns: Sequence[Column], known: Mapping[Key, Decision]) -> tuple[Contrasted, ...]:
    """Every question with its decisions."""
    return tuple(Contrasted(c, tuple(known[_key(c, column)] for column in columns)) for c in suite.contrasts)


def _key(contrast: Contrast, column: Column) -> Key:
    return column.name, contrast.first, contrast.second
