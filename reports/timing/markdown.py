"""A copy of a suite's speed.json to keep, with its tables as Markdown beside it.

    publish(Path("results/runs/minilm"), Path("results/speed/minilm-cpu"), "2 cores of a shared AMD EPYC")

Seconds are kept to 0.1 microseconds. The ratios of rounds are left out, because they are quotients of the seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.timing.matrix import DevScore, Matrix, Setting, matrix
from results.format import layout
from results.format.documents.codec import LEFT_OUT, document
from results.format.documents.speed import Condition
from results.format.errors import ReportError
from results.format.reader import read
from results.format.untrusted import text


def publish(results_folder: Path, output: Path, machine: str | None = None) -> Path:
    """Write `output`/speed.json and speed.md; returns the Markdown's path. `machine` names the device in words.

    Raises `ReportError` where the results cannot be read, `OSError` where the output cannot be written.
    """
    results = read(results_folder)
    if not results.speed:
        raise ReportError(f"{results_folder}: no {layout.SPEED}; run `python -m benchmarks speed SUITE` first")
    conditions = tuple(_kept(condition, machine) for condition in results.timing.conditions)
    results = replace(results, timing=replace(results.timing, conditions=conditions))
    output.mkdir(parents=True, exist_ok=True)
    kept = json.dumps(document(results.timing), ensure_ascii=False, separators=(",", ":"))
    lined = kept.replace('{"device"', '\n{"device"')
    (output / layout.SPEED).write_text(lined + "\n", encoding="utf-8")
    path = output / "speed.md"
    title = f"# Inference speed: {text(results.suite.title, 120)}\n"
    lines = [title, *_weights(results.timing.weights), *_markdown(matrix(results))]
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    return path


def _kept(condition: Condition, machine: str | None) -> Condition:
    return replace(
        condition,
        device_name=machine or condition.device_name,
        dev_lengths=condition.dev_lengths or LEFT_OUT,
        ratios=LEFT_OUT,
        predecessor_seconds=[round(value, 7) for value in condition.predecessor_seconds or []],
        successor_seconds=[round(value, 7) for value in condition.successor_seconds or []],
    )


def _markdown(found: Matrix) -> list[str]:
    lines = ["The measurement was interrupted: conditions are missing.", ""] if found.incomplete else []
    for setting in found.settings:
        lines += _table(setting)
    for title, entries in (
        ("## Agreement with eager float32", found.agreement),
        ("## Not timed", found.refused),
        ("## Dev scores of variants that round", [_score(score) for score in found.dev_scores]),
        (
            "## The paper's speed-ups, and ours at the same share of layers",
            [f"{claim.paper}. {'. '.join(claim.ours) or 'Not measured here'}" for claim in found.claims],
        ),
    ):
        if entries:
            lines += [title, "", *(f"- {entry}" for entry in entries), ""]
    return lines


def _weights(weights: Mapping[str, Any] | None) -> list[str]:
    parts = weights.items() if isinstance(weights, Mapping) else ()
    told = "; ".join(f"{text(side, 40)}: {text(value, 80)}" for side, value in parts)
    return [
        "Ratios are medians over rounds with 95 % bootstrap intervals; times are p50 · p90 · p99 in milliseconds per",
        "batch; memory is weights plus one call's peak, predecessor · successor. A bracketed ratio is undecided: its",
        "interval is too wide, or too few rounds fitted into the time. Over eager: the eager predecessor's time",
        "over this successor's.",
        "",
        *([f"Weights: {told}.", ""] if told else []),
    ]


def _table(setting: Setting) -> list[str]:
    heads = ("Variant", "Batch × length", "Layers", "Speed-up", "Interval", "Over eager", "Interval", "Predecessor",
             "Successor", "MB", "Rounds")  # fmt: skip
    lines = [f"## {setting.where}", "", f"| {' | '.join(heads)} |", f"|{' --- |' * 3}{' ---: |' * (len(heads) - 3)}"]
    for group in setting.groups:
        for row in group.rows:
            gain = _bracketed(row.gain, row.gain_decided)
            rounds = f"{row.rounds} ({row.discarded})" if row.discarded else row.rounds
            cells = (group.title, row.shape, row.depth, _bracketed(row.ratio, row.decided), row.interval, gain,
                     row.gain_interval, row.predecessor, row.successor, row.memory, rounds)  # fmt: skip
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return [*lines, ""]


def _bracketed(ratio: str, decided: bool) -> str:
    return ratio if decided or not ratio else f"({ratio})"


def _score(score: DevScore) -> str:
    if score.score:
        return f"{score.model}: {score.score}, eager {score.eager}, drop {score.drop}, {score.examples} examples"
    return f"{score.model}: none, {score.reason}"
