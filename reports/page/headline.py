"""The answer in plain words: what was compared, what came out, and how sure that is.

    sentences = headline(found)

Every sentence is generated from numbers and names the number of seeds. What is decided is what the verdicts decide
(`reports.claims.decisions`): a difference that the test does not decide is called undecided, not equal.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports.claims.ablation import in_words
from reports.claims.contrasts import Contrasted
from reports.claims.decisions import tested
from reports.findings.findings import Findings
from reports.statistics.cells import MACRO, Cell
from reports.statistics.differences import Difference, is_rival
from reports.statistics.significance import ALPHA, smallest_p
from reports.words import counted, interval, listed, protocol_name, signed
from results.format.published_numbers import paper_macro
from results.format.records import Arm, Suite

ANSWERS = {"above": "yes", "below": "no, the opposite", "open": "undecided"}  # to a registered question
MANY = 8  # a sentence lists at most this many arms
RIVALS = {
    "above": "It is above {}.",
    "below": "It is below {}.",
    "open": "It is not separated from {}.",
    "waiting": "Nothing is decided yet against {}: registered seeds are still to run.",
    "failed": "Seeds that failed leave it open against {}: scored as the best constant answer they change the word, or "
    "cannot be scored.",
    "single": "Nothing is decided against {}: one seed in common gives a difference and no interval.",
    "none": "No seed has a score of both it and {} on every task.",
}
STEPS = {
    "above": "Compared with the step before, the score is higher after {}.",
    "below": "Compared with the step before, the score is lower after {}.",
    "open": "Not separated from the step before: {}.",
    "waiting": "Nothing is decided yet for {}: registered seeds are still to run.",
    "failed": "Seeds that failed leave open what comes of {}: scored as the best constant answer they change the word, "
    "or cannot be scored.",
    "single": "Nothing is decided for {}: one seed in common gives a change and no interval.",
    "none": "No seed has a score of both {} and the step before on every task.",
}


def headline(found: Findings) -> list[str]:
    """A few sentences, never empty."""
    suite = found.results.suite
    sentences, used = [_compared(suite)], []
    asked = found.contrasts if suite.asked_beforehand else ()
    if not found.leaders:
        sentences.append("No arm is a Theseus arm, so no difference from it is shown.")
    for leader in found.leaders.values():
        shown = () if asked else found.differences  # questions that were fixed beforehand take the rivals' place
        own = [d for d in shown if (d.reference, d.task) == (leader, found.cells.main_task)]
        rivals = [d for d in own if is_rival(suite, d.arm)]
        sentences += _leader(found, leader, rivals)
        used += rivals
    if asked:
        answers = [_answered(found, contrast) for contrast in asked]
        return [*sentences, *(said for said, _ in answers), *_caution(found, [d for _, d in answers])]
    changes = [step.change for step in found.ablation.steps if step.change is not None]
    sentences += _sorted_out(found, STEPS, [(d, suite.arm(d.reference).title) for d in changes])
    return sentences + _from_predecessor(found) + _swept(found) + _caution(found, [*used, *changes])


def _answered(found: Findings, asked: Contrasted) -> tuple[str, Difference]:
    """A registered question with its answer on the main score."""
    suite, decision = found.results.suite, asked.decisions[found.table.columns.index(found.main)]
    d, question = decision.difference, asked.contrast.question
    pair = f"{suite.arm(d.reference).title} minus {suite.arm(d.arm).title}"
    if d.mean is None:
        return f"{question} No seed has a score of both {suite.arm(d.reference).title} and {suite.arm(d.arm).title}.", d
    span = f", 95 % interval {interval(d.low, d.high)}" if d.low is not None else ""
    test = decision.why or (in_words(decision) if decision.p is None else tested(decision))
    answer = ANSWERS[decision.word].capitalize()
    return f"{question} {answer}: {pair} is {signed(d.mean)}{span} ({counted(d.n, 'seed')}; {test}).", d


def _leader(found: Findings, leader: str, rivals: Sequence[Difference]) -> list[str]:
    """The score of a Theseus arm and its differences from the other arms of its depth."""
    ours = found.cells.at(found.cells.main_task, leader)
    suite = found.results.suite
    title = suite.arm(leader).title
    if ours.summary.n == 0:
        where = "on every task" if ours.task == MACRO else "on the task"
        return [f"No seed has a score of {title} {where}, so there is no overall answer."]
    return [_level(found, ours, title), *_sorted_out(found, RIVALS, [(d, suite.arm(d.arm).title) for d in rivals])]


def _compared(suite: Suite) -> str:
    arms = [arm.title for arm in suite.arms if not arm.is_predecessor]
    tasks = [task.title for task in suite.tasks]
    where = f"{counted(len(tasks), 'synthetic task' if suite.synthetic else 'task')} ({listed(tasks)})"
    seeds = counted(len(suite.seeds), "seed")
    deep = suite.encoder.layers
    depth = f" from {deep} to {listed([str(n) for n in suite.depths], 'or')} layers" if deep and suite.depths else ""
    if not arms:
        return f"No successor is planned in this suite; the predecessor runs on {where}."
    ways = f"{counted(len(arms), 'way')} of shrinking an encoder{depth}"
    named = f": {listed(arms)}" if len(arms) <= MANY else ""
    return f"{ways} on {where}, planned with {seeds} each{named}."


def _level(found: Findings, ours: Cell, title: str) -> str:
    suite = found.results.suite
    what = f"{suite.statistic} of {counted(ours.summary.n, 'seed')}" if ours.summary.n > 1 else "one seed"
    value = ours.summary.centre(suite.statistic) or 0.0
    count = len(found.cells.macro_tasks)
    over = f"Averaged over the {count} tasks" if ours.task == MACRO else f"On {found.main.title}"
    sentence = f"{over}, {title} scores {value:.1f} ({what}, {protocol_name(suite.protocol)} checkpoint)"
    deep = next((arm for arm in suite.arms if arm.is_predecessor), None)
    top = found.cells.at(ours.task, deep.name).summary.centre(suite.statistic) if deep else None
    if deep is None or not top:
        return f"{sentence}."
    paper = _paper_retention(suite, ours, deep)
    return f"{sentence}, which is {100 * value / top:.1f} % of the predecessor's {top:.1f}{paper}."


def _paper_retention(suite: Suite, ours: Cell, deep: Arm) -> str:
    """The retention by the paper's numbers over the same tasks, where like is compared with like."""
    if suite.synthetic or not suite.comparable:
        return ""
    arm = suite.arm(ours.arm)
    tasks = [t.published for t in suite.tasks if (t.in_macro if ours.task == MACRO else t.name == ours.task)]
    above, below = (paper_macro(a.published, a.layers, tasks, table=suite.table) for a in (arm, deep))
    return f" (the paper's numbers give {100 * above / below:.1f} %)" if above and below else ""


