"""A kept successor is loaded again, and must answer as it did, before its run is called done.

A config that does not fit its weights shows only when somebody loads the folder: a Longformer cut to six layers was
saved with twelve attention windows, and no file of a finished suite could be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.machine.settings import Device
from benchmarks.models.loading import load_finetuned
from benchmarks.plans.run import Run
from benchmarks.runs.store import Store
from benchmarks.runs.tokens import tokenise
from benchmarks.tasks import kinds
from benchmarks.tasks.table import Task
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.forward import logits
from results.format import layout

# Of the largest logit, by precision: kernels may be chosen anew. A weight that is lost or made up changes far more.
TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}
COMPARED = 64  # dev examples


def check_kept(run: Run, folder: Path, store: Store) -> None:
    """Load the successor in `folder` and compare its answers to the first dev examples with the predictions there.
    Raises `RuntimeError` if they differ, and what transformers raises if it cannot be loaded."""
    split = next(iter(run.task.dev))
    tokens = tokenise(run.tokenizer, run.source, run.max_length, store.cache())[split]
    stored = pd.read_parquet(folder / layout.PREDICTIONS, columns=["checkpoint", "split", "idx", "logits"])
    kept = run.config.checkpoint if run.config.checkpoint in set(stored.checkpoint) else "last"
    own = stored[(stored.checkpoint == kept) & (stored.split == split)].set_index("idx").logits
    first = torch.unique(tokens.idx)[:COMPARED]
    some = tokens.select(torch.isin(tokens.idx, first).nonzero().flatten())
    expected = np.concatenate(list(own.loc[torch.unique_consecutive(some.idx).numpy()]))
    check_answers(folder / layout.SUCCESSOR, run.task, some, expected, run.device)


def answers_of(model: Any, task: Task, tokens: Tokens, device: Device) -> NDArray[Any]:
    """The logits of all examples end to end, as predictions.parquet has them."""
    found = kinds.find(task.kind).predictions(task, logits(model, tokens, device), tokens)
    return np.concatenate(list(found.logits))


def check_answers(folder: Path, task: Task, tokens: Tokens, expected: NDArray[Any], device: Device) -> None:
    """Raises `RuntimeError` unless the model in `folder` gives these logits (`answers_of`)."""
    model = load_finetuned(folder, device.attention, task.kind).to(device.device)
    difference = float(np.abs(answers_of(model, task, tokens, device) - expected).max())
    if not difference <= TOLERANCE[device.precision] * max(1.0, float(np.abs(expected).max())):
        raise RuntimeError(
            f"the successor answers otherwise when it is loaded again (logits differ by {difference:.3g}): its class "
            "does not save all that it needs"
        )
