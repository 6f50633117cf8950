"""What a CUDA machine makes of this project in under eight minutes, in one JSON and one Markdown table.

    python -m benchmarks.gpu --output DIR [--minutes 8] [--dry]

It needs a checkout, torch and transformers; neither data nor encoder, whose lengths (benchmarks/lengths.json) and
shape (BERT-base, random weights) are what times depend on. Measured, the most important first: the matmul rate; a
step of each method with 1, 4, 8 and 2 runs on the device at once, in bfloat16 and in float32, and from it the
device-hours of Table 2; length groups; whether bits repeat; the inference matrix; compiled layers. What does not fit
into the minutes is left out and named, and a measurement that fails is a row that says why. `--dry` runs the same path
on a CPU with a tiny shape.

Writes DIR/gpu.json and DIR/gpu.md. Exit code 2 for bad input, with one line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.errors import BAD_INPUT, DONE, FAILED
from benchmarks.gpu_cases import DEVICE, DRY, EVALUATION_BATCH, PASSES, Case, Item, Scale, plan
from benchmarks.gpu_markdown import render
from benchmarks.gpu_pool import Failed, Pool
from benchmarks.gpu_projection import NotMeasured, Table, project, read_table
from benchmarks.lengths import load

RESERVE = 6.0  # seconds at the end, to stop the workers and write
SLACK = 3  # times what a measurement is thought to take, before it is called stuck
COUNTED = (
    "Training is steps x the measured step; evaluation is the suite's number of evaluations x dev examples, padded "
    "batches of 64 in the order of length; predecessor outputs are one pass over the training set per predecessor. "
    "Loading, tokenising, scoring and saving are not in it, nor are the suite's LayerDrop and the two checkpoints "
    "compressed in pre-training."
)


class Bench:
    """Works through the plan until the time is up; `document` is gpu.json."""

    def __init__(self, scale: Scale, seconds: float, dry: bool) -> None:
        self.scale, self.started = scale, time.monotonic()
        self.deadline = self.started + seconds - RESERVE
        self.table: Table = read_table()
        self.took: dict[str, float] = {}
        self.pool = Pool(scale, self.table.shares)
        self.document: dict[str, Any] = {
            "schema": 1, "dry": dry, "device": {}, "shape": asdict(scale.shape), "minutes": seconds / 60,
            "settings": {"tf32": False, "deterministic": True, "cudnn_attention": False, "mps": False, "threads": 1,
                         "batch_size": scale.batch_size,
                         "compile_backend": scale.backend, "evaluation_batch_size": EVALUATION_BATCH,
                         "length_groups": self.table.length_groups, "window_seconds": scale.window},
            "lengths": {name: {"split": entry.split, "examples": entry.examples, "mean": round(entry.mean, 2)}
                        for name, entry in load().items()},
            "repeats": scale.repeats, "matmul": [], "cases": [], "inference": [], "determinism": [], "skipped": [],
        }  # fmt: skip

    @property
    def left(self) -> float:
        """Seconds until the plan must end."""
        return self.deadline - time.monotonic()

    def run(self) -> dict[str, Any]:
        """All of it. Raises `Failed` where not even the workers start."""
        try:
            everyone = self.pool.ask(range(self.scale.workers), "info", min(self.scale.start, max(1.0, self.left)))
            self.document["device"] = everyone[0]
            for item in plan(self.scale, self.table.length_groups):
                self._try(item)
        finally:
            self.pool.close()
        self.document["projection"] = self._projections()
        self.document["seconds"] = time.monotonic() - self.started
        return self.document

    def _try(self, item: Item) -> None:
        expected = self.took.get(item.kind, item.seconds)
        if expected > self.left:
            reason = f"no time left: it takes about {expected:.0f} s, {max(0.0, self.left):.0f} s remain"
            self.document["skipped"].append({"title": item.title, "reason": reason})
            self._record(item, {"status": "skipped", "reason": reason})
            return
        begun = time.monotonic()
        until = begun + min(self.left, SLACK * max(expected, item.seconds))
        try:
            result = {"status": "done", **self._measure(item, until)}
        except Failed as failed:
            result = {"status": "failed", "reason": str(failed)}
            with contextlib.suppress(Failed):  # whoever is gone is back before the next measurement
                self._ask(self.scale.workers, "info", time.monotonic() + min(self.scale.start, self.left))
        seconds = time.monotonic() - begun
        if result["status"] == "done":
            self.took[item.kind] = seconds
        self._record(item, result)
        print(f"{time.monotonic() - self.started:5.0f} s  {item.title}: {_said(result)}", file=sys.stderr, flush=True)

    def _record(self, item: Item, result: dict[str, Any]) -> None:
        kind = item.kind.partition("-")[0]
        if kind == "inference":
            where = {"variant": item.variant, "batch_size": item.batch, "length": item.length}
            self.document["inference"].append({**where, **result})
        elif kind == "determinism":
            assert item.case is not None
            self.document["determinism"].append({**item.case.document(), **result})
        elif item.case is not None:
            self.document["cases"].append({"kind": kind, **item.case.document(), **result})
        elif result["status"] == "done":
            self.document["matmul"] = result["rates"]
        else:
            self.document["matmul_reason"] = result["reason"]

    def _ask(self, workers: int, name: str, until: float, **arguments: Any) -> list[Any]:
        """The first `workers` workers' answers, by `until` (monotonic clock)."""
        return self.pool.ask(range(workers), name, max(1.0, until - time.monotonic()), **arguments)

    def _measure(self, item: Item, until: float) -> dict[str, Any]:
        if item.kind == "matmul":
            return {"rates": self._ask(1, "matmul", until, seconds=self.scale.matmul)[0]}
        if item.case is None:
            found = self._ask(1, "inference", until, variant=item.variant, batch=item.batch, length=item.length,
                              seconds=self.scale.inference)  # fmt: skip
            return dict(found[0])
        if item.kind == "determinism":
            return self._bits(item.case, until)
        return self._window(item.case, until)

    def _window(self, case: Case, until: float) -> dict[str, Any]:
        scale = self.scale
        steps = scale.warm_steps * (4 if case.compiled else 1)
        if case.compiled and case.runs > 1:  # one writes the cache of compiled code that the others then read
            self._ask(1, "prepare", until, case=case, warm_seconds=0.0, warm_steps=2)
        self._ask(case.runs, "prepare", until, case=case, warm_seconds=scale.warm, warm_steps=steps)
        found = self._ask(case.runs, "window", until, start=time.monotonic() + scale.lead, seconds=scale.window)
        self._ask(case.runs, "drop", until)
        return summarise(found, case, self.table.shares, self.document["matmul"])

    def _bits(self, case: Case, until: float) -> dict[str, Any]:
        """The hash of the weights after some steps: once, again, and once more beside another run."""
        asked = {"case": case, "steps": self.scale.repeats}
        alone = [self._ask(1, "fingerprint", until, **asked)[0] for _ in range(2)]
        beside = self._ask(case.runs, "fingerprint", until, **asked)
        return {"repeated": alone[0] == alone[1], "beside": set(beside) == {alone[0]}, "hashes": [*alone, *beside]}

    def _projections(self) -> dict[str, Any]:
        done = {(case["name"], case["precision"], case["runs"], case["groups"], case["compiled"]): case
                for case in self.document["cases"] if case["status"] == "done" and case["deterministic"]}  # fmt: skip
        found, reason = [], "nothing was measured"
        for precision in self.scale.precisions:
            for runs in sorted(self.scale.runs):
                for compiled in (False, True):
                    try:
                        found.append(project(self.table, done, precision, runs, compiled))
                    except NotMeasured as missing:
                        reason = reason if compiled else f"not measured: {missing}"
        best: dict[str, Any] = {}
        for entry in sorted(found, key=lambda entry: entry["device_hours"], reverse=True):
            best[entry["precision"]] = entry
        return {"seeds": self.table.seeds, "suite_precision": self.table.precision, "counted": COUNTED,
                "all": found, "best": best, "reason": None if found else reason}  # fmt: skip


