"""The ways to run one classifier: eager float32, bfloat16 autocast, compiled, ONNX Runtime in float32 and int8.

    runner = Workshop(folder, types=True).build("onnx", model, "predecessor", place)
    runner.call(inputs)                                   # logits, as the variant gives them
    compare(eager, runner, batches)                       # Agreement

A variant that cannot be had here (no compiler, no ONNX Runtime) or that answers otherwise than eager float32 beyond
`TOLERANCE` is refused with its reason and never timed: a fast wrong answer is no speed-up.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import device as devices
from benchmarks import onnx_export
from benchmarks.onnx_export import Refused
from benchmarks.settings import Device
from benchmarks.speed_timing import Call, Inputs

# Largest difference from eager float32 that is timed, as a share of the largest eager logit.
TOLERANCE = {"eager": 0.0, "bfloat16": 0.1, "compiled": 1e-3, "onnx": 1e-3, "onnx-int8": 0.5}
# Variants that round are held to their answers where a model has classes: on MRPC int8 moved one logit of MiniLM-L6 by
# 70 % of the largest and the dev score by 0.8 points.
SAME_ANSWERS = {"bfloat16": 0.95, "onnx-int8": 0.9}
PRECISION = {"eager": "float32", "bfloat16": "bfloat16", "compiled": "float32", "onnx": "float32", "onnx-int8": "int8"}
T = TypeVar("T")
LOSSY = ("bfloat16", "onnx-int8")
COMPILES = 64  # shapes and thread counts before torch gives up; it then raises, because of fullgraph


@dataclass(frozen=True)
class Runner:
    """One model in one variant. `call` takes tensors (batch, length) and gives logits; `weights` are bytes held.
    `lean` is a call that afterwards keeps no memory for the next one."""

    call: Call
    weights: int
    lean: Call

    def logits(self, inputs: Inputs) -> NDArray[np.float64]:
        """Logits (batch, outputs) of one call."""
        found = self.call(inputs)
        return np.asarray(found.float().cpu() if isinstance(found, torch.Tensor) else found, dtype=np.float64)


@dataclass(frozen=True)
class Agreement:
    """A variant's logits beside eager float32's: largest difference, largest eager logit, share of equal argmax
    (None for one output) over `examples`."""

    max_abs_difference: float
    largest_logit: float
    equal_argmax: float | None
    examples: int

    def joined(self, other: Agreement) -> Agreement:
        """Both checks as one: the worse difference, the share of equal answers over the examples of both."""
        examples, equal = self.examples + other.examples, None
        if self.equal_argmax is not None and other.equal_argmax is not None:
            equal = (self.equal_argmax * self.examples + other.equal_argmax * other.examples) / examples
        worst = float(np.maximum(self.max_abs_difference, other.max_abs_difference))  # nan stays nan
        return Agreement(worst, max(self.largest_logit, other.largest_logit), equal, examples)

    def refusal(self, variant: str, side: str) -> str | None:
        """Why this is too far from eager, or None: fewer equal answers, or a larger difference, than is timed."""
        least, equal = SAME_ANSWERS.get(variant), self.equal_argmax
        if least is not None and equal is not None and np.isfinite(self.max_abs_difference):
            return None if equal >= least else (
                f"the {side} answers as eager float32 does on {100 * equal:.1f} % of {self.examples} examples; "
                f"from {100 * least:g} % on it would be timed"
            )  # fmt: skip
        share = self.max_abs_difference / max(self.largest_logit, 1e-12)
        if share <= TOLERANCE[variant]:  # never true of nan
            return None
        return (
            f"the {side}'s logits differ from eager float32 by {self.max_abs_difference:.3g}, "
            f"{100 * share:.3g} % of the largest; up to {100 * TOLERANCE[variant]:g} % would be timed"
        )


def compare(reference: Runner, runner: Runner, batches: Sequence[Inputs]) -> Agreement:
    """Run both on every batch."""
    pairs = [(reference.logits(inputs), runner.logits(inputs)) for inputs in batches]
    wanted, found = (np.concatenate(side) for side in zip(*pairs, strict=True))
    equal = float(np.mean(wanted.argmax(1) == found.argmax(1))) if wanted.shape[1] > 1 else None
    return Agreement(float(np.abs(wanted - found).max()), float(np.abs(wanted).max()), equal, len(wanted))


class Workshop:
    """Builds runners; exports are kept in `folder`, so that each model is exported once for all thread counts.

    `types`: the models take token_type_ids.
    """

    def __init__(self, folder: Path, types: bool) -> None:
        self.folder, self.types = folder, types

    def build(self, variant: str, model: nn.Module, name: str, place: Device) -> Runner:
        """The runner of `model`, which lies on `place`'s device in eval mode; `name` tells exports apart.

        Raises `Refused` with what torch or ONNX Runtime said where the variant cannot be made here.
        """
        makers = {"onnx": self._onnx, "onnx-int8": self._onnx_int8, "compiled": _compiled}
        return attempt(lambda: makers.get(variant, _eager)(model, name, _in(place, variant)))

    def _onnx(self, model: nn.Module, name: str, place: Device) -> Runner:
        path = self._exported(model, name, place)
        return _session(path, place)

    def _onnx_int8(self, model: nn.Module, name: str, place: Device) -> Runner:
        return _session(
            onnx_export.quantise(self._exported(model, name, place), self.folder / f"{name}-int8.onnx"), place
        )

    def _exported(self, model: nn.Module, name: str, place: Device) -> Path:
        if place.device != "cpu":
            raise Refused("the ONNX variants are timed on the CPU only")
        return onnx_export.export(model, self.types, self.folder / f"{name}.onnx")


def _session(path: Path, place: Device) -> Runner:
    call, lean = onnx_export.session(path, place.threads)
    return Runner(call, onnx_export.size(path), lean)


def _in(place: Device, variant: str) -> Device:
    """The place with the precision torch computes in under a variant."""
    return place.model_copy(update={"precision": "bfloat16" if variant == "bfloat16" else "float32"})


def _eager(model: nn.Module, name: str, place: Device) -> Runner:
    def call(inputs: Inputs) -> torch.Tensor:
        with torch.inference_mode(), devices.precision(place):
            logits: torch.Tensor = model(**inputs).logits
            return logits

    return Runner(call, _weights(model), call)


def _compiled(model: nn.Module, name: str, place: Device) -> Runner:
    """One graph with free shapes: dev batches come in many lengths, and a graph for each would never pay."""
    if place.device == "cpu" and compiler() is None:
        raise Refused("torch.compile needs a C++ compiler on a CPU and finds none: install g++ (or clang), or set CXX")
    return _eager(torch.compile(model, dynamic=True, fullgraph=True), name, place)  # type: ignore[arg-type]


def compiler() -> str | None:
    """The C++ compiler that torch.compile would find, or None."""
    candidates = (os.environ.get("CXX"), "clang++" if platform.system() == "Darwin" else "g++")
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Within it many shapes may be compiled, in this process: no pool of compilers idles beside a timing."""
    import torch._dynamo
    import torch._inductor.config

    torch._dynamo.reset()  # what other thread counts compiled counts towards the limit
    limits = {"recompile_limit": COMPILES, "accumulated_recompile_limit": 8 * COMPILES}
    with torch._dynamo.config.patch(limits), torch._inductor.config.patch(compile_threads=1):
        yield


def attempt(make: Callable[[], T]) -> T:
    """What `make` gives, or `Refused` with the first line of what it raised."""
    try:
        return make()
    except Refused:
        raise
    except Exception as error:  # compilers, exporters and runtimes raise dozens of kinds
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise Refused(f"{type(error).__name__}: {(lines or ['no message'])[0][:200]}") from None


def _weights(model: nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def working_memory(runner: Runner, inputs: Inputs, place: Device) -> int | None:
    """Bytes one call takes beyond what is held before it, at its peak; None where the system does not tell.

    On the CPU freed memory is handed back first: a call that reuses it would look free.
    """
    if place.device == "cuda":
        devices.synchronise(place.device)
        held: int | None = int(torch.cuda.memory_allocated())
    else:
        runner.lean(inputs)
        _hand_back()
        devices.reset_peak_memory(place)
        held = devices.peak_memory(place)
    devices.reset_peak_memory(place)
    runner.lean(inputs)
    devices.synchronise(place.device)
    peak = devices.peak_memory(place)
    return None if peak is None or held is None else max(0, peak - held)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None)


def _hand_back() -> None:
    trim = getattr(_libc(), "malloc_trim", None) if platform.system() == "Linux" else None
    if trim is not None:
        trim(0)
