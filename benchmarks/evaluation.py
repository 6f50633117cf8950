"""Forward passes without gradients: dev logits of a model, and the predecessor's outputs for its pupils.

The predecessor is frozen and in eval mode, so what KD and PKD need of it is computed once per predecessor, data and
precision, in one pass, and kept in `cache/`: that is 40 % of a live KD step's operations (12 layers forward against 6
forward and backward).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.arrays import Check, Create, Stored, in_memory, stored
from benchmarks.batches import Tokens, evaluation_batches
from benchmarks.device import precision
from benchmarks.settings import Device
from benchmarks.stopping import check


def logits(model: nn.Module, tokens: Tokens, device: Device) -> NDArray[np.float32]:
    """Logits of `model` in eval mode, (examples, outputs), in the split's order."""
    return predecessor_outputs(model, tokens, {"logits"}, device)["logits"].numpy()


@torch.inference_mode()
def predecessor_outputs(
    model: nn.Module, tokens: Tokens, names: Collection[str], device: Device, create: Create = in_memory
) -> dict[str, torch.Tensor]:
    """The outputs of these `names` for every example, on the CPU, in the split's order.

    "logits" (examples, outputs) float32; "cls-3" (examples, hidden), the first token's state after layer 3 (1-based),
    in the precision it is computed in. `create` makes the tensors they are written to.
    """
    model.eval()
    layers = {name: int(name.removeprefix("cls-")) for name in names if name != "logits"}
    outputs: dict[str, torch.Tensor] = {}
    for rows, inputs in evaluation_batches(tokens, device.device):
        if create is not in_memory:  # a whole training set's: an evaluation is finished, this may wait for another day
            check()
        with precision(device):
            result = model(**inputs, **({"output_hidden_states": True} if layers else {}))
        found = {"logits": result.logits.float()} if "logits" in names else {}
        found |= {name: result.hidden_states[layer][:, 0] for name, layer in layers.items()}
        for name, values in found.items():
            if name not in outputs:
                outputs[name] = create(name, (len(tokens), *values.shape[1:]), values.dtype)
            outputs[name][rows] = values.cpu()
    return outputs


def cached_outputs(
    folder: Path,
    key: dict[str, Any],
    names: Collection[str],
    compute: Callable[[Create], object],
    check: Check | None = None,
) -> Stored:
    """Outputs from `folder`, computed and kept if they are not there.

    `key` must hold everything the outputs depend on (`benchmarks.outputs.cache_key`). `check` says what is wrong with
    outputs that another process left, if anything.
    """
    return stored(folder, "outputs", {**key, "outputs": sorted(names)}, compute, check)
