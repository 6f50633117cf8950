"""Reviews: sentences that say something good or bad about an aspect of a show, composed for a given polarity.

Why: counting good and bad words must not be enough. So a denial ("not dull") or an attitude ("i doubt that …") reverses
a clause, attitudes stack, and the other clause overrules a concession ("although …", "…, but").

How: the polarity comes first, the words last. `opinion` chooses one clause or two, and which of them decides. `view`
chooses the attitudes and the denial of a clause, each of which may flip the polarity of the rest, and finally the
adjective, from `GOOD` or `BAD`. `verdict` is a short judgement that only pretraining texts contain.

    print(*opinion(Random(0), polarity=True))
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

ASPECTS = {"plot": False, "script": False, "ending": False, "music": False, "cast": False, "pace": False} | {
    "songs": True,
    "jokes": True,
    "actors": True,
    "scenes": True,
}
GOOD = ("great", "superb", "lovely", "charming", "brilliant", "delightful", "clever", "moving")
BAD = ("awful", "dull", "dreadful", "boring", "clumsy", "terrible", "silly", "tedious")
DEGREES = ("very", "quite", "truly", "rather")
DENIALS = ("not", "never", "hardly", "far from")
KEEPERS = ("i think that", "everybody agrees that", "it is right to say that", "i know that", "nobody denies that")
FLIPPERS = ("i doubt that", "nobody thinks that", "it is wrong to say that", "no critic believes that", "i deny that")
SHAPES = ("one", "one", "one", "and", "but", "although first", "although last")
# The sides of a pair differ in one word: if it is masked, only the polarity of the rest of the review gives it away.
VERDICTS = (
    ("it deserves praise", "it deserves contempt"),
    ("i left happy", "i left angry"),
    ("my friends enjoyed it", "my friends endured it"),
    ("you should watch it", "you should skip it"),
    ("i loved it", "i hated it"),
    ("it was a triumph", "it was a failure"),
)


def view(rng: Random, polarity: bool, depth: int, denial: float) -> list[str]:
    """One clause of opinion with `depth` attitudes ("i doubt that …") stacked on it; some of them reverse it."""
    if depth > 0:
        flips = rng.random() < 0.6
        attitude = rng.choice(FLIPPERS if flips else KEEPERS)
        return [*attitude.split(), *view(rng, polarity != flips, depth - 1, denial)]
    aspect = rng.choice(list(ASPECTS))
    denied = rng.random() < denial
    adjective = rng.choice(GOOD if polarity != denied else BAD)
    denier = rng.choice(DENIALS).split() if denied else []
    degree = [rng.choice(DEGREES)] if rng.random() < 0.3 else []
    return ["the", aspect, "are" if ASPECTS[aspect] else "is", *denier, *degree, adjective]


def opinion(
    rng: Random,
    polarity: bool,
    shapes: Sequence[str] = SHAPES,
    depths: Sequence[int] = (0, 0, 1),
    denial: float = 0.4,
) -> list[str]:
    """A review sentence of that polarity: one clause, or two; of two, the other overrules a concession.

    The shape comes from `shapes`, the number of attitudes on each clause from `depths`; `denial` is the chance that a
    clause says "not dull" instead of "charming".
    """
    shape = rng.choice(shapes)
    main = view(rng, polarity, rng.choice(depths), denial)
    if shape == "one":
        return main
    other = view(rng, polarity == (shape == "and"), rng.choice(depths), denial)
    if shape == "although first":
        return ["although", *other, ",", *main]
    if shape == "although last":
        return [*main, ",", "although", *other]
    return [*other, ",", shape, *main]


def verdict(rng: Random, polarity: bool) -> list[str]:
    """A short judgement of that polarity; only pretraining documents contain them."""
    return rng.choice(VERDICTS)[0 if polarity else 1].split()
