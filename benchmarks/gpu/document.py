"""gpu.json: the document before the first measurement, and how each result is entered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from typing import Any

from benchmarks.gpu.cases import PAPER, Case, Cell, Item, Scale
from benchmarks.gpu.projection import KEY, NotMeasured, project
from benchmarks.tasks.lengths import load

Document = dict[str, Any]
MEASURES = ("seconds", "examples", "operations")
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
        done = [window["tasks"][name] for window in windows]
        if steps := sum(entry["steps"] for entry in done):
            tasks[name] = {of: sum(entry[of] for entry in done) / steps for of in MEASURES} | {"steps": steps}
    weights = {name: 1.0 if case.is_pass else shares[name] for name in tasks}
    mix = {of: sum(weights[name] * tasks[name][of] for name in tasks) / sum(weights.values()) for of in MEASURES}
    per_second = case.runs / mix["seconds"]
    rate = per_second * mix["operations"]
    shares_of = {}
    for kind in ("bfloat16", case.precision):
        best = max((entry["rate"] for entry in matmul if entry["precision"] == kind), default=None)
        shares_of[kind] = rate / best if best else None
    names = ("allocated_bytes", "reserved_bytes", "device_bytes")
    memory = {name: max(window[name] or 0 for window in windows) or None for name in names}
    return {
        "steps": sum(entry["steps"] for entry in tasks.values()), "steps_per_second": per_second,
        "examples_per_second": per_second * mix["examples"], "operations_per_second": rate,
        "share_of_bf16": shares_of["bfloat16"], "share_of_own": shares_of[case.precision], **memory,
        "finite": all(window["finite"] for window in windows), "mix": mix, "tasks": tasks,
    }  # fmt: skip


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
