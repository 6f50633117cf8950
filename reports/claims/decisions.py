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
from typing import Literal

from reports.statistics.bootstrap import Estimate
from reports.statistics.differences import Difference, Differences
from reports.statistics.failures import broken_seeds, with_failures
from reports.statistics.significance import ALPHA, holm, smallest_p
from reports.words import counted, listed, signed

Key = tuple[str, str, str]  # task, reference, arm
Word = Literal["above", "below", "open"]


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


def decide(compared: Differences, keys: Sequence[Key]) -> list[Decision]:
    """Decide some differences as one family."""
    found = [_examined(compared, key) for key in keys]
    p_values = [d.raw_p for d in found]
    adjusted = _holm(p_values)
    family = sum(p is not None for p in p_values)
    return [
        _decided(d, adjusted[i], _if_counted(found, i), family) if d.raw_p is not None else d
        for i, d in enumerate(found)
    ]


def _examined(compared: Differences, key: Key) -> Decision:
    """The difference with its own p value and everything that does not depend on the family."""
    seen = compared.of(*key)
    left_out = _left_out(compared, key)
    counted_in = with_failures(compared.estimator, *key) if left_out else None
    raw = seen.estimate.p() if seen.estimate else None
    early = _early(compared, key)
    return Decision(seen, raw_p=raw, why=early, waits=bool(early), left_out=left_out, if_counted=counted_in)


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    adjusted = iter(holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def _if_counted(found: Sequence[Decision], at: int) -> float | None:
    """The adjusted p of one difference with its failed seeds counted; the rest of the family stays as it is."""
    estimate = found[at].if_counted
    if estimate is None:
        return None
    return _holm([estimate.p() if i == at else d.raw_p for i, d in enumerate(found)])[at]


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


def _early(compared: Differences, key: Key) -> str:
    """The reason to wait for registered seeds that are still to run; empty where all are over."""
    task, *pair = key
    cells = [compared.cells.at(task, arm, compared.estimator.protocol) for arm in pair]
    waiting = {run.seed for cell in cells for run in cell.runs if run.status == "missing"}
    if not waiting:
        return ""
    total = len(compared.cells.results.suite.seeds)
    verb = "is" if len(waiting) == 1 else "are"
    return f"open: {len(waiting)} of {counted(total, 'registered seed')} {verb} still to run"


def _left_out(compared: Differences, key: Key) -> str:
    """`3 of 6 seeds left out: BERT-of-Theseus diverged at 2, 4 and 6`; empty where no run failed."""
    task, *pair = key
    suite, said, seeds = compared.cells.results.suite, [], set()
    for arm in pair:
        for status, broken in broken_seeds(compared.cells.at(task, arm, compared.estimator.protocol)).items():
            said.append(f"{suite.arm(arm).title} {status} at {listed([str(seed) for seed in broken])}")
            seeds |= set(broken)
    return f"{len(seeds)} of {counted(len(suite.seeds), 'seed')} left out: {'; '.join(said)}" if said else ""


def sensitivity_words(d: Decision) -> str:
    """The seeds left out, and the difference if they count as constant answers; empty where no seed is left out."""
    if not d.left_out:
        return ""
    if d.if_counted is None:
        return f"{d.left_out}. The labels are not stored, so that they cannot be scored as constant answers"
    low, high = d.if_counted.interval()
    span = f"{signed(d.if_counted.mean)} ({signed(low)} to {signed(high)})"
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
