"""Answers that are spans of a text: a question and its context as windows of tokens, and SQuAD's measures."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.base.errors import SuiteError

# As in BERT's run_squad: tokens from one window to the next, of a question (the rest is cut off) and of an answer, and
# how many of the best starts and ends are combined.
STEP, QUESTION, LONGEST, BEST = 128, 64, 30, 20
AT_ONCE = 256  # pairs that are tokenised together: lists of character offsets are large
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """A question and its context as tokens, uncut. `text`: of each token, 0 for the question, 1 for the context, else
    -1; `spans` (tokens, 2): its characters in the context."""

    ids: Places
    types: Places | None
    text: Places
    spans: Places

    def tokens_of(self, start: int, end: int) -> Places:
        """The tokens that stand for these characters of the context."""
        return np.flatnonzero((self.spans[:, 0] < end) & (self.spans[:, 1] > start))


def pairs(tokenizer: Any, questions: list[str], contexts: list[str]) -> Iterator[Pair]:
    """Each question with its context, in the tokens of a fast tokenizer."""
    for start in range(0, len(questions), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        encoded = tokenizer(questions[part], contexts[part], return_offsets_mapping=True, return_attention_mask=False)
        types = encoded.get("token_type_ids")
        for row, ids in enumerate(encoded["input_ids"]):
            text = np.array([-1 if number is None else number for number in encoded.sequence_ids(row)])
            spans = np.where(text[:, None] == 1, encoded["offset_mapping"][row], -1)
            yield Pair(np.array(ids), None if types is None else np.array(types[row]), text, spans)


def windows(task: str, pair: Pair, max_length: int) -> list[Places]:
    """The tokens of each window of a pair, as indices into it. Raises `SuiteError` if there is no room for one."""
    context, question = np.flatnonzero(pair.text == 1), np.flatnonzero(pair.text == 0)
    others = np.setdiff1d(np.flatnonzero(pair.text != 1), question[min(QUESTION, max_length // 2) :])
    room = max_length - len(others)
    if room < 1:
        raise SuiteError(f"{task}: max_length = {max_length} leaves no room for a context: set task.{task}.max_length")
    step = max(1, min(STEP, max_length // 3, room))
    starts = range(0, max(1, len(context) - room + step), step)
    return [np.sort(np.concatenate((others, context[start : start + room]))) for start in starts]


def best_span(logits: NDArray[np.float32], spans: NDArray[np.int32]) -> tuple[float, int, int]:
    """The best span of a window, its score and its characters; score -inf and no characters if it has none."""
    inside = np.flatnonzero(spans[:, 0] >= 0)
    starts, ends = (inside[np.argsort(-logits[inside, side], kind="stable")[:BEST]] for side in (0, 1))
    length = ends - starts[:, None] + 1
    scores = np.where((length < 1) | (length > LONGEST), -np.inf, logits[starts, 0][:, None] + logits[ends, 1])
    if not np.isfinite(scores).any():
        return -np.inf, 0, 0
    first, last = np.unravel_index(scores.argmax(), scores.shape)
    return float(scores[first, last]), int(spans[starts[first], 0]), int(spans[ends[last], 1])


def _words(text: str) -> list[str]:
    """Words as SQuAD's evaluation compares them: lower case, without punctuation and articles."""
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def _true(answers: list[str]) -> list[list[str]]:
    """The words of the true answers; none where no answer has any."""
    return [words for words in map(_words, answers) if words] or [[]]


def exact_match(answers: list[str], given: str) -> float:
    """1.0 if a predicted answer is one of the true `answers`, else 0.0, as SQuAD 2.0's evaluation counts it."""
    return float(_words(given) in _true(answers))


def f1(answers: list[str], given: str) -> float:
    """F1 over words (0 to 1) with the closest of the true `answers`, as SQuAD 2.0's evaluation counts it."""
    return max(_overlap(words, _words(given)) for words in _true(answers))


def _overlap(true: list[str], given: list[str]) -> float:
    if not true or not given:
        return float(true == given)
    return 2 * (Counter(true) & Counter(given)).total() / (len(true) + len(given))
