"""A small English-like language in which every sentence has a meaning: its words, and events, worded and compared.

Why a made-up language: the demo must run offline, its tasks need exact labels, and they must reward depth. The
sentences therefore hide their meaning behind structure. A verb agrees with a head several clauses away; nested negation
reverses an opinion, and a concession is overruled; actives, passives, clefts and converse verbs tell who does what to
whom ("the dog leads the goat" is "the goat trails the dog").

How: every sentence is built from a meaning, never the other way round. There are three kinds of sentence.

* Events, in this module. An `Event` has one agent, one verb and one patient, and is true or denied. `render` puts it
  into words, `relation` and `similarity` compare two meanings, `weaken` and `change` make one from another.
* Reviews, in `opinions.py`: a sentence that is composed for a given polarity.
* Nested clauses, in `syntax.py`: each word carries the form that a mistake would give it.

`documents.py` joins them into the two-sentence texts that `pretrain.py` reads, and `tasks.py` into labelled examples.
All randomness comes from the `random.Random` that is passed in, whose stream is the same on every Python version. The
order of the draws is therefore part of the language: another order changes every text.

    rng = Random(0)
    what = event(rng, nouns_of("farm"))
    print(*render(rng, what))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

PEOPLE = {
    "farm": ("farmer", "shepherd", "miller", "rider"),
    "harbour": ("sailor", "captain", "diver", "porter"),
    "palace": ("guard", "cook", "painter", "singer"),
    "school": ("teacher", "pupil", "clerk", "nurse"),
    "circus": ("clown", "juggler", "dancer", "wizard"),
    "station": ("pilot", "engineer", "doctor", "robot"),
}
ANIMALS = {
    "farm": ("dog", "goat", "horse", "hen"),
    "harbour": ("gull", "seal", "crab", "cat"),
    "palace": ("falcon", "hound", "pony", "swan"),
    "school": ("hamster", "rabbit", "parrot", "turtle"),
    "circus": ("lion", "monkey", "bear", "tiger"),
    "station": ("ape", "lizard", "beetle", "spider"),
}
TOPICS = tuple(PEOPLE)
PERSON = frozenset(noun for nouns in PEOPLE.values() for noun in nouns)
PLURAL = {noun: noun + "s" for nouns in (*PEOPLE.values(), *ANIMALS.values()) for noun in nouns} | {
    "person": "people",
    "animal": "animals",
    "creature": "creatures",
}

# lemma: third person singular, participle
VERB_FORMS = {
    line.split()[0]: (line.split()[1], line.split()[2])
    for line in """chase chases chased|pursue pursues pursued|feed feeds fed|nourish nourishes nourished
help helps helped|assist assists assisted|hinder hinders hindered|hamper hampers hampered
praise praises praised|commend commends commended|blame blames blamed|scold scolds scolded
greet greets greeted|welcome welcomes welcomed|ignore ignores ignored|shun shuns shunned
push pushes pushed|shove shoves shoved|pull pulls pulled|drag drags dragged
lead leads led|guide guides guided|follow follows followed|trail trails trailed
frighten frightens frightened|scare scares scared|fear fears feared|dread dreads dreaded
impress impresses impressed|dazzle dazzles dazzled|admire admires admired|revere reveres revered
employ employs employed|hire hires hired|serve serves served|obey obeys obeyed""".replace("\n", "|").split("|")
}
INTRANSITIVE = {"sleep": "sleeps", "sing": "sings", "wait": "waits", "rest": "rests", "laugh": "laughs", "run": "runs"}


class Concept(NamedTuple):
    """A verb's meaning: words for it, words for it with the roles exchanged, and its opposite."""

    words: tuple[str, str]
    converse: tuple[str, ...] = ()
    opposite: str | None = None


