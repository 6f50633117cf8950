"""Claims that state a number: a ratio of scores, a speed-up, a ratio of parameters.

A ratio of scores is decided by equivalence within the margin that the claim states (TOST); a timing by its interval
over rounds; a count by itself. Each only where like is compared with like.
"""

from __future__ import annotations

from dataclasses import replace

from reports.claims.decisions import Decision, decide, planned_runs
from reports.claims.matching import conditions, scope
from reports.claims.verdict import Absent, Claim, Pair, Part, Tasks, Verdict, Word, no_interval
from reports.statistics.bootstrap import Estimate
from reports.statistics.differences import Differences
from reports.statistics.power import seeds_for_equivalence
from reports.statistics.significance import ALPHA, smallest_p
from reports.timing.matrix import plain
from results.format.records import Condition, Results
from results.format.untrusted import real, text


def ratio(compared: Differences, claim: Claim, pair: Pair, tasks: Tasks) -> Verdict | Absent:
    """Decide a ratio of two scores by equivalence within the claim's margin, where like is compared with like."""
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
        part = replace(part, sentence=part.sentence or no_interval(seen.n))
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


def speed_up(results: Results, claim: Claim, pair: Pair) -> Verdict | Absent:
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


def parameters(results: Results, claim: Claim, pair: Pair) -> Verdict | Absent:
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
