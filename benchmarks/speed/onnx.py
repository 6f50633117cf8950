"""A classifier as an ONNX file with free batch and length axes, in float32 or int8, and as a session that runs it.

The `onnx` extra (onnx, onnxruntime, onnxscript) is optional; without it `require` raises one line that says how to
install it. Torch's dynamo exporter writes the file, and the result is compared with the model on two shapes, because an
axis that the export froze shows only on the second one. int8 is ONNX Runtime's dynamic quantisation: weights are
quantised once, activations by the range of each batch, without calibration data.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baselines.method import ONE_LABEL, Objective

NEEDED = ("onnx", "onnxscript", "onnxruntime")
INSTALL = "pip install -c constraints.txt onnx onnxruntime onnxscript"
SHAPES = ((2, 16), (3, 9))  # batch, length: the first is exported; the second shows whether the axes are free
EXPORT_TOLERANCE = 1e-3  # of the largest logit; measured: 1e-6 of it

Inputs = dict[str, torch.Tensor]
Run = Callable[[Inputs], NDArray[np.float32]]


class Refused(Exception):
    """A variant that cannot be timed on this machine; the message is the reason, in one line."""


class _Logits(nn.Module):
    """A transformers model with plain inputs and its logits as the only output, as ONNX needs it."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        return self.objective.logits(self.model(input_ids=input_ids, attention_mask=attention_mask, **types))


def require() -> None:
    """Raises `Refused` if a package of the `onnx` extra is missing."""
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            raise Refused(f"{name} is not installed: make installs it, or {INSTALL}") from None


def export(model: nn.Module, types: bool, path: Path, objective: Objective = ONE_LABEL) -> Path:
    """Write `model` (eval mode, on the CPU) to `path` as float32 ONNX and compare it with the model on `SHAPES`.

    `types`: the model takes token_type_ids. Inputs are int64 (batch, length), both axes free; the output is
    the logits as `objective` has them. An existing `path` is used again. Raises `Refused`.
    """
    require()
    if path.is_file():
        return path
    first, *_ = examples = [example(*shape, types) for shape in SHAPES]
    axes = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in first}
    partial = path.with_suffix(".partial")
    with _quiet():
        program = torch.onnx.export(
            _Logits(model, objective).eval(), kwargs=first, dynamo=True, dynamic_shapes=axes, verbose=False
        )
        if program is None:
            raise Refused("torch.onnx.export gave no program")
        program.save(str(partial))
    call, _ = session(partial, threads=1)
    for inputs in examples:
        with torch.inference_mode():
            wanted = objective.logits(model(**inputs)).numpy()
        worst = float(np.abs(call(inputs) - wanted).max() / max(float(np.abs(wanted).max()), 1e-12))
        if not worst <= EXPORT_TOLERANCE:
            shape = "x".join(map(str, inputs["input_ids"].shape))
            raise Refused(f"the export differs from the model at {shape} by {100 * worst:.2g} % of its largest logit")
    return partial.rename(path)


def example(batch: int, length: int, types: bool) -> Inputs:
    """Word ids below 100 with padding in the last row; (batch, length) int64 each."""
    ids = torch.arange(batch * length).reshape(batch, length) % 59 + 5
    mask = torch.ones_like(ids)
    mask[-1, length // 2 :] = 0
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    return inputs | ({"token_type_ids": torch.zeros_like(ids)} if types else {})


def quantise(source: Path, path: Path) -> Path:
    """The float32 export `source` with int8 weights and dynamically quantised activations. Raises `Refused`."""
    require()
    if path.is_file():
        return path
    from onnxruntime.quantization import QuantType, quantize_dynamic

    partial = path.with_suffix(".partial")
    with _quiet():
        quantize_dynamic(str(source), str(partial), weight_type=QuantType.QInt8)
    return partial.rename(path)


def session(path: Path, threads: int) -> tuple[Run, Run]:
    """Two functions that run an exported model on the CPU, from tensors (batch, length) to logits: one for
    timing, and one that keeps no memory for the next call.

    The session's threads stop spinning when a call returns, because they would take cores from the next timed call.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    made = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shrinking = onnxruntime.RunOptions()
    shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def call(inputs: Inputs, how: Any = None) -> NDArray[np.float32]:
        found: list[Any] = made.run(None, {name: tensor.numpy() for name, tensor in inputs.items()}, how)
        logits: NDArray[np.float32] = found[0]
        return logits

    return call, lambda inputs: call(inputs, shrinking)


def size(path: Path) -> int:
    """Bytes of an exported model, including a separate file of weights."""
    files = (path, path.with_name(path.name + ".data"))
    return sum(file.stat().st_size for file in files if file.is_file())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the warnings that exporters print for their own developers; errors are still raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
