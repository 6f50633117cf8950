"""Forward passes without gradients: dev logits of a model, and the predecessor's outputs for its pupils.

The predecessor is frozen and in eval mode, so what KD and PKD need of it is computed once per predecessor and
kept in `cache/`: that is 40 % of a live KD step's operations (12 layers forward against 6 forward and
backward).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.batches import Tokens, evaluation_batches
from benchmarks.device import precision
from benchmarks.settings import Device


def logits(model: nn.Module, tokens: Tokens, device: Device) -> NDArray[np.float32]:
    """Logits of `model` in eval mode, (examples, outputs), in the split's order."""
    return predecessor_outputs(model, tokens, frozenset({"logits"}), device)["logits"].numpy()


@torch.inference_mode()
def predecessor_outputs(
    model: nn.Module, tokens: Tokens, needs: frozenset[str], device: Device
) -> dict[str, torch.Tensor]:
    """The outputs named in `needs` for every example, float32 on the CPU, in the split's order.

    "logits" (examples, outputs); "cls" (examples, layers, hidden): the first token's state after each layer.
    """
    model.eval()
    outputs: dict[str, torch.Tensor] = {}
    for rows, inputs in evaluation_batches(tokens, device.device):
        with precision(device):
            result = model(**inputs, **({"output_hidden_states": True} if "cls" in needs else {}))
        found = {"logits": result.logits}
        if "cls" in needs:
            found["cls"] = torch.stack([state[:, 0] for state in result.hidden_states[1:]], dim=1)
        for name in needs:
            if name not in outputs:  # one copy only: 12 x 768 states of MNLI are 14.5 GB
                outputs[name] = torch.empty(len(tokens), *found[name].shape[1:])
            outputs[name][rows] = found[name].float().cpu()
    return outputs


def cached_outputs(
    folder: Path, key: dict[str, Any], needs: frozenset[str], compute: Callable[[], dict[str, torch.Tensor]]
) -> tuple[dict[str, torch.Tensor], float]:
    """Outputs from `folder`, computed and kept if they are not there; and the seconds the computing took.

    `key` must hold everything the outputs depend on (predecessor, data, tokens, precision, device). The file
    appears whole or not at all, and of two workers that need it at once one computes and the other waits.
    """
    name = hashlib.sha256(repr(sorted({**key, "needs": sorted(needs)}.items())).encode()).hexdigest()[:24]
    path = folder / f"outputs-{name}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if path.is_file():
            return load_file(path), 0.0
        started = time.monotonic()
        outputs = compute()
        partial = path.with_suffix(f".{os.getpid()}.partial")
        save_file(outputs, partial)
        partial.replace(path)
        return outputs, time.monotonic() - started
