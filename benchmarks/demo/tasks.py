"""The demo's four tasks, shaped like CoLA, SST-2, STS-B and MNLI, in the demo's own language.

    from benchmarks.demo import tasks
    frames = tasks.load("syn-mnli")             # {"train": …, "validation_matched": …, "validation_mismatched": …}

| task | columns | label, a rule of the language |
| --- | --- | --- |
| `syn-cola` | sentence | 1 if correct, 0 with exactly one mistake |
| `syn-sst2` | sentence | the polarity for which it was composed, with denials, attitudes and concessions |
| `syn-stsb` | sentence1, sentence2 | `language.similarity` of the two events, 0 to 5 |
| `syn-mnli` | premise, hypothesis | `language.relation`: 0 entailment, 1 neutral, 2 contradiction |

`syn-mnli` trains on five topics. Its mismatched split is about the sixth, whose nouns occur in the pretraining texts
but in no task's training data. Labels have no noise, and no example is in two splits. The frames are the same on every
machine and Python version, because the only randomness is `random.Random` with a fixed seed per task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from benchmarks.demo import language, opinions
from benchmarks.demo.language import Event
from benchmarks.demo.syntax import Syntax, text_of

if TYPE_CHECKING:
    import pandas as pd

KNOWN_TOPICS = language.TOPICS[:-1]
NEW_TOPIC = language.TOPICS[-1]
# syn-sst2 has fewer attitudes and denials than the pretraining texts, but more concessions.
SHAPES = ("one", "one", "and", "but", "although first", "although last")
DEPTHS = (0, 0, 0, 0, 0, 1)
DENIAL = 0.15
Example = tuple[tuple[str, ...], float]


def sentence(words: list[str]) -> str:
    """The words as one string with a full stop, as in pretraining."""
    return " ".join(words) + " ."


def acceptability(rng: Random, topic: str) -> Example:
    """A nested sentence, correct (60 %) or with one mistake; its rule is drawn evenly from those that apply."""
    words = Syntax(rng, language.nouns_of(topic)).sentence()
    label = int(rng.random() < 0.6)
    if label:
        return (sentence(text_of(words)),), label
    rule = rng.choice(sorted({word.rule for word in words if word.rule}))
    site = rng.choice(sorted({word.site for word in words if word.rule == rule}))
    return (sentence(text_of(words, site)),), label


def polarity(rng: Random, _topic: str) -> Example:
    label = rng.random() < 0.5
    return (sentence(opinions.opinion(rng, label, SHAPES, DEPTHS, DENIAL)),), int(label)


def likeness(rng: Random, topic: str) -> Example:
    """Two events: the second is a new one (40 %), or the first after none to three changes."""
    nouns = language.nouns_of(topic)
    first = second = language.event(rng, nouns)
    if rng.random() < 0.4:
        second = language.event(rng, nouns)
    else:
        for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
            second = language.change(rng, second, nouns)
    pair = sentence(language.render(rng, first)), sentence(language.render(rng, second))
    return pair, round(language.similarity(first, second), 2)


def hypothesis(rng: Random, premise: Event, nouns: tuple[str, ...]) -> Event:
    """An event with the premise's participants: a consequence, the denial of one, or one with something changed."""
    how = rng.random()
    said = language.weaken(rng, premise)
    if how < 0.4:
        return said
    if how < 0.7:
        return replace(said, positive=not said.positive)
    other = language.change(rng, said, nouns)
    if how < 0.9:
        return replace(other, positive=rng.random() < 0.5)
    return replace(said, agent=replace(said.agent, adjective=rng.choice(language.ADJECTIVES)))


def inference(rng: Random, topic: str) -> Example:
    """A premise and a hypothesis; the three labels occur equally often."""
    nouns = language.nouns_of(topic)
    wanted = rng.randrange(3)
    premise = replace(language.event(rng, nouns), positive=rng.random() < 0.5)
    said = hypothesis(rng, premise, nouns)
    while language.relation(premise, said) != wanted:
        said = hypothesis(rng, premise, nouns)
    return (sentence(language.render(rng, premise, nouns)), sentence(language.render(rng, said))), wanted


# name: seed, columns, maker, {split: size}
TASKS: dict[str, tuple[int, tuple[str, ...], Callable[[Random, str], Example], dict[str, int]]] = {
    "syn-cola": (101, ("sentence",), acceptability, {"train": 1_670, "validation": 800}),
    "syn-sst2": (102, ("sentence",), polarity, {"train": 1_670, "validation": 800}),
    "syn-stsb": (103, ("sentence1", "sentence2"), likeness, {"train": 1_424, "validation": 600}),
    "syn-mnli": (
        104,
        ("premise", "hypothesis"),
        inference,
        {"train": 1_424, "validation_matched": 500, "validation_mismatched": 500},
    ),
}


def load(name: str) -> dict[str, pd.DataFrame]:
    """The splits of a task by name; each frame has the text columns, `label` and `idx` (its row number).

    Raises KeyError, naming the four tasks, for any other name.
    """
    import pandas as pd  # a third of a second that other suites need not wait for

    if name not in TASKS:
        raise KeyError(f"no demo task {name!r}; the tasks are {', '.join(TASKS)}")
    seed, columns, make, splits = TASKS[name]
    rng, seen, frames = Random(seed), set[tuple[str, ...]](), {}
    for split, size in splits.items():
        topics = (NEW_TOPIC,) if split.endswith("mismatched") else KNOWN_TOPICS
        rows: list[Example] = []
        while len(rows) < size:
            example = make(rng, rng.choice(topics))
            if example[0] not in seen:
                seen.add(example[0])
                rows.append(example)
        frame = pd.DataFrame([texts for texts, _ in rows], columns=list(columns))
        labels = pd.Series([label for _, label in rows])
        frame["label"] = labels if name == "syn-stsb" else labels.astype("int64")
        frame["idx"] = range(size)
        frames[split] = frame
    return frames
