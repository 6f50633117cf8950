"""Describe this machine: device, precision, threads, data, encoders, and whether training is deterministic.

In each precision, every method trains a small random encoder twice for a few steps; the two must be bit-equal
(`benchmarks.preflight.determinism`). If they differ, expect no result of this machine to repeat.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import torch

import baselines
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.machine.workers import best_workers, keep_throughput, possible_workers
from benchmarks.models.encoder import find_encoder
from benchmarks.preflight.calibration import throughput
from benchmarks.preflight.cost import SHAPE
from benchmarks.preflight.determinism import default_kind, probe_in_worker
from benchmarks.suites.file import available
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.data import find_source, load_splits
from benchmarks.tasks.settings import Data
from benchmarks.tasks.table import GLUE, Task
from results.format.errors import UserError

PROBE_SHAPE = dict(zip(SHAPE, (200, 64, 4, 128, 64), strict=True))
# The number of workers is measured on the encoders of the demo and of MiniLM.
SMALL_SHAPE = dict(zip(SHAPE, (1000, 128, 4, 512, 128), strict=True))
MINILM_SHAPE = dict(zip(SHAPE, (30522, 384, 12, 1536, 512), strict=True))
Precision = Literal["float32", "bfloat16"]


def _probed(device: Literal["cpu", "cuda"], precision: Precision) -> str | None:
    """The first method that is not deterministic with its default options, and the first difference; or None. A run
    has one thread unless its suite says more; more of them than idle cores would make a probe ten times slower."""
    settings = devices.resolve(Device(device=device, precision=precision))
    kinds = [default_kind(name) for name in baselines.names()]
    firsts = probe_in_worker(kinds, PROBE_SHAPE, settings)
    return next((f"{kind.method}: {first}" for kind, first in zip(kinds, firsts, strict=True) if first), None)


def _data(task: Task) -> str:
    try:
        load_splits(find_source(task, Data()))
    except UserError as error:
        return str(error)
    return "complete"


def _encoder(suite: str) -> str:
    try:
        source = find_encoder(load_suite(suite).encoder)
    except UserError as error:
        return str(error)
    return f"{source.name}: " + ("from the hub, not fetched yet" if source.revision else source.location)


def examine() -> dict[str, Any]:
    """The whole description, as plain data."""
    cuda = torch.cuda.is_available()
    device: Literal["cpu", "cuda"] = "cuda" if cuda else "cpu"
    machine = devices.machine(Device(device=device))
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    differs = {precision: _probed(device, precision) for precision in precisions}
    return {
        "device": device,
        "device_name": machine.name,
        "device_class": machine.class_,
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "glue_dir": os.environ.get("GLUE_DIR"),
        "data": {task.name: _data(task) for task in GLUE},
        "encoder_dir": os.environ.get("ENCODER_DIR"),
        "encoders": {suite: _encoder(suite) for suite in available()},
        "determinism": {"bit_equal": not any(differs.values()), "first_difference": differs},
        "workers": _workers(device),
    }


def _workers(device: Literal["cpu", "cuda"]) -> dict[str, Any]:
    """Measure the steps a second by number of workers on the device. The result is cached, and `run` chooses its number
    of workers by it."""
    found: dict[str, Any] = {}
    for precision, shape in (("float32", SMALL_SHAPE), ("bfloat16", MINILM_SHAPE)):
        settings = Device(device=device).model_copy(update={"precision": precision})
        steps = {count: throughput(shape, settings, count) for count in possible_workers(settings)}
        keep_throughput(devices.machine(settings), steps)
        found[precision] = {"steps_per_second": steps, "chosen": best_workers(steps)}
    return found


def show(found: dict[str, Any]) -> str:
    """The description as text."""
    lines = [
        f"device       {found['device']}: {found['device_name']} ({found['device_class']}), {found['cores']} usable",
        f"torch        {found['torch']}",
        f"GLUE_DIR     {found['glue_dir'] or 'not set'}",
        *(f"  {task:<19}{state}" for task, state in found["data"].items()),
        f"ENCODER_DIR  {found['encoder_dir'] or 'not set'}",
        *(f"  {suite:<19}{state}" for suite, state in found["encoders"].items()),
    ]
    for precision, name in found["determinism"]["first_difference"].items():
        verdict = "bit-equal when repeated" if name is None else f"NOT repeatable, first at {name}"
        lines.append(f"determinism  {precision}: {verdict}")
    for precision, measured in found["workers"].items():
        steps = ", ".join(f"{count}: {speed:.3g}" for count, speed in measured["steps_per_second"].items())
        lines.append(f"workers      {precision}: {measured['chosen']} at once (steps a second with {steps})")
    return "\n".join(lines)
