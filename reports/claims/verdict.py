"""A claim's verdict, and its parts: what `reports.claims.verdicts` finds and the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reports.claims.decisions import Decision
from results.format.records import Arm

Word = Literal["reproduced", "refuted", "same direction here", "opposite direction here", "undecided", "not comparable"]
LIKE: Mapping[str, Word] = {"above": "reproduced", "below": "refuted", "open": "undecided"}
UNLIKE: Mapping[str, Word] = {
    "above": "same direction here", "below": "opposite direction here", "open": "undecided",
}  # fmt: skip
Claim = Mapping[str, Any]
Tasks = Sequence[tuple[str, str, float | None]]  # name, title and printed number
Pair = tuple[Arm, Arm]


@dataclass(frozen=True)
class Part:
    """One decision: on a task, the macro or a timing condition. Differences are in points.

    `p` is after Holm over `family`. `sign_flip` needs no normality and is None below two seeds. `sentence` says why
    nothing can be decided; `more` is the number of additional seeds that would decide. `size` says how large a decided
    difference is, against the margin that matters and the paper's number. `decision` is that of an order claim.
    """

    title: str
    word: Word
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    p: float | None = None
    raw_p: float | None = None
    family: int = 1
    basis: str = ""
    sign_flip: float | None = None
    bootstrap: float | None = None
    published: float | None = None
    sentence: str = ""
    more: int | None = None
    size: str = ""
    decision: Decision | None = None


@dataclass(frozen=True)
class Verdict:
    """A claim and the suite's verdict on it. `reasons` say why like is not compared with like, `given` what the verdict
    is conditional on."""

    claim: Claim
    word: Word
    reasons: tuple[str, ...]
    parts: tuple[Part, ...]
    arms: Pair
    given: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Reasons and conditions in one line; empty where there are none."""
        return "; ".join((*self.reasons, *self.given))

    @property
    def counts(self) -> str:
        """`5 reproduced, 3 undecided` over the parts of a per-task claim."""
        words: tuple[Word, ...] = (*LIKE.values(), *UNLIKE.values())
        tally = [(sum(part.word == word for part in self.parts), word) for word in dict.fromkeys(words)]
        return ", ".join(f"{count} {word}" for count, word in tally if count)


@dataclass(frozen=True)
class Absent:
    """A claim that the suite cannot judge, and the reason."""

    claim: Claim
    why: str


def no_interval(n: int) -> str:
    """Why `n` seeds give no interval."""
    if n == 1:
        return "undecidable at this n: one seed has no spread"
    return "no seed has a score of both" if n == 0 else "every seed gives the same difference"
