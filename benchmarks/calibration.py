"""How fast this machine trains: steps of the shared loop, timed for some seconds and kept per machine.

Models of one to four layers of the encoder's width with random weights train on batches of equal length, and on one
that is cut into length groups. Their steps give what `plan` needs, because the time of a step is, to a few per cent,

    fixed + layers * (call + groups * group + tokens * (token + length * pair))

with `fixed` for embeddings, head and their optimizer (`fixed_frozen` where they do not train), `call` for a layer
whatever its input, `group` for what a length group adds, `token` for a layer's linear parts and `pair` for attention.
As many processes measure at once as will train at once, so what they take from each other (memory bandwidth, turbo
clocks, one GPU) is in it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch

from baselines import find
from baselines.method import Given, Method
from benchmarks import device as devices
from benchmarks.batches import Tokens
from benchmarks.cuts import padded
from benchmarks.encoder import EncoderSource
from benchmarks.evaluation import logits
from benchmarks.loading import load_pretrained
from benchmarks.rates import Rates
from benchmarks.settings import Device, Training
from benchmarks.stepping import stepping
from benchmarks.tasks import find_task
from benchmarks.workers import pool_of

# Whether embeddings and head are frozen, layers, tokens of a sentence (None: 8 to 96, in length groups). Far apart, so
# that the noise of a shared machine moves the rates little, and all of it twice, so that its drift does not either.
MEASURED = (
    (False, 1, 8), (False, 4, 8), (False, 1, 32), (False, 4, 32), (False, 1, 96), (False, 2, 96), (False, 2, None),
    (True, 1, 16), (True, 3, 16),
)  # fmt: skip
ROUNDS = 2
FROZEN: dict[str, Any] = {"source": "predecessor", "frozen": ["embeddings", "head"]}
REPEATS = 4


def measure_together(shape: dict[str, int], device: Device, batch_size: int, workers: int) -> Rates:
    """The mean of what `workers` processes measure side by side."""
    with pool_of(workers, device) as pool:
        found = list(pool.map(_measure, *zip(*[(shape, device, batch_size)] * workers, strict=True)))
    means: dict[str, float] = {name: statistics.fmean(one[name] for one in found) for name in found[0]}
    return Rates(**means, workers=workers)


def _measure(shape: dict[str, int], device: Device, batch_size: int) -> dict[str, float]:
    """The rates of this process, by name."""
    from scipy.optimize import nnls  # half a second that a plan at known rates need not wait for

    limit = shape.get("max_position_embeddings", 96)
    rows, seconds = [], []
    for frozen, layers, wanted in MEASURED * ROUNDS:
        longest = min(wanted or 96, limit)
        lengths = torch.linspace(longest if wanted else 8, longest, batch_size).round().long()
        groups, tokens, pairs = padded(lengths, Training().length_groups)
        rows.append([not frozen, frozen, layers, layers * groups, layers * tokens, layers * pairs])
        method = find("finetune")(**({"start": FROZEN} if frozen else {}))
        seconds.append(step_seconds(shape, device, layers, lengths, method, repeats=2))
    weights = 1.0 / np.array(seconds)  # relative errors count alike
    found = nnls(np.array(rows, dtype=float) * weights[:, None], np.ones(len(rows)))[0]
    names = ("fixed", "fixed_frozen", "call", "group", "token", "pair")
    return dict(zip(names, found.tolist(), strict=True)) | {
        "forward": _forward_seconds(shape, device, 2, min(32, limit)),
        "matmul": matmul_rate(device, shape["hidden_size"]),
    }


def throughput(shape: dict[str, int], device: Device, workers: int, steps: int = 12) -> float:
    """Fine-tuning steps a second that `workers` processes make together: two layers of `shape`, 32 sentences of 64."""
    with pool_of(workers, device) as pool:
        found = list(pool.map(_steps_a_second, *zip(*[(shape, device, steps)] * workers, strict=True)))
    return sum(found)


def _steps_a_second(shape: dict[str, int], device: Device, steps: int) -> float:
    return 1.0 / step_seconds(shape, device, 2, torch.full((32,), 64), find("finetune")(), steps)


def model_of(shape: dict[str, int], layers: int, device: Device) -> Any:
    """A classifier of that shape and depth with random weights."""
    source = EncoderSource("calibration", "random", None, "random", layers,
                           tuple(sorted({**shape, "num_hidden_layers": layers}.items())))  # fmt: skip
    return load_pretrained(source, find_task("rte"), 0, device.attention)


def tokens_of(lengths: torch.Tensor, vocabulary: int) -> Tokens:
    """A split of random words in sentences of these `lengths` (examples,)."""
    generator = torch.Generator().manual_seed(0)
    examples = len(lengths)
    return Tokens(
        ids=torch.randint(0, vocabulary, (int(lengths.sum()),), generator=generator, dtype=torch.int32),
        types=None,
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        labels=torch.randint(0, 2, (examples,), generator=generator),
        idx=torch.arange(examples),
        pad_id=0,
    )


def step_seconds(
    shape: dict[str, int],
    device: Device,
    layers: int,
    lengths: torch.Tensor,
    method: Method,
    repeats: int = REPEATS,
) -> float:
    """Median seconds of an optimizer step of `method` on a batch of sentences of these `lengths` (examples,)."""

    def build() -> Any:
        return model_of(shape, layers + 1, device)

    model = method.build(Given(build, build, layers, 0, 10**6)).to(device.device).train()
    tokens = tokens_of(lengths, shape["vocab_size"])
    rows = torch.arange(len(lengths))
    with stepping(method, model, tokens, {}, Training(), 0, 10**6, device) as step:
        turns = count()
        return median_seconds(lambda: step(next(turns), rows), device, repeats)


def _forward_seconds(shape: dict[str, int], device: Device, layers: int, length: int) -> float:
    model = model_of(shape, layers, device).to(device.device)
    tokens = tokens_of(torch.full((128,), length), shape["vocab_size"])
    return median_seconds(lambda: logits(model, tokens, device), device) / (layers * 128 * length)


def median_seconds(work: Callable[[], object], device: Device, repeats: int = REPEATS) -> float:
    """Of `repeats` calls after one to warm up."""
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
    """Measured operations per second of (2048, h) x (h, 4 h) in the suite's precision, for about `seconds`."""
    left, right = torch.randn(2048, hidden, device=device.device), torch.randn(hidden, 4 * hidden, device=device.device)
    if device.precision == "bfloat16":
        left, right = left.bfloat16(), right.bfloat16()
    with torch.inference_mode():
        for _ in range(3):
            left @ right
        devices.synchronise(device.device)
        started = time.perf_counter()
        for done in count(5, 5):
            for _ in range(5):
                left @ right
            devices.synchronise(device.device)
            passed = time.perf_counter() - started
            if passed > seconds:
                return done * 2 * 2048 * hidden * 4 * hidden / passed
    raise AssertionError
