"""Forward passes without gradients: dev logits of a model, and the predecessor's outputs for its pupils.

The predecessor is frozen and in eval mode, so the outputs that KD and PKD need are computed once per predecessor, data
and precision, in one pass, and kept in `cache/`. This saves 40 % of the operations of a KD step that runs its teacher
(12 layers forward against 6 forward and backward). Logits over a whole vocabulary are too large to keep: there the
predecessor runs beside its pupil (`LivePredecessor`), and an evaluation keeps what the score needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from baselines.method import LOGITS, Batch, Output
from benchmarks.base.stop import check
from benchmarks.machine.device import precision
from benchmarks.machine.settings import Device
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.batches import evaluation_batches
from benchmarks.training.state import Create, in_memory

Reduce = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def logits(model: nn.Module, tokens: Tokens, device: Device) -> NDArray[np.float32]:
    """What an evaluation keeps of the logits of `model` in eval mode, in the split's order: (examples, columns), or
    (tokens, columns) where the kind of task has outputs per token. The columns are the outputs, if the kind does not
    say otherwise (`Objective.reduced`)."""
    return _outputs(model, tokens, {LOGITS}, device, in_memory, tokens.objective.reduced)[LOGITS].numpy()


def predecessor_outputs(
    model: nn.Module, tokens: Tokens, wishes: Collection[Output], device: Device, create: Create = in_memory
) -> dict[Output, torch.Tensor]:
    """The outputs in `wishes` for every example, on the CPU, in the split's order; `Output` gives their shapes.

    Logits are float32, and so are states, under autocast too: a layer ends in a normalisation. `create` allocates the
    tensors.
    """
    return _outputs(model, tokens, wishes, device, create, lambda values, _: values)


@torch.inference_mode()
def _outputs(
    model: nn.Module, tokens: Tokens, wishes: Collection[Output], device: Device, create: Create, reduce: Reduce
) -> dict[Output, torch.Tensor]:
    model.eval()
    outputs: dict[Output, torch.Tensor] = {}
    for rows, inputs in evaluation_batches(tokens, device.device):
        if create is not in_memory:  # a whole training set, which may stop; an evaluation is always finished
            check()
        result = _run(model, inputs, wishes, device)
        for output, places, values in _found(result, inputs, tokens, rows, wishes):
            kept = reduce(values, tokens.labels[places]) if output == LOGITS else values
            if output not in outputs:
                count = len(tokens.ids) if tokens.by_token(output) else len(tokens)
                outputs[output] = create(output.name, (count, *kept.shape[1:]), kept.dtype)
            outputs[output][places] = kept.cpu()
    return outputs


def _run(model: nn.Module, inputs: dict[str, torch.Tensor], wishes: Collection[Output], device: Device) -> Any:
    hidden = {"output_hidden_states": True} if any(output.what == "state" for output in wishes) else {}
    with precision(device):
        return model(**inputs, **hidden)


def _found(
    result: Any, inputs: dict[str, torch.Tensor], tokens: Tokens, rows: torch.Tensor, wishes: Collection[Output]
) -> Iterator[tuple[Output, torch.Tensor, torch.Tensor]]:
    """Each wish, the positions of these `rows` in its tensor, and their values."""
    for output in wishes:
        if output.what == "logits":
            values = tokens.objective.logits(result).float()
        else:
            states = result.hidden_states[output.layer]
            values = states if output.tokens == "all" else tokens.objective.example_states(states, inputs)
        words = inputs["attention_mask"].bool()
        yield output, tokens.rows_of(output, rows), values[words] if tokens.by_token(output) else values


@dataclass(frozen=True)
class LivePredecessor:
    """The predecessor of a kind of task whose logits are too large to keep: it runs on each micro-batch, in eval mode,
    so that it draws nothing from a random stream."""

    model: nn.Module
    wishes: frozenset[Output]

    @torch.no_grad()
    def __call__(self, batch: Batch, device: Device) -> dict[Output, torch.Tensor]:
        """The outputs in `wishes` for one micro-batch; of the logits only the rows that distillation compares."""
        result = _run(self.model.eval(), batch.inputs, self.wishes, device)
        return {output: self._values(output, result, batch) for output in self.wishes}

    def _values(self, output: Output, result: Any, batch: Batch) -> torch.Tensor:
        if output.what == "logits":
            return batch.objective.taught(batch.objective.logits(result), batch.labels).float()
        states: torch.Tensor = result.hidden_states[output.layer]
        return (
            batch.all_tokens(states) if output.tokens == "all" else batch.objective.example_states(states, batch.inputs)
        )
