"""The verdict of a suite on each published claim.

    found, absent = verdicts(Differences(estimator))
    found[0].word, found[0].parts[0].p

Order claims ("Theseus above PKD") are decided by the paired difference (`reports.claims.decisions`), after Holm over
their family: the tasks of a per-task claim, or all claims about the macro score that apply to the suite. They are
`reproduced` or `refuted` only where like is compared with like on all tasks of the claim. Everywhere else the same test
says `same direction here` or `opposite direction here`, with every reason (`matching.scope`). Claims that state a
number are in `reports.claims.ratios`. Seeds are averaged by their mean, because no exact test exists for the paper's
medians.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reports.claims.decisions import NONE, Decision, Key, decide, more_seeds, planned_runs
from reports.claims.matching import conditions, matched, scope
from reports.claims.ratios import parameters, ratio, speed_up
from reports.claims.verdict import LIKE, UNLIKE, Absent, Claim, Pair, Part, Tasks, Verdict, Word, no_interval
from reports.statistics.cells import MACRO, Cells
from reports.statistics.differences import Differences, practical_margin
from reports.statistics.significance import ALPHA, bootstrap_p, sign_flip, smallest_p
from reports.timing.matrix import PAPER_LAYERS
from reports.words import counted, signed
from results.format.published_numbers import claims


def verdicts(compared: Differences, known: Mapping[Key, Decision] = NONE) -> tuple[list[Verdict], list[Absent]]:
    """Every published claim, judged or absent, in the order of the claims file; `known` differences are decided in the
    suite's own family (`reports.claims.contrasts`)."""
    answers = [_verdict(compared, claim, known) for claim in claims()]
    found = [answer for answer in answers if isinstance(answer, Verdict)]
    return _over_macro(compared, found, known), [answer for answer in answers if isinstance(answer, Absent)]


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
        return speed_up(results, claim, pair)
    if claim["metric"] == "parameters":
        return parameters(results, claim, pair)
    tasks = _tasks(compared.cells, claim)
    if not tasks:
        has = "fewer than two macro tasks" if claim["tasks"] == ["Macro"] else "none of this claim's tasks"
        return Absent(claim, f"the suite has {has}")
    if claim["kind"] == "order":
        return _order(compared, claim, pair, tasks, known)
    return ratio(compared, claim, pair, tasks)


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
        return replace(part, sentence=decision.why or no_interval(seen.n))
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
