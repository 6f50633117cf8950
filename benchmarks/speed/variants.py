"""Variants of running one model: eager float32, bfloat16 autocast, compiled, ONNX Runtime in float32 and int8.

    runner = Workshop(folder, types=True).build("onnx", model, "predecessor", place)
    runner.call(inputs)                                   # logits
    compare(eager, runner, batches)                       # VariantAgreement

A variant that is not available on this machine (no compiler, no ONNX Runtime), or whose logits differ from eager
float32's by more than `TOLERANCE`, is refused with its reason and never timed: a fast wrong answer is not a speed-up.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baselines.method import ONE_LABEL, Objective
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.speed import onnx
from benchmarks.speed.onnx import Refused
from benchmarks.speed.timing import Call, Inputs
from results.format.documents.speed import Closeness

# A variant is timed up to this difference from eager float32, as a share of the largest eager logit.
TOLERANCE = {"eager": 0.0, "bfloat16": 0.1, "compiled": 1e-3, "onnx": 1e-3, "onnx-int8": 0.5}
# For classes, variants that round must instead give this share of equal answers: on MRPC int8 moved one logit of
# MiniLM-L6 by 70 % of the largest, but the dev score by only 0.8 points.
SAME_ANSWERS = {"bfloat16": 0.95, "onnx-int8": 0.9}
PRECISION = {"eager": "float32", "bfloat16": "bfloat16", "compiled": "float32", "onnx": "float32", "onnx-int8": "int8"}
T = TypeVar("T")
LOSSY = ("bfloat16", "onnx-int8")
COMPILES = 64  # graphs (shapes, thread counts) before torch gives up; with fullgraph it then raises


@dataclass(frozen=True)
class Runner:
    """One model in one variant. `call` takes tensors (batch, length) and returns logits; `weights` is in bytes.
    `lean` is a call that keeps no memory for the next one. `objective`: of the models' kind of task."""

    call: Call
    weights: int
    lean: Call
    objective: Objective = ONE_LABEL

    def logits(self, inputs: Inputs) -> NDArray[np.float64]:
        """Logits of one call: (batch, outputs), or (tokens without padding, outputs) of a model that labels tokens."""
        found = self.call(inputs)
        values = np.asarray(found.float().cpu() if isinstance(found, torch.Tensor) else found, dtype=np.float64)
        return values[inputs["attention_mask"].bool().cpu().numpy()] if self.objective.per_token else values


@dataclass(frozen=True)
class VariantAgreement(Closeness):
    """How close a variant is to eager float32, and whether that is close enough."""

    def joined(self, other: VariantAgreement) -> VariantAgreement:
        """Both checks as one: the larger difference, and the share of equal answers over all examples."""
        examples, equal = self.examples + other.examples, None
        if self.equal_argmax is not None and other.equal_argmax is not None:
            equal = (self.equal_argmax * self.examples + other.equal_argmax * other.examples) / examples
        worst = float(np.maximum(self.max_abs_difference, other.max_abs_difference))  # nan stays nan
        return VariantAgreement(worst, max(self.largest_logit, other.largest_logit), equal, examples)

    def refusal(self, variant: str, side: str) -> str | None:
        """Why this is too far from eager to be timed: too few equal answers, or too large a difference. Else None."""
        least, equal = SAME_ANSWERS.get(variant), self.equal_argmax
        if least is not None and equal is not None and np.isfinite(self.max_abs_difference):
            if equal >= least:
                return None
            return (
                f"the {side} answers as eager float32 does on {100 * equal:.1f} % of {self.examples} examples; "
                f"from {100 * least:g} % on it would be timed"
            )
        share = self.max_abs_difference / max(self.largest_logit, 1e-12)
        if share <= TOLERANCE[variant]:  # false for nan
            return None
        return (
            f"the {side}'s logits differ from eager float32 by {self.max_abs_difference:.3g}, "
            f"{100 * share:.3g} % of the largest; up to {100 * TOLERANCE[variant]:g} % would be timed"
        )


