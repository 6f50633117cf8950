"""The parts of the page that are neither the main table nor a figure, as plain rows for the template.

Each function takes `Results` and gives a list of small frozen rows with numbers already in words, so
that the template holds layout only and every number can be tested here.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from reports.drawing import signed
from reports.results import PROTOCOLS, Arm, Results, Run
from reports.statistics import by_seed, cell, main_task, summarise
from reports.tables import decimals, ordered_arms, ordered_columns
from reports.trials import chosen_trial


@dataclass(frozen=True)
class Cost:
    """What an arm weighs and what its training took."""

    arm: Arm
    layers: str
    parameters: str
    fewer: str
    trainable: str
    seconds: str
    total: str
    rate: str
    memory: str
    trials: str


@dataclass(frozen=True)
class Selection:
    """Last, best-on-dev and best-on-held-out checkpoint of one arm; `worth` is the second minus the third."""

    arm: Arm
    evaluations: str
    last: str
    selected: str
    gain: str
    held_out: str
    worth: str


@dataclass(frozen=True)
class RunLine:
    """One run of the per-run list; `config` and `manifest` are relative links or empty."""

    run: Run
    arm: Arm
    last: str
    selected: str
    held_out: str
    trial: str
    step: str
    seconds: str
    flags: str
    config: str
    manifest: str


def costs(results: Results) -> list[Cost]:
    """Weight and training cost per arm over the runs that are done; the total has every trial and every broken run."""
    deep = next((arm for arm in results.suite.arms if arm.is_predecessor), None)
    reference = _largest([run.parameters for run in _done(results, deep.name)]) if deep else None
    spent = {
        arm.name: [run.train_seconds or 0.0 for run in results.runs if run.arm == arm.name]
        for arm in results.suite.arms
    }
    return [_cost(arm, _done(results, arm.name), sum(spent[arm.name]), reference) for arm in ordered_arms(results)]


def _cost(arm: Arm, runs: Sequence[Run], spent: float, reference: int | None) -> Cost:
    parameters = _largest([run.parameters for run in runs])
    ratio = reference / parameters if reference and parameters else None
    seconds = [run.train_seconds for run in runs if run.train_seconds is not None]
    rates = [run.examples_per_second for run in runs if run.examples_per_second is not None]
    memory = _largest([run.peak_memory_bytes for run in runs])
    return Cost(
        arm=arm,
        layers="" if arm.layers is None else str(arm.layers),
        parameters=millions(parameters),
        fewer=f"{ratio:.2f}×" if ratio is not None and not arm.is_predecessor else "",
        trainable=millions(_largest([run.trainable_parameters for run in runs])),
        seconds=duration(sum(seconds) / len(seconds)) if seconds else "",
        total=duration(spent) if spent else "",
        rate=f"{sum(rates) / len(rates):,.0f}" if rates else "",
        memory=f"{memory / 1e9:.2f} GB" if memory else "",
        trials=str(len(arm.trials)),
    )


def selections(results: Results) -> list[Selection]:
    """Per arm: dev evaluations per run, and the macro (or the only task) at every protocol's checkpoint."""
    task = main_task(results)
    return [_selection(results, arm, task) for arm in ordered_arms(results)]


def _selection(results: Results, arm: Arm, task: str) -> Selection:
    counts = [run.evaluations for run in _done(results, arm.name) if run.evaluations is not None]
    last, selected, held_out = (
        cell(results, task, arm.name, protocol).summary.centre(results.suite.statistic) for protocol in PROTOCOLS
    )
    spread = f"{min(counts)} to {max(counts)}" if counts and min(counts) != max(counts) else str(*counts[:1])
    gain = selected - last if selected is not None and last is not None else None
    worth = selection_worth(results, task, arm.name)
    shown = (decimals(last, 1), decimals(selected, 1), signed(gain, 2))
    return Selection(arm, spread, *shown, decimals(held_out, 1), signed(worth, 2))


def selection_worth(results: Results, task: str, arm: str) -> float | None:
    """What choosing checkpoint and trial on dev is worth: that score minus the one chosen on held-out data.

    The mean over the seeds that have both, so that a missing seed shifts nothing.
    """
    on_dev, held_out = (by_seed(results, task, arm, protocol) for protocol in ("selected", "held_out"))
    return summarise([on_dev[seed] - held_out[seed] for seed in sorted(on_dev.keys() & held_out.keys())]).mean


