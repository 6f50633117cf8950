"""Nested clauses with agreement, and every mistake that can be made in them.

Why: an acceptability label is exact only if exactly one thing is wrong, and it rewards depth only if the structure is
needed to see the mistake: neighbouring words show nothing wrong in "the dog that the goats chase sleep".

How: `Syntax` generates top-down. Whenever another word forces a choice, the chosen word also carries its replacement in
a mistake. A mistake is a *site*; the words of one site go wrong together, and `rule` names the rule that they break:

* `agreement`, `clause agreement`: a verb's number, in the main or in a relative clause
* `determiner`, `reflexive`: the number of "this"/"these" and of "itself"/"themselves"
* `passive`: a verb form that its auxiliary does not take
* `filled gap`: an object where a relative clause has already taken it
* `polarity`: "ever" without the "no" that allows it, because "no" is not in the subject's own phrase

`text_of` gives the sentence, correct or with the mistake at one site:

    words = Syntax(Random(0), nouns_of("farm")).sentence()
    print(*text_of(words))
    print(*text_of(words, site=max(word.site for word in words)))
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from benchmarks.demo.language import ADJECTIVES, INTRANSITIVE, PLACES, PLURAL, VERB_FORMS


class Word(NamedTuple):
    """A word and its replacement in a mistake; words of the same `site` go wrong together."""

    text: str
    mistake: str = ""
    site: int = -1
    rule: str = ""


class Syntax:
    """Nested clauses about `nouns`; the words of `sentence()` carry every possible mistake."""

    def __init__(self, rng: Random, nouns: Sequence[str]):
        self.rng, self.nouns, self.sites = rng, nouns, 0

    def _site(self) -> int:
        self.sites += 1
        return self.sites

    def _agree(self, lemma: str, plural: bool, rule: str) -> Word:
        forms = (INTRANSITIVE.get(lemma) or VERB_FORMS[lemma][0], lemma) if lemma != "be" else ("is", "are")
        return Word(forms[plural], forms[not plural], self._site(), rule)

    def phrase(self, plural: bool, depth: int) -> list[Word]:
        """A noun phrase with up to `depth` nested modifiers."""
        noun = self.rng.choice(self.nouns)
        determiner = ("these" if plural else "this") if self.rng.random() < 0.15 else "the"
        head = [Word(determiner), Word(PLURAL[noun] if plural else noun)]
        if determiner != "the":
            head[0] = Word(determiner, "this" if plural else "these", self._site(), "determiner")
        return head + (self.modifier(plural, depth - 1) if depth > 0 else [])

    def modifier(self, plural: bool, depth: int) -> list[Word]:
        """`near the goats`, `that chases the goat`, `that the goat chases`, `that sleeps`."""
        shape = self.rng.choice(("place", "subject", "object", "object", "alone"))
        inner = self.phrase(self.rng.random() < (0.3 if plural else 0.7), depth if self.rng.random() < 0.5 else 0)
        if shape == "place":
            return [Word(self.rng.choice(PLACES)), *inner]
        if shape == "alone":
            return [Word("that"), self._agree(self.rng.choice(list(INTRANSITIVE)), plural, "clause agreement")]
        lemma = self.rng.choice(list(VERB_FORMS))
        if shape == "subject":
            return [Word("that"), self._agree(lemma, plural, "clause agreement"), *inner]
        inner_plural = inner[1].text in PLURAL.values()
        verb = self._agree(lemma, inner_plural, "clause agreement")
        noun = self.rng.choice(self.nouns)
        gap = Word(self.rng.choice(PLACES), f"the {noun} {self.rng.choice(PLACES)}", self._site(), "filled gap")
        tail = [gap, *self.phrase(self.rng.random() < 0.5, 0)] if self.rng.random() < 0.3 else []
        return [Word("that"), *inner, verb, *tail]

    def predicate(self, plural: bool, rule: str = "agreement") -> list[Word]:
        """The rest of the sentence: intransitive, transitive, reflexive, passive, negated, adjectival or two."""
        shape = self.rng.choice(("alone", "object", "reflexive", "reflexive", "passive", "adjective", "two", "not"))
        lemma = self.rng.choice(list(VERB_FORMS))
        if shape == "two":
            first = [self._agree(self.rng.choice(list(INTRANSITIVE)), plural, rule)]
            return [*first, Word("and"), *self.predicate(plural, rule)]
        if shape == "alone":
            return [self._agree(self.rng.choice(list(INTRANSITIVE)), plural, rule)]
        if shape == "adjective":
            return [self._agree("be", plural, rule), Word(self.rng.choice(ADJECTIVES))]
        if shape == "passive":
            participle = Word(VERB_FORMS[lemma][1], lemma, self._site(), "passive")
            return [self._agree("be", plural, rule), participle, Word("by"), *self.phrase(self.rng.random() < 0.5, 0)]
        if shape == "not":
            words = ("do", "does") if plural else ("does", "do")
            verb = Word(lemma, VERB_FORMS[lemma][0], self._site(), "passive")
            return [Word(*words, self._site(), rule), Word("not"), verb, *self.phrase(self.rng.random() < 0.5, 0)]
        if shape == "reflexive":
            words = ("themselves", "itself") if plural else ("itself", "themselves")
            return [self._agree(lemma, plural, rule), Word(*words, self._site(), "reflexive")]
        return [self._agree(lemma, plural, rule), *self.phrase(self.rng.random() < 0.5, 1)]

    def sentence(self, depth: int = 2) -> list[Word]:
        """A sentence whose subject has a modifier; one in six has `no … ever`, which only the subject's `no` allows."""
        self.sites = 0
        plural = self.rng.random() < 0.5
        subject = self.phrase(plural, depth)
        rest = self.predicate(plural)
        embedded = [i for i, word in enumerate(subject) if i > 0 and word.text == "the"]
        if subject[0].text == "the" and embedded and self.rng.random() < 1 / 6:
            site, where = self._site(), self.rng.choice(embedded)
            subject[0] = Word("no", "the", site, "polarity")
            subject[where] = Word("the", "no", site, "polarity")
            rest = [Word("ever"), *rest] if rest[0].text not in ("is", "are", "do", "does") else rest
            if rest[0].text != "ever":
                rest = [rest[0], Word("ever"), *[word for word in rest[1:] if word.text != "not"]]
        return subject + rest


def text_of(words: Sequence[Word], site: int = -1) -> list[str]:
    """The sentence as words; with `site`, that one mistake is in it."""
    parts = [word.mistake if site >= 0 and word.site == site else word.text for word in words]
    return " ".join(part for part in parts if part).split()
