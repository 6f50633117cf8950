"""Measure training and inference on a CUDA machine in eight minutes, as one JSON and one Markdown file.

    python -m benchmarks.gpu --output DIR [--minutes 8] [--dry]

It needs a checkout, torch, transformers and the wheels that `make gpu-wheels` downloads, but neither data nor encoder.
docs/performance.md describes the measurements. Those that do not fit into the minutes are left out and named; one that
fails becomes a row with the reason. `--dry` runs the same path on a CPU with a tiny shape.

Writes DIR/gpu.json and DIR/gpu.md. Bad input gives one line and exit code 2.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.base.errors import BAD_INPUT, DONE, FAILED
from benchmarks.gpu import document as documents
from benchmarks.gpu.cases import DEVICE, DRY, PAPER, Case, Cell, Item, Scale, plan
from benchmarks.gpu.pool import Failed, Workers, process
from benchmarks.gpu.projection import shares, work_of

START = 120.0  # seconds that workers may take to start
RESERVE = 6.0  # seconds at the end, to stop the workers and write
SLACK = 3  # a measurement that takes this many times its estimate is ended


class Bench:
    """Works through the plan until the time is over; `document` is gpu.json."""

    def __init__(self, scale: Scale, seconds: float, dry: bool, workers: Workers | None = None) -> None:
        self.scale, self.started = scale, time.monotonic()
        self.deadline = self.started + seconds - RESERVE
        self.shares, self.took = shares(work_of(PAPER)), dict[str, float]()
        self.workers = workers or Workers(partial(process, scale.place()))
        self.document = documents.begun(scale, seconds / 60, dry)

    def run(self) -> dict[str, Any]:
        """Run all measurements. Raises `Failed` if the workers do not start."""
        try:
            self.document["device"] = self._start()
            for item in plan(self.scale, PAPER.training.length_groups):
                documents.enter(self.document, item, self._result(item))
        finally:
            self.workers.end(patience=3.0)
        self.document["projection"] = documents.projections(self.document, self.scale)
        self.document["seconds"] = time.monotonic() - self.started
        return self.document

    def _left(self) -> float:
        return self.deadline - time.monotonic()

    def _start(self) -> dict[str, Any]:
        until = time.monotonic() + min(START, self._left())
        found: dict[str, Any] = self.workers.ask(max(self.scale.runs), until, "info", self.scale.device)[0]
        return found

    def _result(self, item: Item) -> dict[str, Any]:
        """The result of one measurement, or the reason why there is none."""
        expected, left = self.took.get(item.kind, item.seconds), self._left()
        if expected > left:
            reason = f"no time left: it takes about {expected:.0f} s, {max(0.0, left):.0f} s remain"
            return {"status": "skipped", "reason": reason}
        begun = time.monotonic()
        try:
            result = {"status": "done", **self._measure(item, begun + min(left, SLACK * max(expected, item.seconds)))}
            self.took[item.kind] = time.monotonic() - begun
        except Failed as failed:
            result = {"status": "failed", "reason": str(failed)}
            with contextlib.suppress(Failed):  # starts lost workers again before the next measurement
                self._start()
        print(f"{time.monotonic() - self.started:5.0f} s  {item}: {_said(result)}", file=sys.stderr, flush=True)
        return result

    def _measure(self, item: Item, until: float) -> dict[str, Any]:
        ask, scale = self.workers.ask, self.scale
        if item.case is None:
            return {"rates": ask(1, until, "matmul", scale)[0]}
        if isinstance(item.case, Cell):
            return dict(ask(1, until, "inference", scale, item.case)[0])
        return self._bits(item.case, until) if item.kind == "determinism" else self._window(item.case, until)

    def _window(self, case: Case, until: float) -> dict[str, Any]:
        ask, scale = self.workers.ask, self.scale
        if case.compiled and case.runs > 1:  # the first run writes the cache of compiled code for the others
            ask(1, until, "prepare", scale, case, 0.0, 2)
        ask(case.runs, until, "prepare", scale, case, scale.warm, scale.warm_steps * (4 if case.compiled else 1))
        found = ask(case.runs, until, "window", time.monotonic() + scale.lead, scale.window)
        ask(case.runs, until, "drop")
        return documents.summarised(found, case, self.shares, self.document["matmul"])

    def _bits(self, case: Case, until: float) -> dict[str, Any]:
        """Hashes of the weights after some steps: of one run, of a repeat, and of runs at the same time."""
        hashes = [self.workers.ask(runs, until, "fingerprint", self.scale, case) for runs in (1, 1, case.runs)]
        first, again, *beside = itertools.chain(*hashes)
        return {"repeated": first == again, "beside": set(beside) == {first}, "hashes": [first, again, *beside]}


def _said(result: dict[str, Any]) -> str:
    """The main number of a result, or the reason why there is none."""
    words = {
        "steps_per_second": "{:.1f} steps/s",
        "ratio": "{:.2f} times",
        "beside": "same bits beside another: {}",
        "reason": "failed: {}",
    }
    return next((text.format(result[name]) for name, text in words.items() if result.get(name) is not None), "done")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--dry", action="store_true", help="a tiny shape on a CPU")
    given = parser.parse_args(arguments)
    reason = None
    if not given.dry and not torch.cuda.is_available():
        reason = "torch sees no CUDA device here: use another machine, or --dry"
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
    (given.output / "gpu.md").write_text(documents.render(document), encoding="utf-8")
    print(given.output / "gpu.md")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
