"""How fast this machine trains: steps of the shared loop, timed for some seconds and kept per machine.

Models of one and two layers of the encoder's width with random weights train on batches of equal length. Eight such
steps give what `plan` needs, because the time of a step is, to a few per cent,

    fixed + layers * (call + tokens * (token + length * pair))

with `fixed` for embeddings, head and their optimizer, `call` for a layer whatever its input, `token` for its linear
layers and `pair` for attention. As many processes measure at once as will train at once, so what they take from each
other (memory bandwidth, turbo clocks, one GPU) is in it.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from scipy.optimize import nnls
from transformers import AutoConfig

from baselines import find
from baselines.method import Given, Method
from benchmarks import device as devices
from benchmarks.batches import Tokens
from benchmarks.dropout import MaskStream
from benchmarks.encoder import EncoderSource, load_pretrained
from benchmarks.evaluation import logits
from benchmarks.identity import digest, hash_of
from benchmarks.settings import Device, Training
from benchmarks.tasks import find_task
from benchmarks.training import backward, fast_path, make_optimizer
from benchmarks.workers import pool_of

LENGTHS = (8, 32, 96)
DEPTHS = (1, 2)
REPEATS = 5
SHAPE = ("vocab_size", "hidden_size", "num_attention_heads", "intermediate_size", "max_position_embeddings")


@dataclass(frozen=True)
class Rates:
    """Seconds on one of `workers` workers that compute at once. `fixed` per step where everything trains and
    `fixed_frozen` where embeddings and head do not; `call` per layer and step; `token` per layer and token; `pair` per
    layer, token and token of its sentence; `forward` per layer and token of an evaluation. `matmul`: operations per
    second of a large matrix product in the same precision."""

    fixed: float
    fixed_frozen: float
    call: float
    token: float
    pair: float
    forward: float
    matmul: float
    workers: int

    def step(self, layers: float, tokens: float, length: float, frozen: bool) -> float:
        """Seconds of a training step: `tokens` a batch in sentences of `length`, through `layers` trained layers."""
        fixed = self.fixed_frozen if frozen else self.fixed
        return fixed + layers * (self.call + tokens * (self.token + length * self.pair))


def calibrated(
    shape: dict[str, int], device: Device, batch_size: int, workers: int, say: Callable[[str], None] | None
) -> Rates | None:
    """The rates of this machine for an encoder of `shape`, from the cache; else measured now, which `say` tells, or
    None where `say` is None."""
    own = {name: shape[name] for name in SHAPE if name in shape}
    key = digest(
        [own, device.model_dump(mode="json"), devices.device_name(device), torch.__version__, batch_size, workers,
         hash_of("benchmarks.calibration")]
    )  # fmt: skip
    path = cache_folder() / f"rates-{key[:24]}.json"
    if (found := _read(path)) is not None or say is None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if (found := _read(path)) is None:
            say("measuring how fast this machine trains (once)")
            found = _measure_together(own, device, batch_size, workers)
            _write(path, found)
    return found


def shape_of(encoder: EncoderSource) -> dict[str, int] | None:
    """The sizes that a step's time depends on; None for an encoder that is not here and says nothing of them."""
    if encoder.shape:
        return {name: size for name, size in encoder.shape if name in SHAPE}
    if encoder.revision is not None or not Path(encoder.location).is_dir():
        return None
    config: Any = AutoConfig.from_pretrained(encoder.location, trust_remote_code=False)
    sizes = {name: getattr(config, name, None) for name in SHAPE}
    return {"intermediate_size": 4 * config.hidden_size} | {name: size for name, size in sizes.items() if size}


def cache_folder() -> Path:
    """Where what is measured once per machine is kept: $XDG_CACHE_HOME/theseus-bench, by default under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "theseus-bench"


def _read(path: Path) -> Rates | None:
    try:
        return Rates(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(path: Path, rates: Rates) -> None:
    handle, partial = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(rates), indent=1) + "\n")
    Path(partial).replace(path)


def _measure_together(shape: dict[str, int], device: Device, batch_size: int, workers: int) -> Rates:
    """The mean of what `workers` processes measure side by side."""
    with pool_of(workers, device) as pool:
        found = list(pool.map(_measure, *zip(*[(shape, device, batch_size)] * workers, strict=True)))
    return Rates(*(statistics.fmean(values) for values in zip(*found, strict=True)), workers=workers)


def _measure(shape: dict[str, int], device: Device, batch_size: int) -> tuple[float, ...]:
    """fixed, fixed_frozen, call, token, pair, forward and matmul of this process."""
    limit = shape.get("max_position_embeddings", max(LENGTHS))
    lengths = sorted({min(length, limit) for length in LENGTHS})
    rows, seconds = [], []
    for layers, length in product(DEPTHS, lengths):
        tokens = batch_size * length
        rows.append([1.0, layers, layers * tokens, layers * tokens * length])
        seconds.append(step_seconds(shape, device, batch_size, layers, length, find("finetune")()))
    weights = 1.0 / np.array(seconds)  # relative errors count alike
    fixed, call, token, pair = nnls(np.array(rows) * weights[:, None], np.ones(len(rows)))[0]
    length = lengths[len(lengths) // 2]
    frozen = find("finetune")(start={"source": "predecessor", "frozen": ["embeddings", "head"]})
    rest = max(DEPTHS) * (call + batch_size * length * (token + length * pair))
    fixed_frozen = max(0.0, step_seconds(shape, device, batch_size, max(DEPTHS), length, frozen) - rest)
    forward = _forward_seconds(shape, device, max(DEPTHS), length)
    return fixed, fixed_frozen, call, token, pair, forward, matmul_rate(device, shape["hidden_size"])


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
    shape: dict[str, int], device: Device, batch_size: int, layers: int, length: int, method: Method
) -> float:
    """Median seconds of an optimizer step of `method` on sentences of `length` tokens."""
    def build() -> Any:
        return model_of(shape, layers + 1, device)

    model = method.build(Given(build, build, layers, 0, 10**6)).to(device.device).train()
    tokens = tokens_of(torch.full((batch_size,), length), shape["vocab_size"])
    rows, training = torch.arange(batch_size), Training()
    optimizer = make_optimizer(method.parameters(model), training)
    masks = MaskStream()
    with fast_path(method, model, training, masks) as groups:

        def step() -> None:
            backward(method, model, tokens, rows, {}, 1, groups, device)
            torch.nn.utils.clip_grad_norm_(method.clipped(model), training.clip)
            optimizer.step()
            optimizer.zero_grad()

        return median_seconds(step, device)


def _forward_seconds(shape: dict[str, int], device: Device, layers: int, length: int) -> float:
    model = model_of(shape, layers, device).to(device.device)
    tokens = tokens_of(torch.full((128,), length), shape["vocab_size"])
    return median_seconds(lambda: logits(model, tokens, device), device) / (layers * 128 * length)


def median_seconds(work: Callable[[], object], device: Device) -> float:
    """Of `REPEATS` calls after one to warm up."""
    found = []
    for turn in range(REPEATS + 1):
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
