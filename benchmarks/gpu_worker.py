"""A worker process of benchmarks/gpu.py: builds what it is told, warms it up, and times it from a common start on.

    parent: prepare(case)  ->  all workers answer  ->  window(start, seconds)  ->  all workers answer

The start is a reading of the system's monotonic clock a little ahead, the same for all workers, so that they begin
together without a barrier that one failed worker would leave the others waiting at. Whatever fails is answered with
one line; the worker goes on.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch

from benchmarks.gpu_batches import EXAMPLES, Split, cycle, layer_operations, make_split
from benchmarks.gpu_cases import EVALUATION_BATCH, PASSES, Case, Scale
from benchmarks.gpu_steps import PassStep, TrainingStep, apply_settings, random_outputs
from benchmarks.lengths import load

CYCLE = 64  # batches that a worker goes round in
SPAN = 16  # batches of a task that differ


class Step(Protocol):
    """What a window repeats."""

    def step(self, number: int, split: Split, rows: torch.Tensor) -> float: ...

    def close(self) -> None: ...


class Marks:
    """Points in time on the device's own clock, without waiting for it."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.points: list[Any] = []

    def add(self) -> None:
        """The end of the work given so far."""
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.points.append(event)
        else:
            self.points.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Between neighbouring points; all of the work must be done."""
        pairs = zip(self.points[:-1], self.points[1:], strict=True)
        return [first.elapsed_time(last) / 1000 if self.cuda else last - first for first, last in pairs]


class Worker:
    """The state of one worker process, and what it can be asked for by name."""

    def __init__(self, scale: Scale, shares: dict[str, float], number: int) -> None:
        self.device, self.shape, self.backend = scale.device, scale.shape, scale.backend
        self.shares, self.number = shares, number
        self.step: Step | None = None
        self.case: Case | None = None
        self.pair: Any = None
        self._splits: dict[str, dict[str, Split]] = {}

    def info(self) -> dict[str, Any]:
        """The device in words, and the versions."""
        import platform

        import transformers

        found = {"torch": torch.__version__, "transformers": transformers.__version__,
                 "python": platform.python_version(), "cores": os.cpu_count()}  # fmt: skip
        if self.device == "cuda":
            properties = torch.cuda.get_device_properties(0)
            return {**found, "name": properties.name, "memory_bytes": properties.total_memory,
                    "CUDA": torch.version.cuda, "devices": torch.cuda.device_count()}  # fmt: skip
        return {**found, "name": platform.processor() or platform.machine(), "memory_bytes": None}

    def splits(self, precision: str) -> dict[str, Split]:
        """A split of every task; predecessor outputs in the precision they would be kept in."""
        if precision not in self._splits:
            dtype = torch.float32 if precision == "float32" else torch.bfloat16
            outputs = random_outputs(self.shape, EXAMPLES, dtype)
            self._splits = {precision: {
                name: make_split(lengths, self.shape.vocabulary, outputs, seed)
                for seed, (name, lengths) in enumerate(load().items())
            }}  # fmt: skip
        return self._splits[precision]

    def prepare(self, case: Case, warm_seconds: float, warm_steps: int) -> float:
        """Build the case and run it until it is warm; seconds that took."""
        started = time.monotonic()
        self.drop()
        apply_settings(case.deterministic)
        self.case = case
        is_pass = case.name in PASSES
        kind = PassStep if is_pass else TrainingStep
        self.step = kind(case, self.shape, self.device, self.backend)
        self.batches = self._batches(case, is_pass)
        self._forget_peak()  # of the building: a run's model comes from the CPU, whole
        warming = time.monotonic()
        count = 0
        while count < warm_steps or time.monotonic() - warming < warm_seconds:
            task, rows, _ = self.batches[count % CYCLE]
            self.step.step(count, self.splits(case.precision)[task], rows)
            count += 1
        self._wait()
        return time.monotonic() - started

    def _batches(self, case: Case, is_pass: bool) -> list[tuple[str, torch.Tensor, float]]:
        """Task, rows and operations of one layer forward, for each batch of the cycle.

        Training batches are drawn at random; those of a pass are neighbours in the order of length.
        """
        shares = {name: 1.0 for name in self.shares} if is_pass else self.shares
        splits, taken, found = self.splits(case.precision), dict.fromkeys(shares, 0), []
        generator = torch.Generator().manual_seed(self.number)
        orders = {
            name: split.lengths.argsort() if is_pass else torch.randperm(EXAMPLES, generator=generator)
            for name, split in splits.items()
        }
        size = EVALUATION_BATCH if is_pass else case.batch_size
        parts = {name: order.split(size) for name, order in orders.items()}
        for task in cycle(shares, CYCLE, self.number):
            # 8 of a pass' batches stand for the whole order: every fourth, from the third on
            place = (4 * taken[task] + 2 if is_pass else taken[task]) % len(parts[task])
            rows = parts[task][place]
            taken[task] += 1
            found.append((task, rows, layer_operations(self.shape, splits[task].lengths[rows])))
        return found

    def window(self, start: float, seconds: float) -> dict[str, Any]:
        """Repeat the prepared step from `start` (monotonic clock) for `seconds`; steps, seconds, operations by task."""
        assert self.step is not None
        assert self.case is not None
        splits, done, marks = self.splits(self.case.precision), [], Marks(self.device)
        time.sleep(max(0.0, start - time.monotonic() - 0.001))
        while time.monotonic() < start:
            pass
        begun, count = time.monotonic(), 0
        marks.add()
        while count < 2 or time.monotonic() - begun < seconds:
            task, rows, operations = self.batches[count % CYCLE]
            units = self.step.step(count, splits[task], rows)
            marks.add()
            done.append((task, len(rows), units * operations))
            count += 1
        self._wait()
        wall = time.monotonic() - begun
        spans = marks.seconds()
        scale = wall / sum(spans)
        tasks = {name: {"steps": 0, "examples": 0, "seconds": 0.0, "operations": 0.0} for name in self.shares}
        for (task, examples, operations), span in zip(done, spans, strict=True):
            entry = tasks[task]
            entry["steps"] += 1
            entry["examples"] += examples
            entry["seconds"] += span * scale
            entry["operations"] += operations
        return {"steps": count, "seconds": wall, "tasks": tasks, **self._memory(), **self._finite()}

    def _memory(self) -> dict[str, int | None]:
        if self.device != "cuda":
            return {"allocated_bytes": None, "reserved_bytes": None, "device_bytes": None}
        free, whole = torch.cuda.mem_get_info()
        return {"allocated_bytes": torch.cuda.max_memory_allocated(), "device_bytes": whole - free,
                "reserved_bytes": torch.cuda.max_memory_reserved()}  # fmt: skip

    def _finite(self) -> dict[str, Any]:
        total = getattr(self.step, "total", None)
        return {} if total is None else {"finite": bool(torch.isfinite(total))}

    def drop(self) -> None:
        """Free what the last case held."""
        if self.step is not None:
            self.step.close()
        self.step = self.case = None
        self.batches = []
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _forget_peak(self) -> None:
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def matmul(self, seconds: float) -> list[dict[str, Any]]:
        """Rates of matrix products, see gpu_probes."""
        from benchmarks.gpu_probes import matmul_rates

        apply_settings(False)
        return matmul_rates(self.shape, self.device, seconds)

    def inference(self, variant: str, batch: int, length: int, seconds: float) -> dict[str, Any]:
        """One cell of the inference matrix, see gpu_probes."""
        from benchmarks.gpu_probes import Pair

        apply_settings(False)
        if self.pair is None or self.pair.variant != variant:
            self.drop()
            self.pair = None
            self.pair = Pair(variant, self.shape, self.device, self.backend)
        return self.pair.time(batch, length, seconds)

    def fingerprint(self, case: Case, steps: int) -> str:
        """A hash of all weights after some steps from the same start."""
        from benchmarks.gpu_probes import fingerprint

        self.drop()
        self.pair = None
        apply_settings(case.deterministic)
        step = TrainingStep(case, self.shape, self.device, self.backend)
        split = self.splits(case.precision)["rte"]
        for number in range(steps):
            step.step(number, split, torch.arange(number * 32, number * 32 + 32) % EXAMPLES)
        found = fingerprint(step.model)
        step.close()
        return found


def one_line(error: BaseException, limit: int = 300) -> str:
    """An error's kind and first words."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:limit]


def serve(connection: Connection, scale: Scale, shares: dict[str, float], number: int) -> None:
    """Answer (name, arguments) with (True, result) or (False, reason), until the parent hangs up."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts, or cuBLAS refuses determinism
    worker = Worker(scale, shares, number)
    gc.freeze()  # what was imported stays: a collection between cases need not look at it
    try:
        while True:
            name, arguments = connection.recv()
            ask: Callable[..., Any] = getattr(worker, name)
            try:
                connection.send((True, ask(**arguments)))
            except Exception as error:  # a row that says why; the other rows go on
                reason = one_line(error)
                error.__traceback__ = None  # or its frames keep what filled the memory
                del error
                _give_up(worker)
                connection.send((False, reason))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _give_up(worker: Worker) -> None:
    worker.pair = None
    try:
        worker.drop()
    except Exception:  # a broken context: the parent starts another worker
        worker.step = None
