"""The best span of a window, and SQuAD's measures of an answer."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.tasks.spans import best_span, exact_match, f1


def test_the_best_span_by_hand():
    """The best start is behind the best end, the best pair is too long, and the question is no answer."""
    spans = np.array([[-1, -1], [-1, -1]] + [[2 * place, 2 * place + 1] for place in range(40)], dtype=np.int32)
    values = np.full((42, 2), -9.0, dtype=np.float32)
    values[1] = 50  # in the question
    values[2 + 0, 0], values[2 + 35, 0] = 8, 9  # starts
    values[2 + 30, 1], values[2 + 29, 1] = 9, 7  # ends: 31 and 30 tokens after the first start
    assert best_span(values, spans) == (15.0, 0, 59)
    assert best_span(values[:2], spans[:2]) == (-np.inf, 0, 0)


def published(answers: list[str], given: str) -> tuple[float, float]:
    """EM and F1 of SQuAD 2.0's evaluation, derived anew from its definition, character by character."""

    def parts(text: str) -> list[str]:
        kept = [sign for sign in text.lower() if not ("!" <= sign <= "~" and not sign.isalnum())]
        # an article is one whose neighbours are not word characters
        found, place = "", 0
        while place < len(kept):
            before = place == 0 or not (kept[place - 1].isalnum() or kept[place - 1] == "_")
            for article in ("a", "an", "the"):
                after = place + len(article)
                whole = after >= len(kept) or not (kept[after].isalnum() or kept[after] == "_")
                if before and whole and "".join(kept[place:after]) == article:
                    found, place = found + " ", after
                    break
            else:
                found, place = found + kept[place], place + 1
        return found.split()

    def shared(true: list[str], own: list[str]) -> float:
        left, same = list(own), 0
        for word in true:
            if word in left:
                left.remove(word)
                same += 1
        if not true or not own:
            return float(true == own)
        if not same:
            return 0.0
        precision, recall = same / len(own), same / len(true)
        return 2 * precision * recall / (precision + recall)

    true = [parts(answer) for answer in answers if parts(answer)] or [[]]
    return max(float(one == parts(given)) for one in true), max(shared(one, parts(given)) for one in true)


def strings(source: random.Random) -> Iterator[str]:
    yield from ("", " ", "the", "The a, an", "...", "a.", "§", "ÉCOLE", "école", "the–a", "1,000", "\u200b", "\n\t")
    pieces = ["a", "an", "the", "The", "cat", "Cat", "élan", "Übung", "東京", "-", "'s", ".", "U.S.", "\xa0", " ", "10"]
    for _ in range(150):
        yield source.choice(["", " "]).join(source.choices(pieces, k=source.randint(1, 6)))


def test_the_measures_are_those_of_squad():
    source = random.Random(5)
    texts = list(strings(source))
    for given in texts:
        for _ in range(8):
            answers = source.sample(texts, source.choice([0, 1, 1, 2, 3]))
            for case in (answers, [*answers, given]):
                expected = published(case, given)
                assert (exact_match(case, given), f1(case, given)) == pytest.approx(expected, abs=1e-12), (case, given)


def test_the_measures_by_hand():
    assert (exact_match(["the Cat."], "cat"), f1(["the Cat."], "cat")) == (1, 1)
    assert (exact_match(["big cat"], "a cat"), f1(["big cat"], "a cat")) == (0, pytest.approx(2 / 3))
    assert (exact_match(["cat", "big dog"], "big dog"), f1(["cat cat", "big"], "cat")) == (1, pytest.approx(2 / 3))
    assert (exact_match([], ""), f1([], ""), exact_match([], "cat"), f1([], "cat")) == (1, 1, 0, 0)
    assert (exact_match(["the"], "a"), f1(["the"], "")) == (1, 1)
