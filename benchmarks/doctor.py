"""What this machine can run: device, precision, threads, which data and encoders are at hand, and whether training
repeats itself.

Every method trains a small random encoder for a few steps twice, in every precision, compared bit for bit
(`benchmarks.probe`): where that differs, no number of this machine can be expected to repeat.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import torch

import baselines
from benchmarks import device as devices
from benchmarks.calibration import throughput
from benchmarks.data import find_source, load_splits
from benchmarks.encoder import find_encoder
from benchmarks.errors import SuiteError
from benchmarks.probe import looked_at, plainly
from benchmarks.settings import Data, Device
from benchmarks.suite import available, load_suite
from benchmarks.tasks import GLUE
from benchmarks.workers import best_workers, keep_throughput, possible_workers

PROBE_SHAPE = {"vocab_size": 200, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128,
               "max_position_embeddings": 64}  # fmt: skip
# What the workers are measured on: the demo's encoder and MiniLM's.
SMALL_SHAPE = {"vocab_size": 1000, "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512,
               "max_position_embeddings": 128}  # fmt: skip
MINILM_SHAPE = {"vocab_size": 30522, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536,
                "max_position_embeddings": 512}  # fmt: skip
Precision = Literal["float32", "bfloat16"]


def _probed(device: Literal["cpu", "cuda"], precision: Precision) -> str | None:
    """The first method that does not repeat itself with its own options, and where; None if all do."""
    settings = devices.resolve(Device(device=device, precision=precision, threads=torch.get_num_threads()))
    kinds = [plainly(name) for name in baselines.names()]
    found = dict(zip(kinds, looked_at(kinds, PROBE_SHAPE, settings), strict=True))
    return next((f"{kind.method}: {first}" for kind, first in found.items() if first), None)


def _data() -> dict[str, str]:
    found = {}
    for task in GLUE:
        try:
            source = find_source(task, Data())
            load_splits(source)
            found[task.name] = "complete"
        except SuiteError as error:
            found[task.name] = str(error)
    return found


def _encoders() -> dict[str, str]:
    found = {}
    for name in available():
        try:
            source = find_encoder(load_suite(name).encoder)
            found[name] = f"{source.name}: " + ("from the hub, not fetched yet" if source.revision else source.location)
        except SuiteError as error:
            found[name] = str(error)
    return found


def examine() -> dict[str, Any]:
    """Everything the doctor knows, as plain data."""
    cuda = torch.cuda.is_available()
    device: Literal["cpu", "cuda"] = "cuda" if cuda else "cpu"
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    differs = {precision: _probed(device, precision) for precision in precisions}
    return {
        "device": device,
        "device_name": devices.device_name(Device(device=device)),
        "device_class": devices.device_class(Device(device=device)),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "glue_dir": os.environ.get("GLUE_DIR"),
        "data": _data(),
        "encoder_dir": os.environ.get("ENCODER_DIR"),
        "encoders": _encoders(),
        "determinism": {"bit_equal": not any(differs.values()), "first_difference": differs},
        "workers": _workers(device),
    }


def _workers(device: Literal["cpu", "cuda"]) -> dict[str, Any]:
    """Steps a second by number of workers that share the device, measured now and kept: what `run` takes by default."""
    found: dict[str, Any] = {}
    for precision, shape in (("float32", SMALL_SHAPE), ("bfloat16", MINILM_SHAPE)):
        settings = Device(device=device).model_copy(update={"precision": precision})
        rates = {count: throughput(shape, settings, count) for count in possible_workers(settings)}
        keep_throughput(settings, rates)
        found[precision] = {"steps_per_second": rates, "chosen": best_workers(rates)}
    return found


def show(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"device       {found['device']}: {found['device_name']} ({found['device_class']}), {found['cores']} usable",
        f"torch        {found['torch']}",
        f"GLUE_DIR     {found['glue_dir'] or 'not set'}",
        *(f"  {task:<11}{state}" for task, state in found["data"].items()),
        f"ENCODER_DIR  {found['encoder_dir'] or 'not set'}",
        *(f"  {suite:<11}{state}" for suite, state in found["encoders"].items()),
    ]
    for precision, name in found["determinism"]["first_difference"].items():
        verdict = "bit-equal when repeated" if name is None else f"NOT repeatable, first at {name}"
        lines.append(f"determinism  {precision}: {verdict}")
    for precision, measured in found["workers"].items():
        rates = ", ".join(f"{count}: {rate:.3g}" for count, rate in measured["steps_per_second"].items())
        lines.append(f"workers      {precision}: {measured['chosen']} at once (steps a second with {rates})")
    return "\n".join(lines)
