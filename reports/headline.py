"""The answer in plain words: what was compared, what came out, and how sure that is.

    sentences = headline(results, table, differences)

Every sentence is generated from numbers and says how many seeds it rests on. An interval that holds
zero is called undecided, not equal, and one seed decides nothing.
"""

from collections.abc import Sequence

from reports.drawing import signed
from reports.intervals import Joint
from reports.published import paper_macro
from reports.results import Arm, Results
from reports.statistics import MACRO, Cell, Difference, cell, depth_leaders, difference, macro_tasks, main_task
from reports.steps import lines, steps
from reports.tables import protocol_name

FEW = 6  # a two-sided sign-flip test cannot reach 5 % below six seeds: 2 / 2**5 = 0.0625
MANY = 8  # arms that a sentence can still list


def headline(results: Results, differences: Sequence[Difference], joint: Joint | None = None) -> list[str]:
    """A few sentences, never empty; `differences` are those of `statistics.comparisons`."""
    sentences, used = [_compared(results)], []
    leaders = depth_leaders(results)
    if not leaders:
        sentences.append("No arm is a Theseus arm, so no difference from it is shown.")
    for leader in leaders.values():
        rivals = [d for d in differences if d.reference == leader and _is_rival(results, d)]
        sentences += _leader(results, leader, rivals)
        used += rivals
    changes = [step.change for step in steps(results, joint) if step.change is not None]
    sentences += _stepwise(results, changes) + _from_predecessor(results) + _swept(results)
    return sentences + _caution([*used, *changes])


def _is_rival(results: Results, d: Difference) -> bool:
    """A difference that the answer names: the main column, no predecessor, no step, no point of a sweep."""
    arm = results.suite.arm(d.arm)
    swept = arm.group is not None and arm.x is not None
    return d.task == main_task(results) and not (arm.is_predecessor or swept or arm.name in results.suite.steps)


def _leader(results: Results, leader: str, rivals: Sequence[Difference]) -> list[str]:
    """What a Theseus arm scores and how it stands against the others of its depth."""
    task = main_task(results)
    ours = cell(results, task, leader, results.suite.protocol)
    title = results.suite.arm(leader).title
    if ours.summary.n == 0:
        where = "on every task" if task == MACRO else "on the task"
        return [f"No seed has a score of {title} {where} yet, so there is no overall answer."]
    return [_level(results, ours, title), *_against(results, rivals)]


