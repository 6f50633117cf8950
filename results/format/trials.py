"""Choose the trial of a search that counts: the best mean score over seeds, per task, arm and protocol.

    chosen_trial(results, "rte", "kd", "held_out")     # an index into the arm's trials
    chosen_runs(results, "rte", "kd", "held_out")      # its runs, one per seed
    choices(results)                                   # rows for the page

At `last` and `selected` the dev score chooses, as in most papers, although this makes the dev score too high. At
`held_out` the score on the share of train that was set aside chooses both the checkpoint and the trial, and dev is
scored once. A trial with fewer finished seeds than another is not considered: the mean of two lucky seeds is not
evidence against the mean of five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.format.records import Arm, Results, Run
from results.format.untrusted import text


@dataclass(frozen=True)
class Choice:
    """One searched arm: the number of its trials, and per task the settings of the chosen one as phrases."""

    arm: Arm
    trials: int
    settings: tuple[tuple[str, ...], ...]


def chosen_trial(results: Results, task: str, arm: str, protocol: str) -> int:
    """The trial with most seeds done, then best mean, then lowest index; 0 without runs."""
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
    """The score by which a run's trial is chosen: the held-out score at `held_out`, the dev score otherwise."""
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
    """A trial's settings as phrases: `learning rate 2e-05`, without the table of the suite file."""
    phrases = []
    for key, value in trial.items():
        name = key.removeprefix("training.").removeprefix("options.")
        shown = f"{value:g}" if isinstance(value, float) else text(value, 40)
        phrases.append(f"{name.replace('.', ' ').replace('_', ' ')} {shown}")
    return tuple(phrases)


def budgets(arms: Sequence[Arm]) -> list[str]:
    """Trials per arm in words, without the predecessor."""
    return [f"{arm.title} {len(arm.trials)}" for arm in arms if not arm.is_predecessor]
