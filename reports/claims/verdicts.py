"""The verdict of a suite on each published claim.

    found, absent = verdicts(Differences(estimator))
    found[0].word, found[0].parts[0].p

Order claims ("Theseus above PKD") are decided by the paired difference (`reports.claims.decisions`), after Holm over
their family: the tasks of a per-task claim, or all claims about the macro score that apply to the suite. They are
`reproduced` or `refuted` only where like is compared with like on all tasks of the claim. Everywhere else the same test
says `same direction here` or `opposite direction here`, with every reason (`matching.scope`). Ratio claims are decided
by equivalence within the margin that the claim states (TOST), and only where like is compared with like. Seeds are
averaged by their mean, because no exact test exists for the paper's medians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from reports.claims.decisions import NONE, Decision, Key, decide, more_seeds, planned_runs
from reports.claims.matching import conditions, matched, scope
from reports.statistics.bootstrap import Estimate
from reports.statistics.cells import MACRO, Cells
from reports.statistics.differences import Differences, practical_margin
from reports.statistics.power import seeds_for_equivalence
from reports.statistics.significance import ALPHA, bootstrap_p, sign_flip, smallest_p
from reports.timing.matrix import PAPER_LAYERS, plain
from reports.words import counted, signed
from results.format.published_numbers import claims
from results.format.records import Arm, Condition, Results
from results.format.untrusted import real, text

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


def verdicts(compared: Differences, known: Mapping[Key, Decision] = NONE) -> tuple[list[Verdict], list[Absent]]:
    """Every published claim, judged or absent, in the order of the claims file; `known` differences are decided in the
    suite's own family (`reports.claims.contrasts`)."""
    found: list[Verdict] = []
    absent: list[Absent] = []
    for claim in claims():
        answer = _verdict(compared, claim, known)
        if isinstance(answer, Absent):
            absent.append(answer)
        else:
            found.append(answer)
    return _over_macro(compared, found, known), absent


def _verdict(compared: Differences, claim: Claim, known: Mapping[Key, Decision]) -> Verdict | Absent:
    results = compared.cells.results
    if claim["split"] == "test":
        return Absent(claim, "needs the test server")
    if results.suite.synthetic and claim["kind"] != "order":
        return Absent(claim, "a value, and the language here is made up")
    arms = []
    for name, layers in ((claim["arm"], claim.get("layers")), (claim["baseline"], claim.get("baseline_layers"))):
        arm = matched(results.suite, name, layers)
        if arm is None:
            depth = f" with {layers} of {PAPER_LAYERS} layers" if layers else ""
            return Absent(claim, f"no arm is {name}{depth}")
        arms.append(arm)
    pair = (arms[0], arms[1])
    if claim["metric"] == "speed-up":
        return _speed_up(results, claim, pair)
    if claim["metric"] == "parameters":
        return _parameters(results, claim, pair)
    tasks = _tasks(compared.cells, claim)
    if not tasks:
        has = "fewer than two macro tasks" if claim["tasks"] == ["Macro"] else "none of this claim's tasks"
        return Absent(claim, f"the suite has {has}")
    if claim["kind"] == "order":
        return _order(compared, claim, pair, tasks, known)
    return _ratio(compared, claim, pair, tasks)


def _tasks(cells: Cells, claim: Claim) -> Tasks:
    """The tasks of the claim that the suite has."""
    printed = claim.get("published")
    values = printed if isinstance(printed, Sequence) else [printed] * len(claim["tasks"])
    suite = cells.results.suite
    by_title = {t.published: t for t in suite.tasks if t.published and not suite.synthetic}
    found = []
    for title, value in zip(claim["tasks"], values, strict=True):
        if title == "Macro" and len(cells.macro_tasks) > 1:
            found.append((MACRO, "Macro", value))
        elif title in by_title:
            found.append((by_title[title].name, title, value))
    return found


def _order(
    compared: Differences, claim: Claim, pair: Pair, tasks: Tasks, known: Mapping[Key, Decision]
) -> Verdict | Absent:
    results = compared.cells.results
    keys = [(task, pair[0].name, pair[1].name) for task, _, _ in tasks]
    if not any(planned_runs(compared, key) for key in keys):
        return Absent(claim, "no run of these arms is planned")
    reasons = scope(results, claim, pair, len(tasks))
    parts = [
        _order_part(compared, title, None if results.suite.synthetic else printed, decision, not reasons)
        for (_, title, printed), decision in zip(tasks, decide(compared, keys, known), strict=True)
    ]
    return Verdict(claim, _overall(parts, bool(reasons)), reasons, tuple(parts), pair, conditions(results, pair))