def summarise(
    windows: list[dict[str, Any]], case: Case, shares: dict[str, float], rates: list[dict[str, Any]]
) -> dict[str, Any]:
    """One entry of `cases` from the windows of its runs: means per step and task, and rates of all runs together."""
    tasks: dict[str, dict[str, float]] = {}
    for task in shares:
        steps = sum(window["tasks"][task]["steps"] for window in windows)
        if steps:
            tasks[task] = {name: sum(window["tasks"][task][name] for window in windows) / steps
                           for name in ("seconds", "examples", "operations")} | {"steps": steps}  # fmt: skip
    weights = {task: 1.0 if case.name in PASSES else shares[task] for task in tasks}
    mix = {name: sum(weights[task] * tasks[task][name] for task in tasks) / sum(weights.values())
           for name in ("seconds", "examples", "operations")}  # fmt: skip
    per_second = case.runs / mix["seconds"]
    rate = per_second * mix["operations"]
    best = {kind: max((entry["rate"] for entry in rates if entry["precision"] == kind), default=None)
            for kind in ("bfloat16", case.precision)}  # fmt: skip
    share = {kind: rate / value if value else None for kind, value in best.items()}
    return {
        "steps": sum(window["steps"] for window in windows), "steps_per_second": per_second,
        "examples_per_second": per_second * mix["examples"], "operations_per_second": rate,
        "share_of_bf16": share["bfloat16"], "share_of_own": share[case.precision],
        **{name: _most(window[name] for window in windows)
           for name in ("allocated_bytes", "reserved_bytes", "device_bytes")},
        "finite": all(window.get("finite", True) for window in windows), "mix": mix, "tasks": tasks,
    }  # fmt: skip


def _most(values: Any) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _said(result: dict[str, Any]) -> str:
    """The result of one measurement in a few words."""
    if result["status"] != "done":
        return f"{result['status']}: {result['reason']}"
    if "steps_per_second" in result:
        share = result["share_of_bf16"]
        return f"{result['steps_per_second']:.1f} steps/s" + (f", {share:.1%} of the bf16 rate" if share else "")
    if "ratio" in result:
        return f"{result['ratio']:.2f} times"
    return "done" if "repeated" not in result else f"same bits {result['repeated']}, beside {result['beside']}"


def _cuda_is_missing() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "torch sees no CUDA device here: use another machine, or --dry"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--dry", action="store_true", help="a tiny shape on a CPU")
    given = parser.parse_args(arguments)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # workers inherit it
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    reason = None if given.dry else _cuda_is_missing()
    if not 0 < given.minutes < math.inf:
        reason = f"--minutes {given.minutes:g}: give a number above 0"
    try:
        given.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"--output {given.output}: {error.strerror}"
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return BAD_INPUT
    try:
        document = Bench(DRY if given.dry else DEVICE, 60 * given.minutes, given.dry).run()
    except Failed as failed:
        print(f"error: no worker process could start: {failed}", file=sys.stderr)
        return FAILED
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    (given.output / "gpu.json").write_text(text, encoding="utf-8")
    (given.output / "gpu.md").write_text(render(document), encoding="utf-8")
    print(given.output / "gpu.md")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