def compare(reference: Runner, runner: Runner, batches: Sequence[Inputs]) -> VariantAgreement:
    """Run both on every batch."""
    pairs = [(reference.logits(inputs), runner.logits(inputs)) for inputs in batches]
    wanted, found = (np.concatenate(side) for side in zip(*pairs, strict=True))
    examples = sum(len(inputs["input_ids"]) for inputs in batches)
    classes = reference.objective.classes and wanted.shape[1] > 1
    equal = float(np.mean(wanted.argmax(1) == found.argmax(1))) if classes else None
    return VariantAgreement(float(np.abs(wanted - found).max()), float(np.abs(wanted).max()), equal, examples)


class Workshop:
    """Builds runners. Exports are kept in `folder`, so each model is exported once for all thread counts.

    `types`: the models take token_type_ids. `objective`: of their kind of task.
    """

    def __init__(self, folder: Path, types: bool, objective: Objective = ONE_LABEL) -> None:
        self.folder, self.types, self.objective = folder, types, objective

    def build(self, variant: str, model: nn.Module, name: str, place: Device) -> Runner:
        """The runner of `model`, which is on `place`'s device in eval mode; exports are stored under `name`.

        Raises `Refused` with the message of torch or ONNX Runtime if they cannot make the variant.
        """
        place = place.model_copy(update={"precision": "bfloat16" if variant == "bfloat16" else "float32"})
        if variant.startswith("onnx"):
            return attempt(lambda: self._onnx(variant, model, name, place))
        made = partial(_compiled, model, place) if variant == "compiled" else lambda: model
        return attempt(lambda: _torch(made(), place, self.objective))

    def _onnx(self, variant: str, model: nn.Module, name: str, place: Device) -> Runner:
        if place.device != "cpu":
            raise Refused("the ONNX variants are timed on the CPU only")
        path = onnx.export(model, self.types, self.folder / f"{name}.onnx", self.objective)
        if variant == "onnx-int8":
            path = onnx.quantise(path, self.folder / f"{name}-int8.onnx")
        call, lean = onnx.session(path, place.threads)
        return Runner(call, onnx.size(path), lean, self.objective)


def _torch(model: nn.Module, place: Device, objective: Objective) -> Runner:
    def call(inputs: Inputs) -> torch.Tensor:
        with torch.inference_mode(), devices.precision(place):
            return objective.logits(model(**inputs))

    return Runner(call, _weights(model), call, objective)


def _compiled(model: nn.Module, place: Device) -> nn.Module:
    """One graph with free shapes: dev batches have many lengths, and a graph for each would cost more than it saves."""
    if place.device == "cpu" and compiler() is None:
        raise Refused("torch.compile needs a C++ compiler on a CPU and finds none: install g++ (or clang), or set CXX")
    return torch.compile(model, dynamic=True, fullgraph=True)  # type: ignore[return-value]


def compiler() -> str | None:
    """The C++ compiler that torch.compile would find, or None."""
    candidates = (os.environ.get("CXX"), "clang++" if platform.system() == "Darwin" else "g++")
    return next((found for name in candidates if name and (found := shutil.which(name))), None)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Within it many shapes may be compiled, all in this process: idle compiler processes would disturb timing."""
    import torch._dynamo
    import torch._inductor.config

    torch._dynamo.reset()  # graphs of other thread counts count towards the limit
    limits = {"recompile_limit": COMPILES, "accumulated_recompile_limit": 8 * COMPILES}
    with torch._dynamo.config.patch(limits), torch._inductor.config.patch(compile_threads=1):
        yield


def attempt(make: Callable[[], T]) -> T:
    """Call `make`; raises `Refused` with the first line of any error."""
    try:
        return make()
    except Refused:
        raise
    except Exception as error:  # compilers, exporters and runtimes raise dozens of types
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise Refused(f"{type(error).__name__}: {(lines or ['no message'])[0][:200]}") from None


def _weights(model: nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def working_memory(runner: Runner, inputs: Inputs, place: Device) -> int | None:
    """Additional bytes of one call at its peak; None if the system does not report memory.

    On the CPU freed memory is first returned to the system, because a call that reuses it would seem to need none.
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


def _hand_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if platform.system() == "Linux" else None
    if trim is not None:
        trim(0)