def _order_part(compared: Differences, title: str, printed: float | None, decision: Decision, alike: bool) -> Part:
    """A decision on one task, or on the macro score, as a part of a claim."""
    seen, estimate = decision.difference, decision.difference.estimate
    drawn = compared.estimator.bootstrap_draws(*seen.key)
    part = Part(
        title,
        (LIKE if alike else UNLIKE)[decision.word],
        mean=seen.mean,
        low=seen.low,
        high=seen.high,
        n=seen.n,
        p=decision.p,
        raw_p=decision.raw_p,
        family=decision.family,
        basis=estimate.basis if estimate else "",
        sign_flip=sign_flip(seen.values) if seen.n > 1 else None,
        bootstrap=bootstrap_p(seen.mean, drawn) if drawn is not None and seen.mean is not None else None,
        published=printed,
        sentence=decision.why,
        decision=decision,
    )
    if estimate is None:
        return replace(part, sentence=decision.why or _no_interval(seen.n))
    part = replace(part, size=_size(compared, part, alike))
    if part.sentence or part.word != "undecided":
        return part
    if estimate.tied and smallest_p(seen.n) > ALPHA:
        said = "undecidable at this n: every seed gives the same difference, to within one example"
        return replace(part, sentence=said)
    return replace(part, more=more_seeds(decision))


def _size(compared: Differences, part: Part, alike: bool) -> str:
    """The size of a difference: against the margin that matters in practice, and against the paper's where alike."""
    decision = part.decision
    if decision is None or part.low is None or part.high is None or part.word == "undecided":
        return ""
    margin = practical_margin(compared.cells.results.suite, decision.difference.task)
    nearest = min(abs(part.low), abs(part.high))
    points = counted(round(margin), "point")
    if nearest >= margin:
        said = f"by {points} or more"
    elif max(abs(part.low), abs(part.high)) < margin:
        said = f"by less than {points}, too little to matter in practice"
    else:
        said = f"whether by {points}, which would matter in practice, is open"
    if not alike or part.published is None:
        return said
    inside = part.low <= part.published <= part.high
    return f"{said}; the paper's {signed(part.published)} lies {'inside' if inside else 'outside'} this interval"


def _over_macro(compared: Differences, found: Sequence[Verdict], known: Mapping[Key, Decision]) -> list[Verdict]:
    """Decide claims about the macro score as one family, because a reader takes the list as a whole."""
    macro = [v for v in found if v.claim["kind"] == "order" and v.claim["tasks"] == ["Macro"]]
    parts = [v.parts[0] for v in macro]
    decisions = decide(compared, [part.decision.difference.key for part in parts if part.decision], known)
    new = {}
    for v, part, decision in zip(macro, parts, decisions, strict=True):
        again = _order_part(compared, part.title, part.published, decision, not v.reasons)
        new[v.claim["id"]] = replace(v, word=again.word, parts=(again,))
    return [new.get(v.claim["id"], v) for v in found]


def judged(found: Sequence[Verdict]) -> dict[Key, Decision]:
    """The decisions behind the order claims by task and arms; of a pair in several claims, the first."""
    decisions: dict[Key, Decision] = {}
    for verdict in found:
        for part in verdict.parts:
            if part.decision is not None:
                decisions.setdefault(part.decision.difference.key, part.decision)
    return decisions


def _overall(parts: Sequence[Part], unlike: bool) -> Word:
    """A claim about every task fails if one part does, and holds if all parts do; it is about all tasks of the claim
    only where nothing is `unlike`."""
    words = {part.decision.word if part.decision else "open" for part in parts}
    waits = any(part.decision.waits for part in parts if part.decision)
    word = "open" if waits else "below" if "below" in words else "above" if words == {"above"} else "open"
    return (UNLIKE if unlike else LIKE)[word]


