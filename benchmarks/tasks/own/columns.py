"""Guess which columns of a user's file hold the text and the label, by the names that data sets commonly use.

A guess is made only where one answer is left; otherwise the user is asked for the option that decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.base.errors import SuiteError
from benchmarks.tasks.own.files import Rows
from results.format.untrusted import text

LABELS = (
    "label", "labels", "class", "category", "target", "intent", "topic", "sentiment", "score", "rating", "y", "tags",
    "ner_tags", "pos_tags", "upos", "answers",
)  # fmt: skip
NO_LABEL = "label"  # the default, which a kind without labels never reads
PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"),
    ("text1", "text2"), ("text_a", "text_b"), ("sentence_a", "sentence_b"), ("sentence_A", "sentence_B"),
    ("query", "passage"), ("question", "context"),
)  # fmt: skip
TEXTS = ("text", "tokens", "words", "sentence", "content", "review", "comment", "question", "message", "utterance")
LOOKED_AT = 200  # rows


def label_column(rows: Rows, given: str | None) -> str:
    """The column with the label: the one given, or the one with a usual name. Raises `SuiteError`."""
    if given is not None:
        rows.column(given)
        return given
    named = [name for name in LABELS if name in rows.columns]
    if len(named) == 1 or "label" in named:
        return named[0]
    raise SuiteError(f"{rows.place} has the columns {_known(rows)}: say which one is the label with --label")


def kind_of(label: object) -> str | None:
    """The kind of task that a label's form leaves no choice of: answers to a question, or a label for each word."""
    if isinstance(label, dict) or (isinstance(label, list) and all(isinstance(one, dict) for one in label)):
        return "question-answering"
    return "token-classification" if isinstance(label, list) else None


def text_columns(rows: Rows, given: Sequence[str], label: str) -> list[str]:
    """The one or two columns with text: those given, those with usual names, or the only one with several words in its
    values. Raises `SuiteError`."""
    for name in given:
        rows.column(name)
    if given:
        return list(given)
    others = [name for name in rows.columns if name != label]
    if pair := next((pair for pair in PAIRS if set(pair) <= set(others)), None):
        return list(pair)
    named = [name for name in TEXTS if name in others]
    worded = [name for name in others if _has_words(rows.columns[name])]
    for found in (named, worded):
        if len(found) == 1:
            return found
    raise SuiteError(
        f"{rows.place} has the columns {_known(rows)}: say which one is the text with --text (twice for a pair)"
    )


def _has_words(values: Sequence[object]) -> bool:
    """Whether most values are texts of several words, or lists of words."""
    seen = values[:LOOKED_AT]
    words = [
        len(value.split() if isinstance(value, str) else value) for value in seen if isinstance(value, (str, list))
    ]
    return sum(count > 1 for count in words) > len(seen) / 2


def _known(rows: Rows) -> str:
    return ", ".join(text(name, 40) for name in rows.columns)
