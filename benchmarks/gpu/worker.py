"""The functions that `benchmarks.gpu` calls in a worker process: build one case, and time it.

    prepare(number, scale, case, ...)     builds the case and runs it until it is warm
    window(number, start, seconds)        repeats it from `start` on

`start` is a time in the near future, the same for all workers, so that they begin together. A barrier would leave them
waiting if one worker fails. A worker holds one case at a time.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import os
import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.gpu.cases import VARIANTS, Case, Cell, Scale
from benchmarks.gpu.document import MEMORY
from benchmarks.gpu.models import TASKS, Timed, built, compile_layers, random_model
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.preflight.step_timer import matmul_rate
from benchmarks.speed.variants import Runner, Workshop, compare
from benchmarks.suites.speed import Speed
from results.format.documents.codec import plain
from theseus import keep_layers

_open = contextlib.ExitStack()  # closes what is held
_held: tuple[object, Any] = (None, None)  # what it was made for, and the value


def drop(_: int = 0) -> None:
    """Free the value that is held."""
    global _held
    _held = (None, None)
    _open.close()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _hold(key: object, made: AbstractContextManager[Any]) -> Any:
    global _held
    if key != _held[0]:
        drop()
        _held = (key, _open.enter_context(made))
    return _held[1]


def info(_: int, device: str) -> dict[str, Any]:
    """The device in words, and the versions. This is the first call to every worker."""
    gc.freeze()  # collections between cases skip the imported modules
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "CUDA": torch.version.cuda,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if device == "cuda" else None,
        "name": devices.device_name(Device.model_construct(device=device)),
    }


def matmul(_: int, scale: Scale) -> list[dict[str, Any]]:
    """Operations per second of (2048, h) x (h, 4 h), for the h of a layer and for a large one."""
    rates = []
    for kind in ("float32", "bfloat16", "tf32") if scale.device == "cuda" else ("float32", "bfloat16"):
        precision = "bfloat16" if kind == "bfloat16" else "float32"
        devices.apply(place := scale.place(precision=precision, tf32=kind == "tf32"))
        for name, hidden in (("large", scale.large), ("layer", scale.shape["hidden_size"])):
            rate = matmul_rate(place, hidden, scale.matmul)
            rates.append({"precision": kind, "shape": name, "size": [2048, hidden, 4 * hidden], "rate": rate})
    return rates


def prepare(number: int, scale: Scale, case: Case, seconds: float, steps: int) -> None:
    """Build the case, and run it for at least `seconds` and `steps`."""
    timed: Timed = _hold(case, built(scale, case, number))
    devices.reset_peak_memory(timed.place)  # the memory for building is not the run's
    started, count = time.monotonic(), 0
    while count < steps or time.monotonic() - started < seconds:
        timed.run(count)
        count += 1
    devices.synchronise(timed.place.device)


def window(_: int, start: float, seconds: float) -> dict[str, Any]:
    """Repeat the prepared case from `start` for `seconds`; returns peak memory, and for each task the number of steps
    with their sums of `document.MEASURES`."""
    timed: Timed = _held[1]
    time.sleep(max(0.0, start - time.monotonic()))
    begun, marks = time.monotonic(), [_mark(timed.place)]
    while len(marks) < 3 or time.monotonic() - begun < seconds:
        last = timed.run(len(marks) - 1)
        marks.append(_mark(timed.place))
    devices.synchronise(timed.place.device)
    spans = [_between(*pair) for pair in pairwise(marks)]
    tasks = {name: np.zeros(4) for name in TASKS}
    for (task, examples, operations), span in zip(cycle(timed.work), spans, strict=False):
        tasks[task] += (1, span, examples, operations)
    return {"tasks": tasks, "memory": _memory(timed.place), "finite": bool(torch.isfinite(last).all())}


def _mark(place: Device) -> Any:
    """A mark at the end of the work so far, on the device's own clock; it does not wait for the device."""
    if place.device != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(first: Any, last: Any) -> float:
    """Seconds between two marks, after the work is done."""
    return float(last - first if isinstance(first, float) else first.elapsed_time(last) / 1000)


def _memory(place: Device) -> dict[str, int | None]:
    """Bytes by the names of `document.MEMORY`, on a GPU only."""
    if place.device != "cuda":
        return {}
    free, whole = torch.cuda.mem_get_info()
    values = (devices.peak_memory(place), torch.cuda.max_memory_reserved(), whole - free)
    return dict(zip(MEMORY, values, strict=True))


def fingerprint(_: int, scale: Scale, case: Case) -> str:
    """A hash of the weights after `scale.repeats` steps, the same steps in every worker."""
    timed: Timed = _hold("fingerprint", built(scale, case, seed=0))
    for step in range(scale.repeats):
        timed.run(step)
    digest = hashlib.sha256()
    for parameter in timed.model.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    drop()
    return digest.hexdigest()[:16]


@contextmanager
def _pair(scale: Scale, variant: str) -> Iterator[tuple[Runner, dict[str, Runner]]]:
    """The predecessor in eager float32, and both models in one variant."""
    shop, place = Workshop(Path(), types=False), scale.place(precision="float32", deterministic=False)
    devices.apply(place)
    whole = random_model(scale, scale.layers, place)
    models = {"predecessor": copy.deepcopy(whole), "successor": keep_layers(whole, range(scale.successor))}
    for model in models.values() if variant.startswith("compiled") else ():
        compile_layers(model, scale.backend)
    own = "eager" if VARIANTS[variant] == "float32" else "bfloat16"
    yield shop.build("eager", whole, "", place), {s: shop.build(own, models[s], s, place) for s in models}


def inference(_: int, scale: Scale, cell: Cell) -> dict[str, Any]:
    """Time both models on one full batch, in paired rounds as in `benchmarks.speed`."""
    from benchmarks.speed.timing import time_variants  # scipy takes a second to load, and other workers do not need it

    eager, sides = _hold(cell.variant, _pair(scale, cell.variant))
    ids = torch.randint(5, scale.shape["vocab_size"], (cell.batch_size, cell.length))
    inputs = {"input_ids": ids.to(scale.device), "attention_mask": torch.ones_like(ids).to(scale.device)}
    outputs = list(sides["successor"].call(inputs).shape)  # the first call, which compiles
    beside = compare(eager, sides["predecessor"], [inputs])
    speed = Speed(min_rounds=10, max_rounds=80, max_seconds=scale.inference)
    calls = {cell.variant: {side: runner.call for side, runner in sides.items()}}
    timed = time_variants(calls, [inputs], speed, scale.device)[cell.variant]
    names = ("rounds", "ratio", "ratio_low", "ratio_high", "decided")
    limits = {"largest_logit": beside.largest_logit, "max_abs_difference": beside.max_abs_difference}
    latencies = {f"{side}_seconds": plain(getattr(timed, side)) for side in sides}
    return {**{name: getattr(timed, name) for name in names}, **latencies, "outputs": outputs, **limits}
