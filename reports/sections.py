"""The parts of the page that are neither the main table nor a figure, as plain rows for the template.

Each function takes `Results` and gives a list of small frozen rows with numbers already in words, so
that the template holds layout only and every number can be tested here.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reports.figures import latency
from reports.published import paper_speed_up
from reports.reader import Arm, Results, Run
from reports.statistics import cell, main_task
from reports.tables import decimals, ordered_arms, ordered_columns
from reports.untrusted import text


@dataclass(frozen=True)
class Speed:
    """One timing condition in words."""

    where: str
    setting: str
    depth: str
    ratio: str
    interval: str
    confidence: str
    decided: bool
    rounds: str
    predecessor: tuple[str, str, str]
    successor: tuple[str, str, str]
    paper: str


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


@dataclass(frozen=True)
class Selection:
    """Last against best-on-dev checkpoint of one arm."""

    arm: Arm
    evaluations: str
    last: str
    selected: str
    gain: str


@dataclass(frozen=True)
class RunLine:
    """One run of the per-run list; `config` and `manifest` are relative links or empty."""

    run: Run
    arm: Arm
    last: str
    selected: str
    step: str
    seconds: str
    flags: str
    config: str
    manifest: str


def speeds(results: Results) -> list[Speed]:
    """Every timing condition; a ratio without a decided interval is marked so."""
    return [_speed(condition, results.suite.synthetic) for condition in results.speed]


def _speed(condition: Mapping[str, Any], synthetic: bool) -> Speed:
    deep, shallow = (condition.get(f"{side}_layers") for side in ("predecessor", "successor"))
    setting = [
        text(condition.get("precision"), 40),
        f"{text(condition.get('attention'), 40)} attention" if condition.get("attention") else "",
        f"{text(condition.get('threads'), 10)} threads" if condition.get("threads") is not None else "",
        f"batch {text(condition.get('batch_size'), 10)}",
        f"length {text(condition.get('length'), 10)}",
    ]
    paper = paper_speed_up(shallow) if deep == 12 and not synthetic and isinstance(shallow, int) else None
    low, high = real(condition.get("ratio_low")), real(condition.get("ratio_high"))
    ratio, confidence = real(condition.get("ratio")), real(condition.get("confidence"))
    return Speed(
        where=text(condition.get("device_name") or condition.get("device"), 80),
        setting=", ".join(part for part in setting if part),
        depth=f"{text(deep, 5)} to {text(shallow, 5)}",
        ratio=f"{ratio:.2f}×" if ratio is not None else "",
        interval=f"{low:.2f} to {high:.2f}" if low is not None and high is not None else "",
        confidence=f"{100 * confidence:g} %" if confidence is not None else "",
        decided=condition.get("decided") is True and ratio is not None,
        rounds=text(condition.get("rounds"), 10),
        predecessor=_percentiles(condition.get("predecessor")),
        successor=_percentiles(condition.get("successor")),
        paper=f"{paper:.2f}× for {deep} to {shallow} layers" if paper is not None else "",
    )


def timing_for_figure(results: Results) -> Mapping[str, Any] | None:
    """The condition to draw score against latency for: the first decided one that timed an arm, else the first."""
    usable = [c for c in results.speed if any(latency(c, arm) is not None for arm in results.suite.arms)]
    return next((c for c in usable if c.get("decided") is True), usable[0] if usable else None)


def costs(results: Results) -> list[Cost]:
    """Weight and training cost per arm, over the runs that are done."""
    deep = next((arm for arm in results.suite.arms if arm.is_predecessor), None)
    reference = _largest([run.parameters for run in _done(results, deep.name)]) if deep else None
    return [_cost(arm, _done(results, arm.name), reference) for arm in ordered_arms(results)]


def _cost(arm: Arm, runs: Sequence[Run], reference: int | None) -> Cost:
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
        total=duration(sum(seconds)) if seconds else "",
        rate=f"{sum(rates) / len(rates):,.0f}" if rates else "",
        memory=f"{memory / 1e9:.2f} GB" if memory else "",
    )


def selections(results: Results) -> list[Selection]:
    """Per arm: dev evaluations per run, and the macro (or the only task) at both checkpoints."""
    task = main_task(results)
    return [_selection(results, arm, task) for arm in ordered_arms(results)]


def _selection(results: Results, arm: Arm, task: str) -> Selection:
    counts = [run.evaluations for run in _done(results, arm.name) if run.evaluations is not None]
    last, selected = (
        cell(results, task, arm.name, protocol).summary.centre(results.suite.statistic)
        for protocol in ("last", "selected")
    )
    spread = f"{min(counts)} to {max(counts)}" if counts and min(counts) != max(counts) else str(*counts[:1])
    gain = selected - last if selected is not None and last is not None else None
    return Selection(arm, spread, decimals(last, 1), decimals(selected, 1), "" if gain is None else f"{gain:+.2f}")


def run_lines(results: Results, output: Path) -> list[tuple[str, list[RunLine]]]:
    """Every planned run grouped by task title, with links relative to the folder the page lies in."""
    arms = {arm.name: (i, arm) for i, arm in enumerate(ordered_arms(results))}
    titles = {task.name: task.title for task in results.suite.tasks}
    groups = []
    for column in ordered_columns(results):
        runs = sorted((r for r in results.runs if r.task == column.name), key=lambda r: (arms[r.arm][0], r.seed))
        if runs:
            groups.append((titles[column.name], [_run_line(results, run, arms[run.arm][1], output) for run in runs]))
    return groups


def _run_line(results: Results, run: Run, arm: Arm, output: Path) -> RunLine:
    selected_step = run.selected.step if run.selected else None
    steps = "" if run.steps is None else f"{run.steps:,}"
    flags = {flag for protocol in ("last", "selected") if (c := run.at(protocol)) for flag in c.flags}
    return RunLine(
        run=run,
        arm=arm,
        last=decimals(run.score("last"), 2),
        selected=decimals(run.score("selected"), 2),
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
                    seeds = ", ".join(str(run.seed) for run in runs)
                    reasons = sorted({run.reason for run in runs if run.reason})
                    why = f" ({'; '.join(reasons)})" if reasons else ""
                    word = "not run yet" if status == "missing" else status
                    lines.append(f"{task.title}, {arm.title}: seed{'s' if len(runs) > 1 else ''} {seeds} {word}{why}")
    if results.left_out:
        count = f"{results.left_out} run folder{'s belong' if results.left_out > 1 else ' belongs'}"
        lines.append(
            f"{count} to settings the suite no longer plans, and {'are' if results.left_out > 1 else 'is'} left out"
        )
    if not results.speed:
        lines.append("No speed.json: inference was not timed")
    return [*lines, *results.notes]


def real(value: object) -> float | None:
    """A number as float, None for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def millions(value: int | None) -> str:
    """`66.96 M`; empty for None."""
    return "" if value is None else f"{value / 1e6:.2f} M"


def duration(seconds: float) -> str:
    """`48 s`, `12.5 min` or `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _percentiles(value: object) -> tuple[str, str, str]:
    source = value if isinstance(value, Mapping) else {}
    found = [real(source.get(key)) for key in ("p50", "p90", "p99")]
    shown = ["" if v is None else f"{v * 1000:.2f}" for v in found]
    return shown[0], shown[1], shown[2]


def _done(results: Results, arm: str) -> list[Run]:
    return [run for run in results.runs if run.arm == arm and run.status == "done"]


def _largest(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None
