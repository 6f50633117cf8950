"""The texts on which the demo's encoder is pretrained, and their words.

Why pairs of sentences: a masked word teaches most where only the meaning of the other sentence gives it away, and the
[CLS] vector learns something only if training asks whether the second sentence belongs to the first.

How: `document(rng)` draws a `story` (an event, restated or changed), a `review` (two opinions that agree or do not) or
a `scene` (two nested sentences without a question). `vocabulary()` has every word of the language, and
`content_words()` those that a sentence's shape does not give away. This prints a few texts:

    python -m benchmarks.demo.documents
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import NamedTuple

from benchmarks.demo.language import (
    ADJECTIVES,
    CONCEPTS,
    INTRANSITIVE,
    PLACES,
    PLURAL,
    TOPICS,
    VERB_FORMS,
    change,
    event,
    finite,
    noun_phrase,
    nouns_of,
    render,
    weaken,
)
from benchmarks.demo.opinions import ASPECTS, BAD, DEGREES, DENIALS, FLIPPERS, GOOD, KEEPERS, VERDICTS, opinion, verdict
from benchmarks.demo.syntax import Syntax, text_of

FUNCTION_WORDS = (
    "the this these no ever that is are do does not by it true false also they itself themselves and but although , ."
)


class Document(NamedTuple):
    """Two sentences; `follows` is 1 if they belong to the same text, 0 if not, -1 if training does not ask."""

    first: list[str]
    second: list[str]
    follows: int


def review(rng: Random) -> Document:
    """A sentence of a review, with its next sentence or with one of a reviewer who disagrees."""
    polarity, follows = rng.random() < 0.5, rng.random() < 0.65
    second = polarity == follows
    first = opinion(rng, polarity)
    other = verdict(rng, second) if rng.random() < 0.7 else opinion(rng, second)
    return Document(*((first, other) if rng.random() < 0.75 else (other, first)), int(follows))


def story(rng: Random) -> Document:
    """An event, followed by the same in other words, a consequence, or the next deed of a participant; or, as a wrong
    second sentence, by an unrelated event or (more often) a changed one with nearly the same cast."""
    nouns = nouns_of(rng.choice(TOPICS))
    what, follows = event(rng, nouns), rng.random() < 0.6
    first = render(rng, what, nouns)
    if not follows:
        told = event(rng, nouns_of(rng.choice(TOPICS))) if rng.random() < 0.4 else change(rng, what, nouns)
        return Document(first, render(rng, weaken(rng, told) if rng.random() < 0.4 else told), 0)
    if rng.random() < 0.12:
        who = rng.choice((what.agent, what.patient))
        deed = replace(event(rng, nouns), agent=who)
        verb = finite(rng.choice(CONCEPTS[deed.concept].words), who.plural)
        return Document(first, ["they" if who.plural else "it", "also", verb, *noun_phrase(rng, deed.patient)], 1)
    return Document(first, render(rng, weaken(rng, what) if rng.random() < 0.4 else what), 1)


def scene(rng: Random) -> Document:
    """Two nested sentences about the same topic."""
    syntax = Syntax(rng, nouns_of(rng.choice(TOPICS)))
    return Document(text_of(syntax.sentence()), text_of(syntax.sentence(1)), -1)


def document(rng: Random) -> Document:
    """A random text of the language: 45 % stories, 35 % reviews, 20 % nested scenes."""
    draw = rng.random()
    return story(rng) if draw < 0.45 else review(rng) if draw < 0.8 else scene(rng)


def content_words() -> set[str]:
    """The words that a sentence's shape does not give away: nouns, verbs, adjectives and verdicts."""
    words = {*ADJECTIVES, *GOOD, *BAD, *PLURAL, *PLURAL.values()}
    words |= {form for lemma, forms in VERB_FORMS.items() for form in (lemma, *forms)}
    for good, bad in VERDICTS:
        words |= set(good.split()) ^ set(bad.split())
    return words


def vocabulary() -> list[str]:
    """Every word of the language, sorted, without the tokenizer's special tokens."""
    words = {*content_words(), *PLACES, *ASPECTS, *DEGREES, *INTRANSITIVE, *INTRANSITIVE.values()}
    phrases = (*DENIALS, *KEEPERS, *FLIPPERS, *(side for pair in VERDICTS for side in pair), FUNCTION_WORDS)
    return sorted(words | {word for phrase in phrases for word in phrase.split()})


if __name__ == "__main__":
    for seed in range(8):
        text = document(Random(seed))
        print(text.follows, "|", " ".join(text.first), ".", " ".join(text.second), ".")
