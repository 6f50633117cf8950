"""Which differences are decided: the one test that verdicts, headline, tables and figures all use.

    found = decide(compared, [("macro", "theseus", "kd"), ("macro", "theseus", "pkd")])     # one Holm family
    found[0].word, found[0].p, found[0].why

A difference is `above` or `below` where the paired test is significant at 5 %, two-sided, after Holm over its family.
It stays `open` whatever the test says

- while a registered seed is still to run: looking early and again gives more than 5 % false verdicts;
- where some seeds failed, if scoring them as the best constant answer would change the word;
- where all seeds give the same difference and there are too few for the sign-flip test (the estimate sees to that).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from reports.statistics.bootstrap import Estimate
from reports.statistics.cells import MACRO
from reports.statistics.differences import Difference, Differences
from reports.statistics.failures import BROKEN, broken_seeds, with_failures
from reports.statistics.power import seeds_needed
from reports.statistics.significance import ALPHA, holm, smallest_p
from reports.words import counted, interval, listed, p_words, signed
from results.format.records import Run

Key = tuple[str, str, str]  # task, reference, arm
Word = Literal["above", "below", "open"]
NONE: Mapping[Key, Decision] = MappingProxyType({})


@dataclass(frozen=True)
class Decision:
    """The decision on one difference. `p` is after Holm over `family` tests, `raw_p` before; None without a test.

    `why` says why it is open although the test alone might decide it; `waits`: because registered seeds are still to
    run. `left_out` names the seeds that failed, and `if_counted` is the difference in which they score as the best
    constant answer.
    """

    difference: Difference
    word: Word = "open"
    p: float | None = None
    raw_p: float | None = None
    family: int = 1
    why: str = ""
    waits: bool = False
    left_out: str = ""
    if_counted: Estimate | None = None

    @property
    def on_normality(self) -> bool:
        """Whether it is decided with fewer seeds than the sign-flip test, which assumes no normality, could decide."""
        return self.word != "open" and smallest_p(self.difference.n) > ALPHA


def decide(compared: Differences, keys: Sequence[Key], known: Mapping[Key, Decision] = NONE) -> list[Decision]:
    """Decide some differences as one family; those that a registered family decides (`known`) are taken from there.

    A test that has no data yet, or will never have any, counts with p = 1: a family of the tests that happen to be done
    would let an early look at one task decide what all eight do not.
    """
    found = [_examined(compared, key) for key in keys if key not in known]
    adjusted = holm([1.0 if d.raw_p is None else d.raw_p for d in found])
    decided = [
        _decided(d, adjusted[i], _if_counted(found, i), len(found)) if d.raw_p is not None else d
        for i, d in enumerate(found)
    ]
    by_key = dict(known) | {d.difference.key: d for d in decided}
    return [by_key[key] for key in keys]


def _examined(compared: Differences, key: Key) -> Decision:
    """The difference with its own p value and everything that does not depend on the family."""
    seen = compared.of(*key)
    left_out = _left_out(compared, key)
    counted_in = with_failures(compared.estimator, *key) if left_out else None
    raw = seen.estimate.p() if seen.estimate else None
    early = _early(compared, key)
    return Decision(seen, raw_p=raw, why=early, waits=bool(early), left_out=left_out, if_counted=counted_in)


def _if_counted(found: Sequence[Decision], at: int) -> float | None:
    """The adjusted p of one difference with its failed seeds counted; the rest of the family stays as it is."""
    estimate = found[at].if_counted
    if estimate is None:
        return None
    raw = [1.0 if d.raw_p is None else d.raw_p for d in found]
    return holm([*raw[:at], estimate.p(), *raw[at + 1 :]])[at]


def _decided(d: Decision, p: float | None, counted_p: float | None, family: int) -> Decision:
    word = _word(d.difference.estimate, p)
    why = d.why
    if d.left_out and word != "open" and not why:
        if d.if_counted is None:
            why = "open because of the seeds left out: how a constant answer scores is not stored"
        elif _word(d.if_counted, counted_p) != word:
            why = "open because of the seeds left out: counted as constant answers they change the word"
    return replace(d, word="open" if why else word, p=p, family=family, why=why)


def _word(estimate: Estimate | None, p: float | None) -> Word:
    if estimate is None or p is None or p > ALPHA:
        return "open"
    return "above" if estimate.mean > 0 else "below"


def more_seeds(d: Decision) -> int | None:
    """How many more seeds would decide an open difference in four studies of five; None where that cannot be said."""
    estimate = d.difference.estimate
    if d.word != "open" or d.why or estimate is None or (estimate.tied and smallest_p(d.difference.n) > ALPHA):
        return None
    needed = seeds_needed(estimate.mean, estimate.sd, estimate.example_part, tests=d.family)
    return None if needed is None else max(1, needed - estimate.n)


def planned_runs(compared: Differences, key: Key) -> list[Run]:
    """Every planned run of the two arms on the task, or on all tasks of the macro score, with all trials."""
    task, *pair = key
    tasks = compared.cells.macro_tasks if task == MACRO else (task,)
    return [run for name in tasks for arm in pair for run in compared.cells.results.of(name, arm)]


def _early(compared: Differences, key: Key) -> str:
    """The reason to wait for registered seeds that are still to run; empty where all are over."""
    waiting = {run.seed for run in planned_runs(compared, key) if run.status == "missing"}
    if not waiting:
        return ""
    total = len(compared.cells.results.suite.seeds)
    verb = "is" if len(waiting) == 1 else "are"
    return f"open: {len(waiting)} of {counted(total, 'registered seed')} {verb} still to run"


def _left_out(compared: Differences, key: Key) -> str:
    """`3 of 6 seeds left out: BERT-of-Theseus diverged at 2, 4 and 6`; empty where no run failed."""
    task, *pair = key
    suite, said, seeds, protocol = compared.cells.results.suite, [], set(), compared.estimator.protocol
    chosen = [compared.cells.at(task, arm, protocol) for arm in pair]
    for cell in chosen:
        for status, broken in broken_seeds(cell, protocol).items():
            said.append(f"{suite.arm(cell.arm).title} {status} at {listed([str(seed) for seed in broken])}")
            seeds |= set(broken)
    lost = sum(run.status in BROKEN for run in planned_runs(compared, key)) - sum(
        run.status in BROKEN for cell in chosen for run in cell.runs
    )
    if lost:
        said.append(f"{counted(lost, 'run')} of other trials failed and lost the choice")
    return f"{len(seeds)} of {counted(len(suite.seeds), 'seed')} left out: {'; '.join(said)}" if said else ""


def tested(d: Decision) -> str:
    """`p 0.012, Holm over 4`."""
    return f"p {p_words(d.p)}" + (f", Holm over {d.family}" if d.family > 1 else "")


def sensitivity_words(d: Decision) -> str:
    """The seeds left out, and the difference if they count as constant answers; empty where no seed is left out."""
    if not d.left_out:
        return ""
    if d.if_counted is None:
        return f"{d.left_out}. The labels are not stored, so that they cannot be scored as constant answers"
    span = f"{signed(d.if_counted.mean)} ({interval(*d.if_counted.interval())})"
    return f"{d.left_out}. Scored as the best constant answer: {span}"


def all_decisions(
    compared: Differences, judged: Mapping[Key, Decision], shown: Sequence[Difference], *others: Sequence[Difference]
) -> dict[Key, Decision]:
    """A decision for every difference on the page. Those of the paper's claims (`judged`) are taken as they are.

    These kinds of family remain: of the differences `shown`, those on the main task, and per pair of arms those on the
    tasks; and each of `others`, such as the attribution steps.
    """
    found, main = dict(judged), compared.cells.main_task
    families: dict[object, list[Key]] = {}
    for d in shown:
        families.setdefault("main" if d.task == main else (d.reference, d.arm), []).append(d.key)
    families |= {number: [d.key for d in family] for number, family in enumerate(others)}
    for keys in families.values():
        new = [key for key in dict.fromkeys(keys) if key not in found]
        found |= dict(zip(new, decide(compared, new), strict=True))
    return found
