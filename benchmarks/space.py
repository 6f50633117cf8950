"""What a plan will put on the disk, and whether it fits: asked before anything runs, because it may take days to fill.

Counted from the encoder's own tensor names and shapes, without loading a weight: successors that are kept, two
checkpoints per worker, tokens and predecessor outputs, predictions. Compressed files and shared ones come out smaller.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from pathlib import Path

from safetensors import safe_open

from benchmarks.encoder import WEIGHTS, EncoderSource
from benchmarks.errors import SuiteError
from benchmarks.held_out import training_examples
from benchmarks.lengths import load
from benchmarks.loading import folder_of
from benchmarks.plan import Plan, Run
from benchmarks.store import Store

FLOAT = 4
CHECKPOINTS = 2  # kept of a run under way
MOMENTS = 2  # that AdamW keeps of a parameter
PER_RUN = 64 * 1024  # configs, manifests, logs
PER_TOKEN = 5  # its id and its type
PER_EXAMPLE = 24  # offset, label, index
PER_PREDICTION = 48  # without its logits
UNKNOWN_LENGTH = 64  # tokens, of a task whose lengths nobody counted


@lru_cache(maxsize=32)
def parameters(folder: Path) -> tuple[int, int]:
    """Parameters of an encoder outside its layers, and of all its layers together."""
    outside = inside = 0
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            count = prod(file.get_slice(name).get_shape())
            if re.search(r"\.\d+\.", name):
                inside += count
            else:
                outside += count
    return outside, inside


def _model(run: Run, layers: int) -> int:
    """Parameters of the run's kind of model with that many layers."""
    source: EncoderSource = run.suite_encoder if run.start else run.encoder
    outside, inside = parameters(folder_of(source))
    return outside + inside * layers // source.layers


def _checkpoint(run: Run) -> int:
    """Of a run under way: what trains with its moments, and beside a successor the layers that it stands in for."""
    if run.finetuned:
        return 0
    beside = run.suite_encoder.layers if run.predecessor else 0
    return FLOAT * (
        (1 + MOMENTS) * _model(run, run.layers) + _model(run, run.layers + beside) - _model(run, run.layers)
    )


def _tokens(run: Run) -> int:
    task = run.task
    shipped = load().get(task.name)
    length = min(run.max_length, round(shipped.mean) if shipped else UNKNOWN_LENGTH)
    return (task.train_rows + sum(task.dev.values())) * (length * PER_TOKEN + PER_EXAMPLE)


def _outputs(run: Run, hidden: int) -> int:
    size = 2 if run.device.precision == "bfloat16" else FLOAT
    row = sum(FLOAT * run.task.outputs if name == "logits" else size * hidden for name in run.outputs)
    return training_examples(run.task, run.held_out) * row


def needed(plan: Plan, runs: Sequence[Run], workers: int) -> dict[str, int]:
    """Bytes that these runs will take, by what they are."""
    hidden = plan.suite.encoder.hidden_size
    predictions = sum(
        3 * sum(run.task.dev.values()) * (PER_PREDICTION + FLOAT * run.task.outputs) + PER_RUN for run in runs
    )
    under_way = sorted((_checkpoint(run) for run in runs), reverse=True)[:workers]
    tokens = {(run.source.fingerprint, run.tokenizer.hash, run.max_length): _tokens(run) for run in runs}
    outputs = {(run.predecessor, run.outputs): _outputs(run, hidden) for run in runs if run.needs()}
    return {
        "successors": sum(FLOAT * _model(run, run.layers) for run in runs if run.keep_successor),
        "checkpoints": CHECKPOINTS * sum(under_way),
        "caches": sum(tokens.values()) + sum(outputs.values()),
        "predictions and logs": predictions,
    }


def _there(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def check(plan: Plan, runs: Sequence[Run], store: Store, workers: int) -> None:
    """Raises `SuiteError` where the results folder's disk has less space than these runs will take."""
    if not runs:
        return
    parts = needed(plan, runs, workers)
    parts["caches"] = max(0, parts["caches"] - _there(store.cache()))
    total, free = sum(parts.values()), shutil.disk_usage(store.path).free
    if total > free:
        shares = ", ".join(f"{name} {size:,}" for name, size in parts.items() if size)
        raise SuiteError(
            f"{store.path}: {len(runs)} runs will take about {total:,} bytes ({shares}) and {free:,} are free: make "
            "room or choose another folder with --results"
        )