def _sorted_out(found: Findings, shapes: dict[str, str], named: Sequence[tuple[Difference, str]]) -> list[str]:
    """One sentence per kind of decision, each difference named with its interval, p and number of seeds."""
    groups: dict[str, list[str]] = {key: [] for key in shapes}
    for d, name in named:
        decision = found.decisions[d.key]
        if d.mean is None:
            groups["none"].append(name)
        elif d.n == 1:
            groups["single"].append(f"{name} ({signed(d.mean)})")
        else:
            around = f"95 % interval {interval(d.low, d.high)}" if d.low is not None else "no interval"
            span = f"{signed(d.mean)}, {around}, {d.n} seeds"
            kind = "waiting" if decision.waits else "failed" if decision.why else decision.word
            test = "every seed gives the same difference" if decision.p is None else tested(decision)
            groups[kind].append(f"{name} ({span}, {test})")
    return [shape.format(listed(groups[key])) for key, shape in shapes.items() if groups[key]]


def _from_predecessor(found: Findings) -> list[str]:
    """The cost of each replaced module against the predecessor, for a suite beside table 5."""
    at = found.table.columns.index(found.main)
    changes = [(arm.title, row[at].ours) for arm, row in found.ablation.changes]
    named = [f"{title} {signed(d.mean)} ({counted(d.n, 'seed')})" for title, d in changes if d.mean is not None]
    return [f"The change from the predecessor, in points: {listed(named)}."] if named else []


def _swept(found: Findings) -> list[str]:
    """The lowest and highest point of each line of a sweep, with the caution that the highest is not a test result."""
    suite, cells, said = found.results.suite, found.cells, []
    for group, arms in found.ablation.lines.items():
        points = [(cells.at(cells.main_task, arm.name).summary.centre(suite.statistic), arm.x) for arm in arms]
        scored = sorted((value, x) for value, x in points if value is not None and x is not None)
        if len(scored) > 1:
            (low, at_low), (high, at_high) = scored[0], scored[-1]
            said.append(
                f"Along {suite.x_title or 'the swept setting'}, {group} runs from {low:.1f} at {at_low:g} to "
                f"{high:.1f} at {at_high:g} over {len(scored)} points; the highest of several is partly high by chance."
            )
    return said


def _caution(found: Findings, named: Sequence[Difference]) -> list[str]:
    """What the sentences above rest on, where seeds are few or failed, or all share one predecessor."""
    compared, said = [d for d in named if d.low is not None], []
    fewest = min((d.n for d in compared), default=0)
    if compared and smallest_p(fewest) > ALPHA:
        least = max(d.detectable or 0.0 for d in compared)
        few = f"{fewest} seeds are few: a true difference below about {least:.1f} points would often be missed"
        if any(found.decisions[d.key].on_normality for d in compared):
            few += ", and what is decided rests on normality, because the exact sign-flip test needs six seeds"
        if any(d.basis == "seeds" for d in compared):
            few += "; the intervals include only the spread between seeds, not the sampling of the dev set"
        said.append(f"{few}.")
    left_out = dict.fromkeys(found.decisions[d.key].left_out for d in named if found.decisions[d.key].left_out)
    if left_out:
        said.append(f"Every number above is about the seeds that did not fail. {'; '.join(left_out)}.")
    suite = found.results.suite
    if (
        compared
        and not suite.predecessor_per_seed
        and len(suite.seeds) > 1
        and any(arm.is_predecessor for arm in suite.arms)
    ):
        said.append("All seeds share one predecessor per task: another predecessor could give other differences.")
    return said