def _ratio(compared: Differences, claim: Claim, pair: Pair, tasks: Tasks) -> Verdict | Absent:
    task, title, _ = tasks[0]
    one, other = (arm.name for arm in pair)
    estimate = compared.estimator.ratio(task, one, other)
    seen = compared.of(task, one, other)
    if not planned_runs(compared, seen.key):
        return Absent(claim, "no run of these arms is planned")
    results = compared.cells.results
    reasons, decision = scope(results, claim, pair, len(tasks)), decide(compared, [seen.key])[0]
    part = Part(title, "undecided", n=seen.n, published=claim["published"], sentence=decision.why)
    if estimate is None:
        part = replace(part, sentence=part.sentence or _no_interval(seen.n))
    else:
        low, high = estimate.interval()
        part = replace(part, mean=estimate.mean, low=low, high=high, n=estimate.n, basis=estimate.basis)
        if not reasons:
            part = _equivalence(part, estimate, claim, decision)
    word: Word = "not comparable" if reasons else part.word
    given = conditions(results, pair)
    return Verdict(claim, word, reasons, (replace(part, word=word),), pair, given)


def _equivalence(part: Part, estimate: Estimate, claim: Claim, decision: Decision) -> Part:
    p, verdict = estimate.tost(claim["margin"], claim["published"])
    words: dict[str, Word] = {"equivalent": "reproduced", "different": "refuted", "undecided": "undecided"}
    if estimate.tied and smallest_p(estimate.n) > ALPHA:
        return replace(part, p=p, raw_p=p, sentence="undecidable at this n: every seed gives the same ratio")
    if part.sentence or decision.left_out:
        why = "open because of the seeds left out: a ratio of a constant answer says little"
        return replace(part, p=p, raw_p=p, sentence=part.sentence or why)
    off = estimate.mean - claim["published"]
    needed = seeds_for_equivalence(off, estimate.sd, claim["margin"], estimate.example_part)
    more = None if needed is None else max(1, needed - part.n)
    return replace(part, word=words[verdict], p=p, raw_p=p, more=more)


def _speed_up(results: Results, claim: Claim, pair: Pair) -> Verdict | Absent:
    """Decide each timing condition of the depth by itself; the claim is decided where all of them agree.

    Only eager execution counts: other runtimes speed up both sides, and the paper mentions none.
    """
    depths = (pair[0].layers, pair[1].layers)
    timed = [c for c in plain(results.speed) if (c.successor_layers, c.predecessor_layers) == depths]
    if not timed:
        return Absent(claim, "inference was not timed at this depth")
    parts, reasons = [_timed(condition, claim) for condition in timed], scope(results, claim, pair, 0)
    if reasons:
        return Verdict(claim, "not comparable", reasons, tuple(replace(p, word="not comparable") for p in parts), pair)
    words = {part.word for part in parts}
    return Verdict(claim, words.pop() if len(words) == 1 else "undecided", (), tuple(parts), pair)


def _timed(condition: Condition, claim: Claim) -> Part:
    """Compare the interval over rounds with the margin: it is wholly inside, wholly outside, or neither."""
    device = text(condition.device_name or condition.device, 40)
    threads, precision, batch, length = (
        text(value, 9) for value in (condition.threads, condition.precision, condition.batch_size, condition.length)
    )
    where = f"{device}, {threads} thread(s), {precision}, batch {batch}, length {length}"
    ratio, low, high = (real(value) for value in (condition.ratio, condition.ratio_low, condition.ratio_high))
    word: Word = "undecided"
    least, most = claim["published"] - claim["margin"], claim["published"] + claim["margin"]
    if low is not None and high is not None and condition.decided is True:
        word = "reproduced" if least <= low and high <= most else "refuted" if high < least or low > most else word
    rounds = real(condition.rounds)
    return Part(
        text(where, 100), word, ratio, low, high, int(rounds or 0), basis="rounds", published=claim["published"]
    )


def _parameters(results: Results, claim: Claim, pair: Pair) -> Verdict | Absent:
    """The ratio of counted parameters, with head and pooler as in result.json; the median over tasks."""
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
    reasons = scope(results, claim, pair, 0)
    word: Word = "reproduced" if abs(ratio - claim["published"]) <= claim["margin"] else "refuted"
    word = "not comparable" if reasons else word
    part = Part("Counted", word, ratio, ratio, ratio, 1, basis="a count", published=claim["published"])
    return Verdict(claim, word, reasons, (part,), pair)


def _no_interval(n: int) -> str:
    if n == 1:
        return "undecidable at this n: one seed has no spread"
    return "no seed has a score of both" if n == 0 else "every seed gives the same difference"