CONCEPTS = {
    "chase": Concept(("chase", "pursue")),
    "feed": Concept(("feed", "nourish")),
    "help": Concept(("help", "assist"), opposite="hinder"),
    "hinder": Concept(("hinder", "hamper"), opposite="help"),
    "praise": Concept(("praise", "commend"), opposite="blame"),
    "blame": Concept(("blame", "scold"), opposite="praise"),
    "greet": Concept(("greet", "welcome"), opposite="ignore"),
    "ignore": Concept(("ignore", "shun"), opposite="greet"),
    "push": Concept(("push", "shove"), opposite="pull"),
    "pull": Concept(("pull", "drag"), opposite="push"),
    "lead": Concept(("lead", "guide"), ("follow", "trail")),
    "frighten": Concept(("frighten", "scare"), ("fear", "dread")),
    "impress": Concept(("impress", "dazzle"), ("admire", "revere")),
    "employ": Concept(("employ", "hire"), ("serve", "obey")),
}
ADJECTIVES = ("big", "small", "old", "young", "tall", "short", "loud", "quiet")
PLACES = ("near", "behind", "beside")


@dataclass(frozen=True)
class Entity:
    """One participant: "the big dogs" is Entity("dog", True, "big")."""

    noun: str
    plural: bool
    adjective: str | None = None


@dataclass(frozen=True)
class Event:
    """Who does what to whom, and whether it is true (`positive`) or denied."""

    agent: Entity
    concept: str
    patient: Entity
    positive: bool = True


def kind(noun: str) -> str:
    """The hypernym of a noun: `person` or `animal`."""
    return "person" if noun in PERSON else "animal"


def nouns_of(topic: str) -> tuple[str, ...]:
    """The eight nouns of a topic. Raises `KeyError` for an unknown topic."""
    return PEOPLE[topic] + ANIMALS[topic]


def entity(rng: Random, nouns: Sequence[str], adjective: float = 0.4) -> Entity:
    """A random participant; `adjective` is the chance that it has one."""
    chosen = rng.choice(ADJECTIVES) if rng.random() < adjective else None
    return Entity(rng.choice(nouns), rng.random() < 0.5, chosen)


def event(rng: Random, nouns: Sequence[str]) -> Event:
    """A random event between two participants with different nouns."""
    first, second = rng.sample(list(nouns), 2)
    agent, patient = replace(entity(rng, nouns), noun=first), replace(entity(rng, nouns), noun=second)
    return Event(agent, rng.choice(list(CONCEPTS)), patient, rng.random() < 0.7)


# --- comparing meanings ----------------------------------------------------------------------------------------------


def refers(general: Entity, specific: Entity) -> bool:
    """Whether `general` ("the animal") can name `specific` ("the big dog")."""
    named = general.noun in (specific.noun, kind(specific.noun), "creature")
    return named and general.plural == specific.plural and general.adjective in (None, specific.adjective)


def relation(premise: Event, hypothesis: Event) -> int:
    """0 entailment, 1 neutral, 2 contradiction, for a hypothesis about the participants of the premise.

    Definites are anaphoric ("the dog" may be called "the animal"). A hypothesis about others, with the roles exchanged,
    or with an attribute that the premise does not give, is neutral.
    """
    if not (refers(hypothesis.agent, premise.agent) and refers(hypothesis.patient, premise.patient)):
        return 1
    if hypothesis.concept == premise.concept:
        return 0 if hypothesis.positive == premise.positive else 2
    if hypothesis.concept == CONCEPTS[premise.concept].opposite and premise.positive:
        return 2 if hypothesis.positive else 0
    return 1


def likeness(one: Entity, other: Entity) -> float:
    """0 to 1: how alike two participants are (noun 0.7, or 0.2 for its kind; number 0.1; adjective 0.2)."""
    noun = 0.7 if one.noun == other.noun else 0.2 if kind(one.noun) == kind(other.noun) else 0.0
    return noun + 0.1 * (one.plural == other.plural) + 0.2 * (one.adjective == other.adjective)


def similarity(one: Event, other: Event) -> float:
    """0 to 5: verb 2 (opposite 0.8), each role filler 1.5 by `likeness`; 1.5 less when only one is denied."""
    opposite = CONCEPTS[one.concept].opposite
    verb = 2.0 if one.concept == other.concept else 0.8 if opposite == other.concept else 0.0
    score = verb + 1.5 * likeness(one.agent, other.agent) + 1.5 * likeness(one.patient, other.patient)
    return max(0.0, score - 1.5 * (one.positive != other.positive))


