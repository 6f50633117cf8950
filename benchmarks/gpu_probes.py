"""What benchmarks/gpu.py measures beside training: the matmul rate, paired inference, and whether bits repeat."""

from __future__ import annotations

import copy
import hashlib
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.gpu_cases import VARIANTS, Shape
from benchmarks.gpu_steps import classifier, compile_blocks, precision
from theseus import keep_layers

WARM_UP = 5
ROUNDS = (10, 80)  # of one cell: at least, at most
RESAMPLES = 2000


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_rates(shape: Shape, device: str, seconds: float) -> list[dict[str, Any]]:
    """Operations per second of matrix products on random values: large square ones, and a layer's own
    (2048, h) x (h, 4 h), in float32 (without TF32), in TF32 where there is CUDA, and in bfloat16."""
    side = 8192 if device == "cuda" else 256
    sizes = {"square": (side, side, side), "layer": (2048, shape.hidden, 4 * shape.hidden)}
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if device == "cuda":
        kinds["tf32"] = torch.float32
    found = []
    for kind, dtype in kinds.items():
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        for name, (rows, inner, columns) in sizes.items():
            left = torch.randn(rows, inner, device=device).to(dtype)
            right = torch.randn(inner, columns, device=device).to(dtype)
            rate = 2.0 * rows * inner * columns * _per_second(left, right, device, seconds)
            found.append({"precision": kind, "shape": name, "size": [rows, inner, columns], "rate": rate})
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


@torch.inference_mode()
def _per_second(left: torch.Tensor, right: torch.Tensor, device: str, seconds: float) -> float:
    """Products per second: the best of five equal stretches, each one wait long."""
    out = left @ right
    _wait(device)
    started, count = time.perf_counter(), 0
    while count < 3 or time.perf_counter() - started < seconds / 5:
        torch.mm(left, right, out=out)
        _wait(device)
        count += 1
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(count):
            torch.mm(left, right, out=out)
        _wait(device)
        best = max(best, count / (time.perf_counter() - started))
    return best


def median_interval(ratios: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the median over rounds, seeded."""
    drawn = np.random.default_rng(0).choice(ratios, size=(RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


class Pair:
    """Predecessor and successor in one variant of VARIANTS, for as many cells as are asked for."""

    def __init__(self, variant: str, shape: Shape, device: str, backend: str = "inductor") -> None:
        self.variant, self.shape, self.device = variant, shape, device
        self.reference = classifier(shape, device).eval()
        self.models: dict[str, nn.Module] = {
            "predecessor": copy.deepcopy(self.reference),
            "successor": keep_layers(self.reference, range(shape.successor)),
        }
        if variant.startswith("compiled"):
            for model in self.models.values():
                compile_blocks(model, backend)

    def _inputs(self, batch: int, length: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(5, self.shape.vocabulary, (batch, length), generator=generator)
        return {"input_ids": ids.to(self.device), "attention_mask": torch.ones_like(ids).to(self.device)}

    @torch.inference_mode()
    def time(self, batch: int, length: int, seconds: float) -> dict[str, Any]:
        """Both models on the same full batch, in a new order every round, for about `seconds` seconds."""
        inputs = self._inputs(batch, length)

        def run(model: nn.Module) -> torch.Tensor:
            with precision(VARIANTS[self.variant], self.device):
                logits: torch.Tensor = model(**inputs).logits
            return logits

        expected = self.reference(**inputs).logits
        for _ in range(WARM_UP):
            for model in self.models.values():
                found = run(model)
            _wait(self.device)
        difference = float((run(self.models["predecessor"]).float() - expected).abs().max())
        taken = self._rounds(run, seconds)
        ratios = np.array(taken["predecessor"]) / np.array(taken["successor"])
        low, high = median_interval(ratios)
        ratio = float(np.median(ratios))
        return {
            "rounds": len(ratios), "ratio": ratio, "ratio_low": low, "ratio_high": high,
            "decided": high - low < 0.02 * ratio, "outputs": list(found.shape),
            "max_abs_difference": difference, "largest_logit": float(expected.abs().max()),
            **{f"{name}_seconds": {f"p{q}": float(np.percentile(values, q)) for q in (50, 90, 99)}
               for name, values in taken.items()},
        }  # fmt: skip

    def _rounds(self, run: Callable[[nn.Module], torch.Tensor], seconds: float) -> dict[str, list[float]]:
        order, started = random.Random(0), time.perf_counter()
        taken: dict[str, list[float]] = {name: [] for name in self.models}
        for number in range(ROUNDS[1]):
            if number >= ROUNDS[0] and time.perf_counter() - started > seconds:
                break
            for name in order.sample(sorted(self.models), 2):
                _wait(self.device)
                begun = time.perf_counter()
                run(self.models[name])
                _wait(self.device)
                taken[name].append(time.perf_counter() - begun)
        return taken


def fingerprint(model: nn.Module) -> str:
    """A hash of every parameter's bits."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
