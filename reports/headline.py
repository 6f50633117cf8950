"""The answer in plain words: what was compared, what came out, and how sure that is.

    sentences = headline(results, table, differences)

Every sentence is generated from numbers and says how many seeds it rests on. An interval that holds
zero is called undecided, not equal, and one seed decides nothing.
"""

from collections.abc import Sequence

from reports.figures import signed
from reports.published import paper_macro
from reports.reader import Arm, Results
from reports.statistics import MACRO, Cell, Difference, cell, macro_tasks, main_task, reference_arm

FEW = 6  # a two-sided sign-flip test cannot reach 5 % below six seeds: 2 / 2**5 = 0.0625


def headline(results: Results, differences: Sequence[Difference]) -> list[str]:
    """Two to five sentences; never empty."""
    reference = reference_arm(results)
    sentences = [_compared(results)]
    if reference is None:
        return [*sentences, "No arm is a Theseus arm, so no difference from it is shown."]
    task = main_task(results)
    ours = cell(results, task, reference, results.suite.protocol)
    title = _title(results, reference)
    if ours.summary.n == 0:
        where = "on every task" if task == MACRO else "on the task"
        return [*sentences, f"No seed has a score of {title} {where} yet, so there is no overall answer."]
    sentences.append(_level(results, ours, title))
    methods = {arm.name: arm.method for arm in results.suite.arms}
    rivals = [d for d in differences if d.task == task and methods[d.arm] not in ("theseus", "predecessor")]
    return sentences + _against(results, rivals) + _caution(rivals)


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
    deep, shallow = suite.encoder.get("layers"), suite.successor_layers
    depth = f" from {deep} to {shallow} layers" if deep and shallow else ""
    if not arms:
        return f"No successor is planned in this suite; the predecessor runs on {where}."
    ways = f"{counted(len(arms), 'way')} of shrinking an encoder{depth}"
    return f"{ways} on {where}, planned with {seeds} each: {listed(arms)}."


def _level(results: Results, ours: Cell, title: str) -> str:
    suite = results.suite
    what = f"{suite.statistic} of {counted(ours.summary.n, 'seed')}" if ours.summary.n > 1 else "one seed"
    value = ours.summary.centre(suite.statistic) or 0.0
    count = len(macro_tasks(results))
    over = f"Averaged over the {count} tasks" if ours.task == MACRO else f"On {_task_title(results, ours.task)}"
    sentence = f"{over}, {title} scores {value:.1f} ({what}, {suite.protocol} checkpoint)"
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
    arm = next(a for a in suite.arms if a.name == ours.arm)
    tasks = [t.published for t in suite.tasks if (t.in_macro if ours.task == MACRO else t.name == ours.task)]
    above, below = (paper_macro(a.published, a.layers, tasks) for a in (arm, deep))
    return f" (the paper's numbers give {100 * above / below:.1f} %)" if above and below else ""


def _against(results: Results, rivals: Sequence[Difference]) -> list[str]:
    groups: dict[str, list[str]] = {"above": [], "below": [], "open": [], "flat": [], "single": [], "none": []}
    for d in rivals:
        name = _title(results, d.arm)
        if d.mean is None:
            groups["none"].append(name)
        elif d.low is None or d.high is None:
            groups["single"].append(f"{name} ({signed(d.mean)})")
        else:
            span = f"{signed(d.mean)}, 95 % interval {signed(d.low)} to {signed(d.high)}, {d.n} seeds"
            groups["flat" if d.low == d.high else d.verdict].append(f"{name} ({span})")
    shapes = {
        "above": "It is above {}.",
        "below": "It is below {}.",
        "open": "It is not separated from {}: the interval includes zero.",
        "flat": "Nothing is decided against {}: every seed gives the same difference, so the interval has no width.",
        "single": "Nothing is decided against {}: one seed in common gives a difference and no interval.",
        "none": "No seed has yet a score of both it and {} on every task.",
    }
    return [shape.format(listed(groups[key])) for key, shape in shapes.items() if groups[key]]


def _caution(rivals: Sequence[Difference]) -> list[str]:
    compared = [d for d in rivals if d.low is not None]
    if not compared:
        return []
    fewest = min(d.n for d in compared)
    if fewest >= FEW:
        return []
    found = max(d.detectable or 0.0 for d in compared)
    return [
        f"{fewest} seeds are few: a true difference below about {found:.1f} points would often be missed, and the "
        "intervals carry the spread between seeds only, not the sampling of the dev set."
    ]


def _task_title(results: Results, name: str) -> str:
    return next(task.title for task in results.suite.tasks if task.name == name)


def _title(results: Results, arm: str) -> str:
    return next(a.title for a in results.suite.arms if a.name == arm)
