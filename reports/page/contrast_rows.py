"""The suite's registered questions as rows: for the page's table and for contrasts.csv."""

from __future__ import annotations

from typing import Any

from reports.claims.ablation import in_words
from reports.claims.decisions import Decision, more_seeds
from reports.findings.findings import Findings
from reports.page.headline import ANSWERS
from reports.words import counted, csv_text, p_words, plain_cell

HEADS = (
    "question", "first", "second", "task", "answer", "difference", "low", "high", "seeds", "basis",
    "p_holm", "family", "p", "more_seeds", "remark",
)  # fmt: skip


def rows(found: Findings) -> list[dict[str, Any]]:
    """A row per question; its cells are in the order of the main table's columns."""
    suite = found.results.suite
    return [
        {
            "question": asked.contrast.question,
            "pair": f"{suite.arm(asked.contrast.first).title} − {suite.arm(asked.contrast.second).title}",
            "cells": [(ANSWERS[d.word], d.difference, _beside(d)) for d in asked.decisions],
        }
        for asked in found.contrasts
    ]


def to_csv(found: Findings) -> str | None:
    """contrasts.csv, a line per question and task; None where the suite registered no question."""
    if not found.contrasts:
        return None
    lines = []
    for asked in found.contrasts:
        c = asked.contrast
        for decision in asked.decisions:
            d = decision.difference
            numbers = ("" if value is None else f"{value:.4f}" for value in (d.mean, d.low, d.high))
            tests = ("" if value is None else f"{value:.6g}" for value in (decision.p, decision.raw_p))
            adjusted, raw = tests
            more = more_seeds(decision)
            head = (plain_cell(c.question), c.first, c.second, d.task, ANSWERS[decision.word])
            tail = (d.n, d.basis, adjusted, decision.family, raw, "" if more is None else more, _remark(decision))
            lines.append((*head, *numbers, *tail))
    return csv_text(HEADS, lines)


def _beside(d: Decision) -> str:
    """p after Holm over the family, or why there is none."""
    return in_words(d) if d.p is None or d.why else f"p {p_words(d.p)}"


def _remark(decision: Decision) -> str:
    """What lies behind the word: p after Holm, or why the question stays open and what would close it."""
    more = more_seeds(decision)
    said = in_words(decision)
    if more is None or decision.word != "open":
        return said
    return f"{said}; a new suite with about {counted(decision.difference.n + more, 'seed')} would decide"
