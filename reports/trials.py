"""Which of a search's trials counts: the one with the best mean score over seeds, per task, arm and protocol.

    chosen_trial(results, "rte", "kd", "held_out")     # an index into the arm's trials
    chosen_runs(results, "rte", "kd", "held_out")      # its runs, one per seed
    choices(results)                                   # rows for the page

At `last` and `selected` the dev score chooses, which is what most papers do and what makes a dev
score too high. At `held_out` the score on the share of train that was set aside chooses both the
checkpoint and the trial, and dev is scored once. A trial with fewer seeds done than another does not
compete: the mean of two lucky seeds is no evidence against the mean of five.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.results import Arm, Results, Run
from reports.untrusted import text


@dataclass(frozen=True)
class Choice:
    """One searched arm: how many trials it had, and per task the chosen one's settings, a phrase each."""

    arm: Arm
    trials: int
    settings: tuple[tuple[str, ...], ...]


def chosen_trial(results: Results, task: str, arm: str, protocol: str) -> int:
    """Most seeds done, then best mean, then lowest index; 0 where there is one trial or no run."""
    groups: dict[int, list[float]] = {}
    for run in results.of(task, arm):
        found = groups.setdefault(run.trial, [])
        if (score := choosing_score(run, protocol)) is not None:
            found.append(score)

    def rank(trial: int) -> tuple[int, float, int]:
        scores = groups[trial]
        return len(scores), sum(scores) / len(scores) if scores else 0.0, -trial

    return max(groups, key=rank, default=0)


def chosen_runs(results: Results, task: str, arm: str, protocol: str) -> tuple[Run, ...]:
    """The planned runs of a cell's chosen trial, in planned order."""
    runs = results.of(task, arm)
    if len({run.trial for run in runs}) < 2:
        return runs
    trial = chosen_trial(results, task, arm, protocol)
    return tuple(run for run in runs if run.trial == trial)


def choosing_score(run: Run, protocol: str) -> float | None:
    """What a run brings to its trial's mean: the held-out score at `held_out`, the dev score otherwise."""
    if protocol != "held_out":
        return run.score(protocol)
    return None if run.held_out is None else run.held_out.held_out_score


def choices(results: Results) -> list[Choice]:
    """Every arm with more than one trial, in the suite's order; the settings chosen at the suite's protocol."""
    tasks, protocol = results.suite.tasks, results.suite.protocol
    rows = []
    for arm in results.suite.arms:
        if len(arm.trials) > 1:
            found = [(chosen_trial(results, t.name, arm.name, protocol), results.of(t.name, arm.name)) for t in tasks]
            settings = tuple(
                in_words(arm.trials[trial]) if any(run.status == "done" for run in runs) else ()
                for trial, runs in found
            )
            rows.append(Choice(arm, len(arm.trials), settings))
    return rows


def in_words(trial: Mapping[str, Any]) -> tuple[str, ...]:
    """A trial's settings, a phrase each: `learning rate 2e-05`; the table of the suite file is left out."""
    phrases = []
    for key, value in trial.items():
        name = key.removeprefix("training.").removeprefix("options.")
        shown = f"{value:g}" if isinstance(value, float) else text(value, 40)
        phrases.append(f"{name.replace('.', ' ').replace('_', ' ')} {shown}")
    return tuple(phrases)


def budgets(arms: Sequence[Arm]) -> list[str]:
    """Trials per arm in words, the predecessor left out."""
    return [f"{arm.title} {len(arm.trials)}" for arm in arms if not arm.is_predecessor]
