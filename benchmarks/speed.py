"""Paired inference timing of predecessor and successor.

On a shared 2-core machine, timing one model and then the other gave speed-ups of 0.44, 1.79, 4.87 and 6.87 for
the same two models; ratios within rounds in random order gave 1.988 (1.904 to 2.126). So every round times
both, in an order drawn anew, and the answer is the median of the rounds' ratios with a bootstrap interval.
Rounds go on until the interval is narrow enough or the allowance is spent; which of the two it was is part of
the answer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from benchmarks import device as devices
from benchmarks.encoder import load_pretrained
from benchmarks.errors import SuiteError
from benchmarks.identity import digest, packages
from benchmarks.plan import Plan
from benchmarks.settings import Device, Speed
from benchmarks.tasks import find_task
from theseus import keep_layers

WARM_UP = 3
CHECK_EVERY = 10  # rounds between looks at the interval
CONFIDENCE = 0.95


def median_interval(ratios: NDArray[np.float64]) -> tuple[float, float]:
    """Percentile bootstrap interval of the median over rounds (2,000 resamples, seeded)."""
    if np.ptp(ratios) == 0:
        return float(ratios[0]), float(ratios[0])
    result = stats.bootstrap(
        (ratios,), np.median, n_resamples=2000, confidence_level=CONFIDENCE, method="percentile", rng=0, vectorized=True
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(seconds, q)) for q in (50, 90, 99)}


@torch.inference_mode()
def time_pair(
    predecessor: nn.Module, successor: nn.Module, inputs: dict[str, torch.Tensor], device: Device, speed: Speed
) -> dict[str, Any]:
    """Time both models on the same `inputs`; the measured part of one condition in speed.json (seconds)."""
    order = random.Random(0)
    models = {"predecessor": predecessor, "successor": successor}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    low = high = 0.0
    for round_ in range(-WARM_UP, speed.max_rounds):
        for name in order.sample(sorted(models), 2):
            started = time.perf_counter()
            with devices.precision(device):
                models[name](**inputs)
            devices.synchronise(device.device)
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - started)
        done = round_ + 1
        if done >= speed.min_rounds and (done % CHECK_EVERY == 0 or done == speed.max_rounds):
            ratios = np.array(seconds["predecessor"]) / np.array(seconds["successor"])
            low, high = median_interval(ratios)
            if high - low < speed.width * float(np.median(ratios)):
                break
    ratio = float(np.median(ratios))
    return {
        "rounds": len(ratios),
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "confidence": CONFIDENCE,
        "decided": high - low < speed.width * ratio,
        **{name: _percentiles(values) for name, values in seconds.items()},
        "ratios": ratios.tolist(),
        **{f"{name}_seconds": values for name, values in seconds.items()},
    }


def speed_key(plan: Plan) -> str:
    """What a suite's timing depends on: another encoder, depth, device or condition is timed anew."""
    suite = plan.suite
    conditions = suite.speed.model_dump(mode="json") if suite.speed else None
    device = {**plan.device.model_dump(mode="json"), "class": devices.device_class(plan.device)}
    return digest([plan.encoder.hash, depths(plan), device, conditions, packages(("torch", "transformers"))])


def depths(plan: Plan) -> list[int]:
    """The successor depths of a suite, deepest first; checkpoints with a shape of their own are not timed."""
    own = {name for name, arm in plan.suite.arms.items() if arm.encoder}
    found = {run.layers for run in plan.runs if run.arm not in {"predecessor", *own}}
    return sorted(found | {plan.suite.successor_layers}, reverse=True)


def measure(plan: Plan, speed: Speed) -> Iterator[dict[str, Any]]:
    """Every condition of `speed` for the suite's encoder and every successor depth, one dict of speed.json each.

    Timing does not depend on what the weights have learned, so the pretrained weights serve for both.
    """
    suite = plan.suite
    threads = speed.threads or suite.device.threads
    device = plan.device.model_copy(update={"threads": threads})
    devices.apply(device)
    predecessor = load_pretrained(plan.encoder, find_task(suite.tasks[0]), 0, device.attention).to(device.device)
    longest = getattr(predecessor.config, "max_position_embeddings", None)
    if longest and max(speed.lengths) > longest:
        raise SuiteError(f"speed.lengths goes to {max(speed.lengths)}, the encoder only to {longest}")
    for layers in depths(plan):
        successor = keep_layers(predecessor, range(layers)).to(device.device)
        for batch_size in speed.batch_sizes:
            for length in speed.lengths:
                inputs = _inputs(predecessor.config.vocab_size, batch_size, length, device)
                yield {
                    "device": device.device,
                    "device_name": devices.device_name(device),
                    "precision": device.precision,
                    "attention": device.attention,
                    "threads": threads,
                    "batch_size": batch_size,
                    "length": length,
                    "predecessor_layers": suite.encoder.layers,
                    "successor_layers": layers,
                    **time_pair(predecessor, successor, inputs, device, speed),
                }


def _inputs(vocabulary: int, batch_size: int, length: int, device: Device) -> dict[str, torch.Tensor]:
    """A full batch of random words: no padding, so its cost is its size's."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, vocabulary, (batch_size, length), generator=generator)
    return {"input_ids": ids.to(device.device), "attention_mask": torch.ones_like(ids).to(device.device)}
