"""Has a number fallen since it was accepted, and what changed along with it?

    found = compare(load_baseline(path), snapshot(read(folder)))     # Drift: verdict, macros, cells, speed, throughput
    found.exit_code                                                  # 0 pass, 1 drift, 3 undecided, 4 not comparable

Under one lock, device, thread count and precision a run repeats bit for bit. Any difference there is named, and if
nothing recorded explains it, a fall of the mean by the margin is drift. Everywhere else new and accepted scores are
paired by seed and judged (`judging.py`). The suite passes if the macro of every arm is certified not to have fallen by
its margin and no cell has drifted; the cells are its diagnosis. Only falls are drift. A cell or a score that vanished
is drift too, so that no metric is dropped silently. docs/drift.md has the reasoning, the power and the limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from reports.drift.attribution import Change, bits_comparable, changes, not_comparable
from reports.drift.judging import Judged, Weighed, decide, in_words, judge_share, moved, weigh
from reports.drift.macros import MacroDrift, Pairs, macro_of, settle, unit
from reports.drift.margins import macro_margin, macro_names
from reports.drift.snapshot import Cell, Outcome, Snapshot
from reports.drift.speed import SpeedDrift, ThroughputDrift, compare_speed, compare_throughput
from reports.statistics.significance import ROUNDING

Verdict = Literal["pass", "drift", "not certified", "undecided", "not comparable"]
# A cell or macro that is "not certified" by itself leaves the suite's verdict to the others.
EXIT: Mapping[Verdict, int] = {"pass": 0, "drift": 1, "undecided": 3, "not comparable": 4}
WORST_FIRST: tuple[Verdict, ...] = ("drift", "not comparable", "undecided", "not certified", "pass")
Key = tuple[str, str]  # task, arm
Became = Literal["improved", "regressed", "unchanged", "missing", "not comparable"]


@dataclass(frozen=True)
class CellDrift:
    """One cell. `bits`: whether every finished common seed repeats bit for bit; `bits_expected`: whether it should.

    `became` is what the summary counts it as; missing: it vanished, or lacks a run or a score that was accepted.
    """

    task: str
    arm: str
    verdict: Verdict
    why: str
    margin: float
    seeds: tuple[int, ...] = ()
    accepted: float | None = None
    found: float | None = None
    bits: bool = False
    bits_expected: bool = False
    judged: Judged | None = None
    changed: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    became: Became = "unchanged"

    @property
    def name(self) -> str:
        """`task arm`."""
        return f"{self.task} {self.arm}"

    @property
    def moved(self) -> float | None:
        """The mean difference over common seeds, None without any."""
        return None if self.accepted is None or self.found is None else self.found - self.accepted

    @property
    def causes(self) -> tuple[str, ...]:
        """The kinds of facts that changed; `nothing` where bits differ and no fact does."""
        found = tuple(dict.fromkeys(change.kind for change in self.changed))
        return found or (() if self.bits or not self.seeds else ("nothing",))


@dataclass(frozen=True)
class Drift:
    """The comparison. `family`: how many cells and macros Holm's correction is over; `new`: cells that the baseline
    lacks."""

    suite: str
    verdict: Verdict
    cells: tuple[CellDrift, ...]
    new: tuple[str, ...]
    speed: tuple[SpeedDrift, ...]
    throughput: tuple[ThroughputDrift, ...]
    family: int
    exact: bool
    notes: tuple[str, ...] = ()
    macros: tuple[MacroDrift, ...] = ()

    @property
    def exit_code(self) -> int:
        """The command's exit code."""
        return EXIT[self.verdict]

    @property
    def changed(self) -> tuple[Change, ...]:
        """Every change over all cells, each once."""
        return tuple(dict.fromkeys(change for cell in self.cells for change in cell.changed))

    @property
    def counts(self) -> dict[str, int]:
        """The number of cells by what became of them, and of new ones."""
        found = [cell.became for cell in self.cells]
        return {word: found.count(word) for word in get_args(Became)} | {"new": len(self.new)}


