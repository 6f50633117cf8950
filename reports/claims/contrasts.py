"""The questions that a suite registered before its first run, each answered on the macro score and on every task.

    known = family(compared, columns)                # a decision per question and column, all in one Holm family
    contrasts(suite, columns, known)[0].decisions[0].word

A question that stood in the suite before its first result is decided in this family alone: a claim of the paper about
the same two arms, and every table and figure, take its decision from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reports.claims.decisions import Decision, Key, Word, decide
from reports.claims.paper_numbers import Column
from reports.statistics.differences import Differences
from reports.statistics.failures import with_failures
from results.format.documents.suite import Contrast
from results.format.records import Suite

LATE = "open: the questions were asked or changed when results were there"


@dataclass(frozen=True)
class Contrasted:
    """A question and its decisions, in the order of the main table's columns."""

    contrast: Contrast
    decisions: tuple[Decision, ...]


def family(compared: Differences, columns: Sequence[Column]) -> dict[Key, Decision]:
    """The decisions on all questions, and on the same pairs the other way round; empty where the suite has none.

    Questions that were asked or changed after results were there decide nothing: choosing them by what came out, or
    moving some tests out of another family, would make the others easier.
    """
    suite = compared.cells.results.suite
    keys = [_key(contrast, column) for contrast in suite.contrasts for column in columns]
    found = decide(compared, keys)
    if not suite.asked_beforehand:
        found = [replace(d, word="open", why=LATE) for d in found]
    return {d.difference.key: d for one in found for d in (one, _turned(compared, one))}


def _turned(compared: Differences, d: Decision) -> Decision:
    """The same test with the arms in the other order."""
    task, first, second = d.difference.key
    words: dict[Word, Word] = {"above": "below", "below": "above", "open": "open"}
    counted = with_failures(compared.estimator, task, second, first) if d.left_out else None
    return replace(d, difference=compared.of(task, second, first), word=words[d.word], if_counted=counted)


def contrasts(suite: Suite, columns: Sequence[Column], known: Mapping[Key, Decision]) -> tuple[Contrasted, ...]:
    """Every question with its decisions."""
    return tuple(Contrasted(c, tuple(known[_key(c, column)] for column in columns)) for c in suite.contrasts)


def _key(contrast: Contrast, column: Column) -> Key:
    return column.name, contrast.first, contrast.second
