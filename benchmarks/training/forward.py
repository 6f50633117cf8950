"""Forward passes without gradients: dev logits of a model, and the predecessor's outputs for its pupils.

The predecessor is frozen and in eval mode, so the outputs that KD and PKD need are computed once per predecessor, data
and precision, in one pass, and kept in `cache/`. This saves 40 % of the operations of a KD step that runs its teacher
(12 layers forward against 6 forward and backward).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baselines.method import LOGITS, Output
from benchmarks.base.stop import check
from benchmarks.machine.device import precision
from benchmarks.machine.settings import Device
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.batches import evaluation_batches
from benchmarks.training.state import Create, in_memory


def logits(model: nn.Module, tokens: Tokens, device: Device) -> NDArray[np.float32]:
    """Logits of `model` in eval mode, in the split's order: (examples, outputs), or (tokens, outputs) where the kind of
    task has outputs per token."""
    return predecessor_outputs(model, tokens, {LOGITS}, device)[LOGITS].numpy()


@torch.inference_mode()
def predecessor_outputs(
    model: nn.Module, tokens: Tokens, wishes: Collection[Output], device: Device, create: Create = in_memory
) -> dict[Output, torch.Tensor]:
    """The outputs in `wishes` for every example, on the CPU, in the split's order; `Output` gives their shapes.

    Logits are float32, and so are states, under autocast too: a layer ends in a normalisation. `create` allocates the
    tensors.
    """
    model.eval()
    outputs: dict[Output, torch.Tensor] = {}
    hidden = {"output_hidden_states": True} if any(output.what == "state" for output in wishes) else {}
    for rows, inputs in evaluation_batches(tokens, device.device):
        if create is not in_memory:  # a whole training set, which may stop; an evaluation is always finished
            check()
        with precision(device):
            result = model(**inputs, **hidden)
        for output, places, values in _found(result, inputs, tokens, rows, wishes):
            if output not in outputs:
                count = len(tokens.ids) if tokens.by_token(output) else len(tokens)
                outputs[output] = create(output.name, (count, *values.shape[1:]), values.dtype)
            outputs[output][places] = values.cpu()
    return outputs


def _found(
    result: Any, inputs: dict[str, torch.Tensor], tokens: Tokens, rows: torch.Tensor, wishes: Collection[Output]
) -> Iterator[tuple[Output, torch.Tensor, torch.Tensor]]:
    """Each wish, the positions of these `rows` in its tensor, and their values."""
    for output in wishes:
        if output.what == "logits":
            values = tokens.objective.logits(result).float()
        else:
            states = result.hidden_states[output.layer]
            values = states if output.tokens == "all" else tokens.objective.first_states(states, inputs)
        words = inputs["attention_mask"].bool()
        yield output, tokens.rows_of(output, rows), values[words] if tokens.by_token(output) else values