def compare(accepted: Snapshot, new: Snapshot, exact: bool = False) -> Drift:
    """Judge new results against accepted ones. With `exact`, any difference is drift where bits should repeat."""
    if reason := _other_suite(accepted, new):
        return Drift(new.suite, "not comparable", (), (), (), (), 0, exact, (reason,))
    looked = {key: _look(accepted, new, cell, new.cells.get(key)) for key, cell in accepted.cells.items()}
    drawn = _macros(accepted, new, {key: pairs for key, (_, pairs) in looked.items()})
    judged, judged_macros, family = _judge_all(looked, drawn)
    cells = tuple(
        _whole(_conclude(cell, judged.get(key), exact), accepted.cells[key], new.cells.get(key))
        for key, (cell, _) in looked.items()
    )
    equal = {arm: all(cell.bits for cell in cells if cell.arm == arm) for arm in drawn}
    macros = tuple(settle(macro, judged_macros.get(arm), equal[arm]) for arm, macro in drawn.items())
    speed = compare_speed(accepted.speed, new.speed)
    verdicts = {cell.verdict for cell in cells} | {m.verdict for m in macros} | {s.verdict for s in speed}
    verdict: Verdict = next(v for v in WORST_FIRST if v in verdicts - {"not certified"} | {"pass"})
    added = tuple(cell.name for key, cell in new.cells.items() if key not in accepted.cells)
    throughput = compare_throughput(accepted.cells, new.cells)
    return Drift(new.suite, verdict, cells, added, speed, throughput, family, exact, macros=macros)


def _macros(accepted: Snapshot, new: Snapshot, pairs: Mapping[Key, Pairs]) -> dict[str, MacroDrift]:
    """The macro of every arm that has paired scores; an arm of one task has its task's margin."""
    names = macro_names(accepted, new.macro_tasks)
    margin = macro_margin(accepted, names) if accepted.macro_margin is None else accepted.macro_margin
    most = max(len(cell.outcomes) for cell in accepted.cells.values())
    found: dict[str, MacroDrift] = {}
    for arm in dict.fromkeys(arm for _, arm in accepted.cells):
        own = {task: cell for (task, name), cell in accepted.cells.items() if name == arm}
        planned = tuple(task for task in own if task in names) or tuple(own)
        room = margin if len(planned) > 1 else accepted.margins.get(planned[0], 0.0)
        once = most > 1 and all(c.method == "predecessor" and len(c.outcomes) == 1 for c in own.values())
        macro = macro_of(arm, planned, {task: pairs[task, arm] for task in planned}, room, once)
        found |= {arm: macro} if macro else {}
    return found


def _judge_all(
    looked: Mapping[Key, tuple[CellDrift, Pairs]], drawn: Mapping[str, MacroDrift]
) -> tuple[dict[Key, Judged], dict[str, Judged], int]:
    """Judge every cell and macro whose scores differ, as one family; also the family's size."""
    open_ = {key: cell for key, (cell, pairs) in looked.items() if not cell.why and moved(_differences(pairs))}
    values = [_differences(looked[key][1]) for key in open_]
    weighed = dict(zip(open_, weigh(values, [task for task, _ in open_]), strict=True))
    typical = {key: found.typical_sd for key, found in weighed.items()}
    alone = {arm: key for arm, macro in drawn.items() if (key := _only_mover(macro, weighed)) is not None}
    several = {arm: macro for arm, macro in drawn.items() if arm not in alone and moved(macro.differences)}
    units = [unit(macro, typical) for macro in several.values()]
    macros = weigh([macro.differences for macro in several.values()], scales=units)
    margins = [cell.margin for cell in open_.values()] + [macro.margin for macro in several.values()]
    judged = decide([*weighed.values(), *macros], margins)
    cells = dict(zip(open_, judged[: len(open_)], strict=True))
    own = dict(zip(several, judged[len(open_) :], strict=True))
    for arm, key in alone.items():
        share = 1 / len(drawn[arm].tasks)
        own[arm] = judge_share(weighed[key], cells[key], share, drawn[arm].margin, len(judged))
    return cells, own, len(judged)


def _only_mover(macro: MacroDrift, weighed: Mapping[Key, Weighed]) -> Key | None:
    """The cell that alone moved its arm's macro, so that both are one test and not two of a family."""
    found = [(task, macro.arm) for task in macro.tasks if (task, macro.arm) in weighed]
    return found[0] if len(found) == 1 and weighed[found[0]].values.size == len(macro.seeds) else None


def _differences(pairs: Pairs) -> tuple[float, ...]:
    return tuple(now - old for old, now in pairs.values())


def _other_suite(accepted: Snapshot, new: Snapshot) -> str:
    for what, old, now in (("suite", accepted.suite, new.suite), ("protocol", accepted.protocol, new.protocol)):
        if old != now:
            return f"the baseline is of {what} {old}, the results are of {now}: accept a baseline of this {what}"
    return "" if accepted.cells else "the baseline has no cells: accept again"


