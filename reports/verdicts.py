"""What became of each published claim in a suite: reproduced, refuted, undecided, or not comparable.

    found, absent = verdicts(results, joint)
    found[0].word, found[0].parts[0].evidence

Order claims ("Theseus above PKD") are decided by the paired difference, two-sided, after Holm over their
family: the tasks of a per-task claim, or all claims about the macro score that the suite can speak to.
Ratio claims are decided by equivalence within the margin that the claim states (TOST). A suite with
another encoder or depth cannot speak of values, but the direction of an order claim is tested there too
and labelled so. Seeds are averaged by their mean: no exact test exists for the paper's medians.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from reports.bootstrap import Estimate
from reports.drawing import signed
from reports.intervals import Joint
from reports.matching import LAYERS, matched, scope
from reports.power import seeds_for_equivalence, seeds_needed
from reports.published import claims
from reports.results import Arm, Results
from reports.significance import (
    ALPHA,
    bootstrap_p,
    decidable,
    holm,
    sign_flip,
)
from reports.speed_matrix import plain
from reports.statistics import MACRO, difference, macro_tasks
from reports.untrusted import real, text

Word = Literal["reproduced", "refuted", "undecided", "not comparable"]
Claim = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One thing decided: a task, the macro, a timing condition. Numbers are in points, ratios as ratios.

    `p` is after Holm over `family`; `sign_flip` needs no normality and is None below two seeds;
    `sentence` says why nothing can be, or how many more seeds would decide it.
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
    sign_flip_least: float | None = None
    bootstrap: float | None = None
    published: float | None = None
    sentence: str = ""
    more: int | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Verdict:
    """A claim and what the suite says of it. `label` is empty where like is compared with like."""

    claim: Claim
    word: Word
    label: str
    parts: tuple[Part, ...]
    arms: tuple[Arm, ...] = field(default=())

    @property
    def counts(self) -> str:
        """`5 reproduced, 3 undecided` over the parts of a per-task claim."""
        words: tuple[Word, ...] = ("reproduced", "refuted", "undecided")
        tally = [(sum(part.word == word for part in self.parts), word) for word in words]
        return ", ".join(f"{count} {word}" for count, word in tally if count)


@dataclass(frozen=True)
class Absent:
    """A claim that the suite says nothing about, and why."""

    claim: Claim
    why: str


def verdicts(results: Results, joint: Joint) -> tuple[list[Verdict], list[Absent]]:
    """Every published claim: decided as far as it can be, or absent, in the order of the claims file."""
    found: list[Verdict] = []
    absent: list[Absent] = []
    for claim in claims():
        answer = _verdict(results, joint, claim)
        if isinstance(answer, Absent):
            absent.append(answer)
        else:
            found.append(answer)
    return _over_macro(found), absent


def _verdict(results: Results, joint: Joint, claim: Claim) -> Verdict | Absent:
    if claim["split"] == "test":
        return Absent(claim, "needs the test server")
    if results.suite.synthetic and claim["kind"] != "order":
        return Absent(claim, "a value, and the language here is made up")
    arms = [
        matched(results.suite, claim[name], claim.get(layers))
        for name, layers in (("arm", "layers"), ("baseline", "baseline_layers"))
    ]
    if arms[0] is None or arms[1] is None:
        lacking = claim["arm"] if arms[0] is None else claim["baseline"]
        depth = claim.get("layers" if arms[0] is None else "baseline_layers")
        return Absent(claim, f"no arm is {lacking}" + (f" with {depth} of {LAYERS} layers" if depth else ""))
    pair = (arms[0], arms[1])
    if claim["metric"] == "speed-up":
        return _speed_up(results, claim, pair)
    if claim["metric"] == "parameters":
        return _parameters(results, claim, pair)
    tasks = _tasks(results, claim)
    if not tasks:
        wanted = "two tasks or more in the macro" if claim["tasks"] == ["Macro"] else "one of its tasks"
        return Absent(claim, f"the suite has not {wanted}")
    if claim["kind"] == "order":
        return _order(results, joint, claim, pair, tasks)
    return _ratio(results, joint, claim, pair, tasks)


def _tasks(results: Results, claim: Claim) -> list[tuple[str, str, float | None]]:
    """Task name, title and printed number for each task of the claim that the suite has."""
    printed = claim.get("published")
    values = printed if isinstance(printed, Sequence) else [printed] * len(claim["tasks"])
    by_title = {t.published: t for t in results.suite.tasks if t.published and not results.suite.synthetic}
    found = []
    for title, value in zip(claim["tasks"], values, strict=True):
        if title == "Macro" and len(macro_tasks(results)) > 1:
            found.append((MACRO, "Macro", value))
        elif title in by_title:
            found.append((by_title[title].name, title, value))
    return found


def _order(
    results: Results, joint: Joint, claim: Claim, pair: tuple[Arm, Arm], tasks: Sequence[tuple[str, str, float | None]]
) -> Verdict | Absent:
    made_up = results.suite.synthetic  # then the paper has nothing to set beside it
    parts = [
        replace(order_part(results, joint, task, title, pair), published=None if made_up else value)
        for task, title, value in tasks
    ]
    if all(part.n == 0 for part in parts):
        return Absent(claim, "no seed has a score of both arms yet")
    parts, reason = with_holm(parts), scope(results.suite, claim, len(tasks))
    label = reason if not reason or reason.startswith("on ") else f"directional: {reason}"
    return Verdict(claim, overall(parts), label, tuple(parts), pair)


def order_part(results: Results, joint: Joint, task: str, title: str, pair: tuple[Arm, Arm]) -> Part:
    """The paired difference of two arms before Holm: `raw_p` and everything that does not depend on the family."""
    one, other = (arm.name for arm in pair)
    seen = difference(results, task, one, other, joint.protocol)
    estimate = joint.difference(task, one, other)
    flip = sign_flip(seen.values) if seen.n > 1 else None
    drawn = joint.bootstrap_draws(task, one, other)
    part = Part(
        title, "undecided", mean=seen.mean, n=seen.n, basis=estimate.basis if estimate else "",
        sign_flip=flip.p if flip else None, sign_flip_least=flip.smallest if flip else None,
        bootstrap=bootstrap_p(seen.mean, drawn) if drawn is not None and seen.mean is not None else None,
    )  # fmt: skip
    if estimate is None:
        return replace(part, sentence=_no_interval(seen.n))
    low, high = estimate.interval()
    return replace(part, low=low, high=high, raw_p=estimate.p(), estimate=estimate)


def with_holm(parts: Sequence[Part]) -> list[Part]:
    """Parts decided after Holm over those of them that have a p value; a part without one stays undecided."""
    tested = [i for i, part in enumerate(parts) if part.raw_p is not None]
    adjusted = dict(zip(tested, holm([parts[i].raw_p or 0.0 for i in tested]), strict=True))
    return [_decided(part, adjusted[i], len(tested)) if i in adjusted else part for i, part in enumerate(parts)]


def _decided(part: Part, p: float, family: int) -> Part:
    estimate = part.estimate
    if estimate is None:
        return part
    word: Word = "undecided"
    if p <= ALPHA:
        word = "reproduced" if estimate.mean > 0 else "refuted"
    needed = seeds_needed(estimate.mean, estimate.sd, estimate.example_part, tests=family)
    more = None if needed is None else max(1, needed - estimate.n)
    return replace(part, word=word, p=p, family=family, more=more)


def _over_macro(found: Sequence[Verdict]) -> list[Verdict]:
    """Claims about the macro score are one family, since a reader takes the list as a whole."""
    macro = [v for v in found if v.claim["kind"] == "order" and v.claim["tasks"] == ["Macro"]]
    parts = iter(with_holm([v.parts[0] for v in macro]))
    new = {v.claim["id"]: replace(v, word=part.word, parts=(part,)) for v, part in zip(macro, parts, strict=True)}
    return [new.get(v.claim["id"], v) for v in found]


def overall(parts: Sequence[Part]) -> Word:
    """Of a claim about every task: refuted by one, reproduced by all."""
    words = [part.word for part in parts]
    if "refuted" in words:
        return "refuted"
    return "reproduced" if all(word == "reproduced" for word in words) else "undecided"


def _ratio(
    results: Results, joint: Joint, claim: Claim, pair: tuple[Arm, Arm], tasks: Sequence[tuple[str, str, float | None]]
) -> Verdict | Absent:
    task, title, _ = tasks[0]
    estimate = joint.ratio(task, pair[0].name, pair[1].name)
    seen = difference(results, task, pair[0].name, pair[1].name, joint.protocol)
    if seen.n == 0:
        return Absent(claim, "no seed has a score of both arms yet")
    label = scope(results.suite, claim, len(tasks))
    part = Part(title, "undecided", n=seen.n, published=claim["published"])
    if estimate is None:
        part = replace(part, sentence=_no_interval(seen.n))
    else:
        low, high = estimate.interval()
        part = replace(part, mean=estimate.mean, low=low, high=high, n=estimate.n, basis=estimate.basis)
        if not label:
            part = _equivalence(part, estimate, claim)
    word: Word = "not comparable" if label else part.word
    return Verdict(claim, word, label, (replace(part, word=word),), pair)


def _equivalence(part: Part, estimate: Estimate, claim: Claim) -> Part:
    found = estimate.tost(claim["margin"], claim["published"])
    words: dict[str, Word] = {"equivalent": "reproduced", "different": "refuted", "undecided": "undecided"}
    off = estimate.mean - claim["published"]
    needed = seeds_for_equivalence(off, estimate.sd, claim["margin"], estimate.example_part)
    part = replace(part, word=words[found.verdict], p=found.p, raw_p=found.p)
    return replace(part, more=None if needed is None else max(1, needed - part.n))


def _speed_up(results: Results, claim: Claim, pair: tuple[Arm, Arm]) -> Verdict | Absent:
    """Each timing condition of the depth decides by itself; the claim is decided where all of them agree.

    Only eager execution counts: other runtimes speed up both sides, and the paper speaks of none.
    """
    suite = results.suite
    depths = (pair[0].layers, pair[1].layers)
    parts = []
    for condition in plain(results.speed):
        if (condition.get("successor_layers"), condition.get("predecessor_layers")) == depths:
            parts.append(_timed(condition, claim))
    if not parts:
        return Absent(claim, "inference was not timed at this depth")
    label = scope(suite, claim, 0)
    if label:
        return Verdict(claim, "not comparable", label, tuple(replace(p, word="not comparable") for p in parts), pair)
    words = {part.word for part in parts}
    return Verdict(claim, words.pop() if len(words) == 1 else "undecided", "", tuple(parts), pair)


def _timed(condition: Mapping[str, Any], claim: Claim) -> Part:
    """The interval over rounds, held against the margin: wholly inside, wholly outside, or neither."""
    device = text(condition.get("device_name") or condition.get("device"), 40)
    threads, precision, batch, length = (
        text(condition.get(key), 9) for key in ("threads", "precision", "batch_size", "length")
    )
    where = f"{device}, {threads} thread(s), {precision}, batch {batch}, length {length}"
    ratio, low, high = (real(condition.get(key)) for key in ("ratio", "ratio_low", "ratio_high"))
    word: Word = "undecided"
    least, most = claim["published"] - claim["margin"], claim["published"] + claim["margin"]
    if low is not None and high is not None and condition.get("decided") is True:
        word = "reproduced" if least <= low and high <= most else "refuted" if high < least or low > most else word
    rounds = real(condition.get("rounds"))
    return Part(
        text(where, 100), word, ratio, low, high, int(rounds or 0), basis="rounds", published=claim["published"]
    )


def _parameters(results: Results, claim: Claim, pair: tuple[Arm, Arm]) -> Verdict | Absent:
    """A count, not a sample: with the head and the pooler, as result.json has it, median over tasks."""
    sizes = []
    for task in results.suite.tasks:
        counted = [
            next((run.parameters for run in results.of(task.name, arm.name) if run.parameters), None) for arm in pair
        ]
        if counted[0] and counted[1]:
            sizes.append(counted[0] / counted[1])
    if not sizes:
        return Absent(claim, "no run states its parameters")
    ratio = sorted(sizes)[len(sizes) // 2]
    label = scope(results.suite, claim, 0)
    word: Word = "reproduced" if abs(ratio - claim["published"]) <= claim["margin"] else "refuted"
    word = "not comparable" if label else word
    part = Part("Counted", word, ratio, ratio, ratio, 1, basis="a count", published=claim["published"])
    return Verdict(claim, word, label, (part,), pair)


def _no_interval(n: int) -> str:
    if n == 1:
        return "undecidable at this n: one seed has no spread"
    return "no seed has a score of both" if n == 0 else "every seed gives the same difference"


def flip_words(part: Part) -> str:
    """The sign-flip test in words: its p, or that this many seeds cannot decide it."""
    if part.sign_flip is None or part.sign_flip_least is None:
        return ""
    said = decidable(part.n)
    return f"{part.sign_flip:.3g}" if said.possible else f"undecidable at this n (least {said.smallest:.3g})"


def more_words(part: Part) -> str:
    """What would decide an undecided part."""
    if part.word != "undecided":
        return ""
    if part.sentence or part.raw_p is None:
        return part.sentence
    if part.more is None:
        return "not by seeds alone: too near the limit" + ("" if part.basis == "seeds" else " for this dev set")
    return f"about {part.more} more seed{'' if part.more == 1 else 's'} at the spread seen"


def shown(value: float | None, claim: Claim) -> str:
    """A difference in points with its sign, what is kept in per cent, or a ratio."""
    if value is None:
        return ""
    if claim["kind"] == "order":
        return signed(value)
    return f"{100 * value:.1f} %" if claim["metric"] == "score" else f"{value:.2f}×"
