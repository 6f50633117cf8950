"""Random models and sentences of a given shape, and the time of an optimizer step or a matrix product on them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import torch

from baselines.method import Given, Method
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.models.loading import load_pretrained
from benchmarks.models.source import EncoderSource
from benchmarks.tasks import kinds
from benchmarks.tasks.table import Task
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.fit import Fit
from benchmarks.training.settings import Training
from benchmarks.training.step import stepping

REPEATS = 4


def made_up(kind: str = kinds.CLASSIFICATION, regression: bool = False) -> Task:
    """A task of two classes, or of values."""
    return Task("made-up", "Made up", ("text",), "accuracy", 0, {}, () if regression else ("no", "yes"), kind=kind)


TWO_CLASSES = made_up()


def model_of(shape: dict[str, int], layers: int, device: Device, task: Task = TWO_CLASSES) -> Any:
    """A model for `task` of that shape and depth with random weights."""
    sizes = tuple(sorted({**shape, "num_hidden_layers": layers}.items()))
    source = EncoderSource("random", "random", None, "random", layers, sizes)
    return load_pretrained(source, task, 0, device.attention)


def tokens_of(lengths: torch.Tensor, vocabulary: int, kind: str = kinds.CLASSIFICATION) -> Tokens:
    """A split of random words in sentences of these `lengths` (examples,), with random labels of two classes."""
    generator = torch.Generator().manual_seed(0)
    examples = len(lengths)
    return Tokens(
        ids=torch.randint(0, vocabulary, (int(lengths.sum()),), generator=generator, dtype=torch.int32),
        types=None,
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        labels=kinds.find(kind).made_up_labels(lengths, generator),
        idx=torch.arange(examples),
        pad_id=0,
        kind=kind,
    )


def step_seconds(
    shape: dict[str, int], device: Device, layers: int, lengths: torch.Tensor, method: Method, repeats: int = REPEATS
) -> float:
    """The median time of an optimizer step of `method` on a batch of sentences of these `lengths` (examples,)."""

    def build() -> Any:
        return model_of(shape, layers + 1, device)

    model = method.build(Given(build, build, layers, 0, 10**6)).to(device.device).train()
    tokens = tokens_of(lengths, shape["vocab_size"])
    rows = torch.arange(len(lengths))
    with stepping(Fit(method, model, tokens, {}, Training(), 0, device, total=10**6)) as step:
        turns = count()
        return median_seconds(lambda: step(next(turns), rows), device, repeats)


def median_seconds(work: Callable[[], object], device: Device, repeats: int = REPEATS) -> float:
    """The median time of `repeats` calls after one to warm up."""
    found = []
    for turn in range(repeats + 1):
        devices.synchronise(device.device)
        started = time.perf_counter()
        work()
        devices.synchronise(device.device)
        if turn:
            found.append(time.perf_counter() - started)
    return statistics.median(found)


def matmul_rate(device: Device, hidden: int, seconds: float = 0.3) -> float:
    """Operations per second of (2048, h) x (h, 4 h) in the suite's precision, measured for about `seconds`."""
    left, right = torch.randn(2048, hidden, device=device.device), torch.randn(hidden, 4 * hidden, device=device.device)
    if device.precision == "bfloat16":
        left, right = left.bfloat16(), right.bfloat16()
    with torch.inference_mode():
        for _ in range(3):
            left @ right
        devices.synchronise(device.device)
        started, done, passed = time.perf_counter(), 0, 0.0
        while passed <= seconds:
            for _ in range(5):
                left @ right
            devices.synchronise(device.device)
            done, passed = done + 5, time.perf_counter() - started
    return done * 2 * 2048 * hidden * 4 * hidden / passed