def _look(accepted: Snapshot, new: Snapshot, old: Cell, now: Cell | None) -> tuple[CellDrift, Pairs]:
    """Judge a cell as far as possible without statistics; return also the paired scores that can be compared."""
    cell = CellDrift(old.task, old.arm, "pass", "", accepted.margins.get(old.task, 0.0))
    if now is None:
        return replace(cell, verdict="drift", why="vanished", became="missing"), {}
    common = tuple(seed for seed in old.outcomes if seed in now.outcomes)
    pairs = [(old.outcomes[seed], now.outcomes[seed]) for seed in common]
    there = [(a, b) for a, b in pairs if b.status in ("done", "diverged")]
    changed = changes(there, accepted, new)
    notes = _notes(old, now, pairs)
    cell = replace(cell, seeds=common, changed=changed, notes=notes, bits_expected=bits_comparable(changed))
    if not common:
        return replace(cell, verdict="not comparable", why="no seed in common", became="not comparable"), {}
    if unlike := not_comparable(changed):
        return replace(cell, verdict="not comparable", why=unlike, became="not comparable"), {}
    scored = {a.seed: (a.score, b.score) for a, b in there if a.score is not None and b.score is not None}
    means = [sum(side) / len(scored) for side in zip(*scored.values(), strict=True)] if scored else [None, None]
    bits = all(a.same_bits(b) for a, b in there)
    cell = replace(cell, accepted=means[0], found=means[1], bits=bits)
    if gap := _gap(pairs):
        return replace(cell, verdict=gap[0], why=gap[1], became=gap[2]), {}
    return _whole(replace(cell, why="bit-equal"), old, now) if bits else cell, scored


def _gap(pairs: Sequence[tuple[Outcome, Outcome]]) -> tuple[Verdict, str, Became] | None:
    """The verdict on a cell of which a run or a score is not there, None where all are."""
    if diverged := [b.seed for a, b in pairs if a.status == "done" and b.status == "diverged"]:
        return "drift", f"diverged at seed {_listed(diverged)}", "regressed"
    if lost := [b.seed for a, b in pairs if b.status == "done" and a.score is not None and b.score is None]:
        return "drift", f"the score of seed {_listed(lost)} is null now", "missing"
    if absent := [f"seed {b.seed} {b.status}" for _, b in pairs if b.status not in ("done", "diverged")]:
        return "undecided", f"incomplete ({', '.join(absent)}): run the suite to its end", "missing"
    if nulls := [a.seed for a, b in pairs if a.status == b.status == "done" and a.score is None]:
        return "undecided", f"seed {_listed(nulls)} was accepted without a score: accept again", "missing"
    return None


def _whole(cell: CellDrift, old: Cell, now: Cell | None) -> CellDrift:
    """A cell passes only if every accepted seed was run again, so that no seed is dropped silently."""
    gone = [seed for seed in old.outcomes if now is not None and seed not in now.outcomes]
    if cell.verdict not in ("pass", "not certified") or not gone:
        return cell
    why = f"{cell.why}, but accepted seed {_listed(gone)} was not run"
    return replace(cell, verdict="undecided", why=why, became="missing")


def _conclude(cell: CellDrift, judged: Judged | None, exact: bool) -> CellDrift:
    """The cell's verdict from its statistics."""
    if cell.why:
        return cell
    fallen, must_repeat = judged is not None and judged.mean < 0, exact and cell.bits_expected
    if judged is None and not must_repeat:
        return replace(cell, why="equal scores, other bits" if cell.accepted is not None else "diverged, as accepted")
    became: Became = "improved" if judged and judged.higher else "unchanged"
    cell = replace(cell, judged=judged, became=became)
    if judged is None or must_repeat:
        became = "regressed" if fallen else became
        return replace(cell, verdict="drift", why="bits differ where they must repeat", became=became)
    if cell.causes == ("nothing",) and fallen and judged.mean <= ROUNDING - cell.margin:
        return replace(
            cell, verdict="drift", why="fell by the margin, and nothing recorded changed", became="regressed"
        )
    if judged.verdict == "undecided":
        return replace(cell, verdict="not certified", why="not certified by itself")
    became = "regressed" if judged.verdict == "drift" else became
    return replace(cell, verdict=judged.verdict, why=in_words(judged), became=became)


def _notes(old: Cell, now: Cell, pairs: Sequence[tuple[Outcome, Outcome]]) -> tuple[str, ...]:
    notes = []
    if gone := [seed for seed in old.outcomes if seed not in now.outcomes]:
        notes.append(f"accepted seed {_listed(gone)} is not planned any more")
    if added := [seed for seed in now.outcomes if seed not in old.outcomes]:
        notes.append(f"seed {_listed(added)} has no accepted run")
    if saved := [b.seed for a, b in pairs if a.status == "diverged" and b.status == "done"]:
        notes.append(f"seed {_listed(saved)} had diverged when it was accepted")
    if old.trial != now.trial:
        notes.append(f"the search chose trial {now.trial}, accepted is trial {old.trial}")
    return tuple(notes)


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
