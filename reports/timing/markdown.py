"""A copy of a suite's speed.json to keep, with its tables as Markdown beside it.

    publish(Path("results/runs/minilm"), Path("results/speed/minilm-cpu"), "2 cores of a shared AMD EPYC")

Seconds are kept to 0.1 microseconds. The ratios of rounds are left out, because they are quotients of the seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jinja2 import Template

from reports.timing.matrix import IN_WORDS, matrix
from results.format import layout
from results.format.documents.codec import LEFT_OUT, document
from results.format.documents.speed import Condition
from results.format.errors import ReportError
from results.format.reader import read
from results.format.untrusted import text

TEMPLATE = Path(__file__).resolve().parents[1] / "templates" / "speed.md.j2"


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
    weights = results.timing.weights if isinstance(results.timing.weights, Mapping) else {}
    page = Template(TEMPLATE.read_text(encoding="utf-8"), trim_blocks=True).render(
        title=text(results.suite.title, 120),
        weights=[f"{text(side, 40)}: {text(value, 80)}" for side, value in weights.items()],
        found=matrix(results),
        **IN_WORDS,
    )
    path.write_text(page.rstrip() + "\n", encoding="utf-8")
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