def listed(parts: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; three or more with semicolons where a part has a comma of its own."""
    if len(parts) > 2 and any("," in part for part in parts):
        return f"{'; '.join(parts[:-1])}; {last} {parts[-1]}"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def counted(n: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _compared(results: Results) -> str:
    suite = results.suite
    arms = [arm.title for arm in suite.arms if not arm.is_predecessor]
    tasks = [task.title for task in suite.tasks]
    where = f"{counted(len(tasks), 'synthetic task' if suite.synthetic else 'task')} ({listed(tasks)})"
    seeds = counted(len(suite.seeds), "seed")
    deep = suite.encoder.get("layers")
    depth = f" from {deep} to {listed([str(n) for n in suite.depths], 'or')} layers" if deep and suite.depths else ""
    if not arms:
        return f"No successor is planned in this suite; the predecessor runs on {where}."
    ways = f"{counted(len(arms), 'way')} of shrinking an encoder{depth}"
    named = f": {listed(arms)}" if len(arms) <= MANY else ""
    return f"{ways} on {where}, planned with {seeds} each{named}."


def _level(results: Results, ours: Cell, title: str) -> str:
    suite = results.suite
    what = f"{suite.statistic} of {counted(ours.summary.n, 'seed')}" if ours.summary.n > 1 else "one seed"
    value = ours.summary.centre(suite.statistic) or 0.0
    count = len(macro_tasks(results))
    over = f"Averaged over the {count} tasks" if ours.task == MACRO else f"On {_task_title(results, ours.task)}"
    sentence = f"{over}, {title} scores {value:.1f} ({what}, {protocol_name(suite.protocol)} checkpoint)"
    deep = next((arm for arm in suite.arms if arm.is_predecessor), None)
    top = cell(results, ours.task, deep.name, suite.protocol).summary.centre(suite.statistic) if deep else None
    if deep is None or not top:
        return f"{sentence}."
    paper = _paper_retention(results, ours, deep)
    return f"{sentence}, which is {100 * value / top:.1f} % of the predecessor's {top:.1f}{paper}."


def _paper_retention(results: Results, ours: Cell, deep: Arm) -> str:
    """What the paper's numbers give over the same tasks, where like is compared with like."""
    suite = results.suite
    if suite.synthetic or not suite.comparable:
        return ""
    arm = suite.arm(ours.arm)
    tasks = [t.published for t in suite.tasks if (t.in_macro if ours.task == MACRO else t.name == ours.task)]
    above, below = (paper_macro(a.published, a.layers, tasks, table=suite.table) for a in (arm, deep))
    return f" (the paper's numbers give {100 * above / below:.1f} %)" if above and below else ""


def _against(results: Results, rivals: Sequence[Difference]) -> list[str]:
    shapes = {
        "above": "It is above {}.",
        "below": "It is below {}.",
        "open": "It is not separated from {}: the interval includes zero.",
        "flat": "Nothing is decided against {}: every seed gives the same difference, so the interval has no width.",
        "single": "Nothing is decided against {}: one seed in common gives a difference and no interval.",
        "none": "No seed has yet a score of both it and {} on every task.",
    }
    return _sorted_out(shapes, [(d, results.suite.arm(d.arm).title) for d in rivals])


def _stepwise(results: Results, changes: Sequence[Difference]) -> list[str]:
    """Which single changes moved the score, in an attribution suite."""
    shapes = {
        "above": "Against the step before it, the score is above after {}.",
        "below": "Against the step before it, the score is below after {}.",
        "open": "Not separated from the step before: {}; the interval includes zero.",
        "flat": "Nothing is decided for {}: every seed gives the same change, so the interval has no width.",
        "single": "Nothing is decided for {}: one seed in common gives a change and no interval.",
        "none": "No seed has yet a score of both {} and the step before on every task.",
    }
    return _sorted_out(shapes, [(d, results.suite.arm(d.reference).title) for d in changes])


def _sorted_out(shapes: dict[str, str], found: Sequence[tuple[Difference, str]]) -> list[str]:
    """One sentence per verdict, each difference named with its interval and its number of seeds."""
    groups: dict[str, list[str]] = {key: [] for key in shapes}
    for d, name in found:
        if d.mean is None:
            groups["none"].append(name)
        elif d.low is None or d.high is None:
            groups["single"].append(f"{name} ({signed(d.mean)})")
        else:
            span = f"{signed(d.mean)}, 95 % interval {signed(d.low)} to {signed(d.high)}, {d.n} seeds"
            groups["flat" if d.low == d.high else d.verdict].append(f"{name} ({span})")
    return [shape.format(listed(groups[key])) for key, shape in shapes.items() if groups[key]]


def _from_predecessor(results: Results) -> list[str]:
    """Beside table 5 the question is what each replaced module costs, so the predecessor is the measure."""
    suite, task = results.suite, main_task(results)
    deep = next((arm.name for arm in suite.arms if arm.is_predecessor), None)
    if suite.table != 5 or deep is None:
        return []
    arms = [arm for arm in suite.arms if arm.name != deep]
    found = [(arm.title, difference(results, task, arm.name, deep, suite.protocol)) for arm in arms]
    named = [f"{title} {signed(d.mean)} ({counted(d.n, 'seed')})" for title, d in found if d.mean is not None]
    return [f"The change from the predecessor, in points: {listed(named)}."] if named else []


def _swept(results: Results) -> list[str]:
    """Lowest and highest point of each line of a sweep; the highest of several is no test."""
    suite, task, said = results.suite, main_task(results), []
    for group, arms in lines(results).items():
        found = [(cell(results, task, arm.name, suite.protocol).summary.centre(suite.statistic), arm.x) for arm in arms]
        scored = sorted((value, x) for value, x in found if value is not None and x is not None)
        if len(scored) > 1:
            (low, at_low), (high, at_high) = scored[0], scored[-1]
            said.append(
                f"Along {suite.x_title or 'the swept setting'}, {group} runs from {low:.1f} at {at_low:g} to "
                f"{high:.1f} at {at_high:g} over {len(scored)} points; the highest of several is high by chance too."
            )
    return said


def _caution(rivals: Sequence[Difference]) -> list[str]:
    compared = [d for d in rivals if d.low is not None]
    if not compared:
        return []
    fewest = min(d.n for d in compared)
    if fewest >= FEW:
        return []
    found = max(d.detectable or 0.0 for d in compared)
    said = f"{fewest} seeds are few: a true difference below about {found:.1f} points would often be missed"
    if any(d.basis == "seeds" for d in compared):
        said += ", and the intervals carry the spread between seeds only, not the sampling of the dev set"
    return [f"{said}."]


def _task_title(results: Results, name: str) -> str:
    return next(task.title for task in results.suite.tasks if task.name == name)
