"""gpu.json: the document before the first measurement, how each result is entered, and gpu.md, its page for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template

from benchmarks.gpu.cases import PAPER, Case, Cell, Item, Scale
from benchmarks.gpu.projection import KEY, NotMeasured, project
from benchmarks.tasks.lengths import load

Document = dict[str, Any]
MEASURES = ("seconds", "examples", "operations")
MEMORY = ("allocated_bytes", "reserved_bytes", "device_bytes")
PAGE = Path(__file__).with_name("page.md.j2")
COUNTED = (
    "Training is steps x the measured step; evaluation is the suite's number of evaluations x dev examples, padded "
    "batches of 64 in the order of length; predecessor outputs are one pass over the training set per predecessor. "
    "Loading, tokenising, scoring and saving are not in it, nor are the suite's LayerDrop and the two checkpoints "
    "compressed in pre-training."
)


def begun(scale: Scale, minutes: float, dry: bool) -> Document:
    """The document before the first measurement."""
    return {
        "schema": 1, "dry": dry, "device": {}, "minutes": minutes, "repeats": scale.repeats,
        "shape": {**scale.shape, "successor_layers": scale.successor},
        "settings": {**scale.place().model_dump(exclude={"precision"}), "cudnn_attention": False, "mps": False,
                     "batch_size": scale.batch_size, "length_groups": PAPER.training.length_groups,
                     "compile_backend": scale.backend, "window_seconds": scale.window},
        "lengths": {name: {"split": entry.split, "examples": entry.examples, "mean": round(entry.mean, 2)}
                    for name, entry in load().items()},
        "matmul": [], "cases": [], "inference": [], "determinism": [], "skipped": [],
    }  # fmt: skip


def enter(document: Document, item: Item, result: dict[str, Any]) -> None:
    """Add the result of one measurement, or the reason why there is none."""
    kind = item.kind.partition("-")[0]
    if result["status"] == "skipped":
        document["skipped"].append({"title": str(item), "reason": result["reason"]})
    if item.case is None:
        document["matmul"] = result.get("rates", [])
        document["matmul_reason"] = result.get("reason")
    elif isinstance(item.case, Cell) or kind == "determinism":
        document[kind].append({**asdict(item.case), **result})
    else:
        document["cases"].append({"kind": kind, **asdict(item.case), **result})


def summarised(
    windows: Sequence[Document], case: Case, shares: dict[str, float], matmul: Sequence[Document]
) -> Document:
    """Combine the windows of a case's runs: means per step by task and over the mix, and rates of all runs together."""
    tasks: dict[str, dict[str, float]] = {}
    for name in shares:
        steps, *sums = sum(window["tasks"][name] for window in windows).tolist()
        if steps:
            tasks[name] = {of: value / steps for of, value in zip(MEASURES, sums, strict=True)} | {"steps": int(steps)}
    weights = {name: 1.0 if case.is_pass else shares[name] for name in tasks}
    mix = {of: sum(weights[name] * tasks[name][of] for name in tasks) / sum(weights.values()) for of in MEASURES}
    per_second = case.runs / mix["seconds"]
    rate = per_second * mix["operations"]
    return {
        "steps": sum(entry["steps"] for entry in tasks.values()), "steps_per_second": per_second,
        "examples_per_second": per_second * mix["examples"], "operations_per_second": rate,
        "share_of_bf16": _share(rate, matmul, "bfloat16"), "share_of_own": _share(rate, matmul, case.precision),
        **{name: max((window["memory"][name] for window in windows if window["memory"]), default=None)
           for name in MEMORY},
        "finite": all(window["finite"] for window in windows), "mix": mix, "tasks": tasks,
    }  # fmt: skip


def _share(rate: float, matmul: Sequence[Document], precision: str) -> float | None:
    """Share of the highest matmul rate in that precision, if it was measured."""
    return rate / max(known) if (known := [e["rate"] for e in matmul if e["precision"] == precision]) else None


def projections(document: Document, scale: Scale) -> Document:
    """Table 2 at every measured precision and number of runs, and the cheapest of each precision."""
    known = [case for case in document["cases"] if case["status"] == "done" and case["deterministic"]]
    done = {tuple(case[name] for name in KEY): case for case in known}
    found, reasons = [], []
    for precision, runs, compiled in product(scale.precisions, sorted(scale.runs), (False, True)):
        try:
            found.append(project(PAPER, done, precision, runs, compiled))
        except NotMeasured as missing:
            reasons.append(f"not measured: {missing}")
    cheapest = sorted(found, key=lambda entry: float(entry["device_hours"]), reverse=True)
    best = {entry["precision"]: entry for entry in cheapest}
    return {"seeds": len(PAPER.seeds), "suite_precision": PAPER.device.precision, "counted": COUNTED, "all": found,
            "best": best, "reason": None if found else reasons[0]}  # fmt: skip


def render(document: Document) -> str:
    """gpu.md."""
    text = PAGE.read_text(encoding="utf-8")
    template = Template(
        text, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    return template.render(document)
