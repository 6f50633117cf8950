"""A copy of a suite's speed.json to keep, with its tables as Markdown beside it.

    publish(Path("results/runs/minilm"), Path("results/speed/minilm-cpu"), "2 cores of a shared AMD EPYC")

Seconds are kept to 0.1 microseconds and the ratios of rounds left out: they are quotients of the seconds.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.errors import ReportError
from reports.reader import read
from reports.speed_matrix import Matrix, Setting, matrix
from reports.untrusted import load, text


def publish(results_folder: Path, output: Path, machine: str | None = None) -> Path:
    """Write `output`/speed.json and speed.md; returns the Markdown's path. `machine` names the device in words.

    Raises `ReportError` where the results cannot be read, `OSError` where the output cannot be written.
    """
    results = read(results_folder)
    if not results.speed:
        raise ReportError(f"{results_folder}: no speed.json; run `python -m benchmarks speed SUITE` first")
    document = _rounded(load(results_folder / "speed.json"), machine)
    output.mkdir(parents=True, exist_ok=True)
    kept = json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace('{"device"', '\n{"device"')
    (output / "speed.json").write_text(kept + "\n", encoding="utf-8")
    found = matrix(replace(results, speed=tuple(document["conditions"])))
    path = output / "speed.md"
    title = f"# Inference speed: {text(results.suite.title, 120)}\n"
    path.write_text("\n".join([title, *markdown(found, document)]) + "\n", encoding="utf-8")
    return path


def _rounded(document: dict[str, Any], machine: str | None) -> dict[str, Any]:
    conditions = []
    for condition in document["conditions"]:
        kept = {key: value for key, value in condition.items() if key != "ratios"}
        for side in ("predecessor_seconds", "successor_seconds"):
            kept[side] = [round(value, 7) for value in condition.get(side) or []]
        conditions.append(kept | ({"device_name": machine} if machine else {}))
    return document | {"conditions": conditions}


def markdown(found: Matrix, document: Mapping[str, Any]) -> list[str]:
    """The lines below the title."""
    lines = _weights(document)
    if found.incomplete:
        lines += ["The measurement was interrupted: conditions are missing.", ""]
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
    return lines[:-1]


def _weights(document: Mapping[str, Any]) -> list[str]:
    weights = document.get("weights")
    parts = weights.items() if isinstance(weights, Mapping) else ()
    told = "; ".join(f"{text(side, 40)}: {text(value, 80)}" for side, value in parts)
    return [
        "Ratios are medians over rounds with 95 % bootstrap intervals; times are p50 · p90 · p99 in milliseconds per",
        "batch; memory is weights plus one call's peak, predecessor · successor. A bracketed ratio is undecided: its",
        "interval is too wide, or too few rounds fitted into the time. Over eager: the eager predecessor's time",
        "over this successor's.",
        "",
        *([f"Weights: {told}.", ""] if told else []),
    ]  # fmt: skip


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


def _score(score: Any) -> str:
    if score.score:
        return f"{score.model}: {score.score}, eager {score.eager}, drop {score.drop}, {score.examples} examples"
    return f"{score.model}: none, {score.reason}"