def run_lines(results: Results, output: Path) -> list[tuple[str, list[RunLine]]]:
    """Every planned run grouped by task title, with links relative to the folder the page lies in."""
    arms = {arm.name: (i, arm) for i, arm in enumerate(ordered_arms(results))}
    titles = {task.name: task.title for task in results.suite.tasks}
    groups = []
    for column in ordered_columns(results):
        planned = [run for run in results.runs if run.task == column.name]
        runs = sorted(planned, key=lambda run: (arms[run.arm][0], run.trial, run.seed))
        if runs:
            groups.append((titles[column.name], [_run_line(results, run, arms[run.arm][1], output) for run in runs]))
    return groups


def _run_line(results: Results, run: Run, arm: Arm, output: Path) -> RunLine:
    selected_step = run.selected.step if run.selected else None
    steps = "" if run.steps is None else f"{run.steps:,}"
    flags = {flag for protocol in PROTOCOLS if (c := run.at(protocol)) for flag in c.flags}
    chosen = len(arm.trials) > 1 and run.trial == chosen_trial(results, run.task, arm.name, results.suite.protocol)
    return RunLine(
        run=run,
        arm=arm,
        last=decimals(run.score("last"), 2),
        selected=decimals(run.score("selected"), 2),
        held_out=decimals(run.score("held_out"), 2),
        trial=f"{run.trial}{' (chosen)' if chosen else ''}",
        step=f"{steps} (best at {selected_step:,})" if selected_step is not None and steps else steps,
        seconds="" if run.train_seconds is None else f"{run.train_seconds:,.0f}",
        flags=", ".join(sorted(flags)),
        config=link(results.root, run, "config.json", output) if run.config else "",
        manifest=link(results.root, run, "manifest.json", output) if run.manifest else "",
    )


def link(root: Path, run: Run, name: str, output: Path) -> str:
    """A percent-encoded relative link from the page's folder to a run's file; empty across drives."""
    try:
        relative = os.path.relpath(root.resolve() / run.folder / name, output.resolve())
    except ValueError:
        return ""
    return quote(Path(relative).as_posix())


def missing(results: Results) -> list[str]:
    """What is not there, a sentence each: absent and broken runs per cell, folders left out, notes of the reader."""
    lines = []
    for task in results.suite.tasks:
        for arm in ordered_arms(results):
            for status in ("diverged", "failed", "missing"):
                runs = [run for run in results.of(task.name, arm.name) if run.status == status]
                if runs:
                    which = _which(runs, len(arm.trials) > 1)
                    reasons = sorted({run.reason for run in runs if run.reason})
                    why = f" ({'; '.join(reasons)})" if reasons else ""
                    word = "not run yet" if status == "missing" else status
                    lines.append(f"{task.title}, {arm.title}: {which} {word}{why}")
    if results.left_out:
        count = f"{results.left_out} run folder{'s belong' if results.left_out > 1 else ' belongs'}"
        lines.append(
            f"{count} to settings the suite no longer plans, and {'are' if results.left_out > 1 else 'is'} left out"
        )
    if not results.speed:
        lines.append("No speed.json: inference was not timed")
    return [*lines, *results.notes]


def _which(runs: Sequence[Run], searched: bool) -> str:
    """`seeds 1, 2`, and per trial where there are several."""
    groups: dict[int, list[int]] = {}
    for run in runs:
        groups.setdefault(run.trial, []).append(run.seed)
    parts = []
    for trial, seeds in sorted(groups.items()):
        named = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(str(seed) for seed in seeds)}"
        parts.append(f"trial {trial} {named}" if searched else named)
    return "; ".join(parts)


def millions(value: int | None) -> str:
    """`66.96 M`; empty for None."""
    return "" if value is None else f"{value / 1e6:.2f} M"


def duration(seconds: float) -> str:
    """`48 s`, `12.5 min` or `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _done(results: Results, arm: str) -> list[Run]:
    return [run for run in results.runs if run.arm == arm and run.status == "done"]


def _largest(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None