# --- events in words -------------------------------------------------------------------------------------------------


def noun_phrase(rng: Random, who: Entity) -> list[str]:
    """`the`/`this`/`these`, adjective, noun."""
    determiner = ("these" if who.plural else "this") if rng.random() < 0.15 else "the"
    return [determiner, *([who.adjective] if who.adjective else []), PLURAL[who.noun] if who.plural else who.noun]


def finite(lemma: str, plural: bool) -> str:
    """The present-tense form: `chase` or `chases`."""
    return lemma if plural else VERB_FORMS[lemma][0]


def clause(rng: Random, what: Event, extra: Sequence[str] = ()) -> list[str]:
    """Word the event in one clause: active, passive or cleft, with any of its verbs; `extra` follows the subject."""
    concept = CONCEPTS[what.concept]
    lemma = rng.choice(concept.words + concept.converse)
    doer, target = (what.patient, what.agent) if lemma in concept.converse else (what.agent, what.patient)
    voice = rng.choice(("active", "active", "passive", "passive", "subject cleft", "object cleft"))
    subject, thing = noun_phrase(rng, doer), noun_phrase(rng, target)
    if voice == "passive":
        copula = ["are" if target.plural else "is", *([] if what.positive else ["not"])]
        return [*thing, *extra, *copula, VERB_FORMS[lemma][1], "by", *subject]
    denied = ["do" if doer.plural else "does", "not", lemma]
    verb = [finite(lemma, doer.plural)] if what.positive else denied
    if voice == "subject cleft":
        return ["it", "is", *subject, "that", *verb, *thing]
    if voice == "object cleft":
        return ["it", "is", *thing, "that", *subject, *verb]
    return [*subject, *extra, *verb, *thing]


def render(rng: Random, what: Event, nouns: Sequence[str] = (), wrap: float = 0.25) -> list[str]:
    """Word the event, perhaps wrapped ("it is false that …"); if `nouns` are given, one may be a bystander."""
    extra: list[str] = []
    if nouns and rng.random() < 0.4:
        extra = [rng.choice(PLACES), *noun_phrase(rng, entity(rng, nouns, 0.0))]
    if rng.random() >= wrap:
        return clause(rng, what, extra)
    if rng.random() < 0.4:
        return ["it", "is", "true", "that", *clause(rng, what, extra)]
    return ["it", "is", "false", "that", *clause(rng, replace(what, positive=not what.positive), extra)]


def weaken(rng: Random, what: Event) -> Event:
    """An event that follows from this one: adjectives dropped, nouns generalised, an opposite denied."""

    def less(who: Entity) -> Entity:
        noun = rng.choice((kind(who.noun), "creature")) if rng.random() < 0.2 else who.noun
        return replace(who, noun=noun, adjective=who.adjective if rng.random() < 0.5 else None)

    opposite = CONCEPTS[what.concept].opposite
    if what.positive and opposite and rng.random() < 0.4:
        what = replace(what, concept=opposite, positive=False)
    return replace(what, agent=less(what.agent), patient=less(what.patient))


def change(rng: Random, what: Event, nouns: Sequence[str]) -> Event:
    """Another event with nearly the same cast: roles exchanged, denied, another verb, or another participant."""
    how = rng.choice(("roles", "denied", "verb", "agent", "patient"))
    if how == "roles":
        return replace(what, agent=what.patient, patient=what.agent)
    if how == "denied":
        return replace(what, positive=not what.positive)
    if how == "verb":
        return replace(what, concept=rng.choice([c for c in CONCEPTS if c != what.concept]))
    free = [noun for noun in nouns if noun not in (what.agent.noun, what.patient.noun)]
    changed = replace(what.agent if how == "agent" else what.patient, noun=rng.choice(free))
    return replace(what, agent=changed) if how == "agent" else replace(what, patient=changed)
