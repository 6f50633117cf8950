"""Check before anything runs that the disk has room for the files of a plan, because it may take days to fill.

The sizes come from the encoder's tensor shapes, without loading a weight: kept successors, two checkpoints and a copy
of a run's inputs per worker, tokens and predecessor outputs, predictions. Compressed and shared files turn out smaller.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from pathlib import Path

from safetensors import safe_open

from benchmarks.base.errors import SuiteError
from benchmarks.models import contents
from benchmarks.models.source import WEIGHTS, EncoderSource
from benchmarks.plans.run import Run
from benchmarks.runs.checkpoint import KEPT
from benchmarks.tasks import kinds
from benchmarks.tasks.data import split_file, splits_of
from benchmarks.tasks.lengths import load
from benchmarks.training.held_out import training_examples
from results.format.layout import CACHE

FLOAT = 4
MOMENTS = 2  # kept by AdamW for each parameter
PER_RUN = 64 * 1024  # configs, manifests, logs
PER_TOKEN = 5  # id and type
PER_EXAMPLE = 24  # offset, label, index
PER_PREDICTION = 48  # without logits
UNKNOWN_LENGTH = 64  # tokens, for a task without counted lengths
Folders = Mapping[EncoderSource, Path]


@lru_cache(maxsize=32)
def parameters(folder: Path) -> tuple[int, int]:
    """The number of parameters of an encoder outside its layers, and in all its layers together."""
    outside = inside = 0
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - the file is not a mapping
            count = prod(file.get_slice(name).get_shape())
            if re.search(r"\.\d+\.", name):
                inside += count
            else:
                outside += count
    return outside, inside


def _model(run: Run, layers: int, folders: Folders) -> int:
    """The number of parameters of the run's kind of model with that many layers."""
    source = run.tokenizer  # an encoder's folder holds weights and tokenizer
    outside, inside = parameters(folders[source])
    return outside + inside * layers // source.layers


def _checkpoint(run: Run, folders: Folders) -> int:
    """Bytes of one checkpoint: trained weights, their Adam moments and the predecessor's layers, if there is one."""
    if run.finetuned:
        return 0
    kept = run.suite_encoder.layers if run.predecessor else 0
    return FLOAT * (MOMENTS * _model(run, run.layers, folders) + _model(run, run.layers + kept, folders))


def _length(run: Run) -> int:
    """The mean number of tokens of an example, or a guess."""
    shipped = load().get(run.task.name)
    return min(run.max_length, round(shipped.mean) if shipped else UNKNOWN_LENGTH)


def _tokens(run: Run) -> int:
    return (run.task.train_rows + sum(run.task.dev.values())) * (_length(run) * PER_TOKEN + PER_EXAMPLE)


def _width(run: Run) -> int:
    """Outputs of the head."""
    found: int = kinds.find(run.task.kind).outputs(run.task)
    return found


def _outputs(run: Run, hidden: int) -> int:
    kind, row = kinds.find(run.task.kind), 0
    if kind.live:
        return 0  # the predecessor runs in every step
    for output in run.outputs:
        logits = output.what == "logits"
        rows = _length(run) if output.tokens == "all" or (logits and kind.per_token) else 1
        texts = len(run.task.columns) if kind.separate and output.tokens == "first" else 1
        row += rows * FLOAT * (kind.width(run.task, hidden) if logits else texts * hidden)
    return training_examples(run.task, run.held_out) * row


def _prediction(run: Run) -> int:
    """Bytes of an example in predictions.parquet."""
    rows = _length(run) if kinds.find(run.task.kind).per_token else 1
    return PER_PREDICTION + rows * FLOAT * _width(run)


def _inputs(run: Run, folders: Folders) -> int:
    """Bytes of the copies of its inputs that a run reads (benchmarks/runs/inputs.py)."""
    named = {run.finetuned} | {e.location for e in (run.encoder, run.suite_encoder) if e.revision is None}
    given = [Path(name) for name in named if name and Path(name).is_dir()]
    files = [folder / name for folder in given for name in contents.names(folder)]
    if run.source.folder is not None:
        files += [Path(run.source.folder) / split_file(run.task, split) for split in splits_of(run.task)]
    handed_on = [run.suite_encoder.layers] * (run.predecessor is not None) + [run.layers] * (run.start is not None)
    return sum(file.stat().st_size for file in files) + sum(FLOAT * _model(run, deep, folders) for deep in handed_on)


def needed(runs: Sequence[Run], hidden: int, folders: Folders, workers: int) -> dict[str, int]:
    """The bytes that these runs will take, by kind of file. `hidden`: the width of the encoder."""
    predictions = sum(3 * sum(run.task.dev.values()) * _prediction(run) + PER_RUN for run in runs)
    checkpoints = sorted((_checkpoint(run, folders) for run in runs), reverse=True)[:workers]
    inputs = sorted((_inputs(run, folders) for run in runs), reverse=True)[:workers]
    tokens = {(run.source.fingerprint, run.tokenizer.hash, run.max_length): _tokens(run) for run in runs}
    outputs = {(run.predecessor, run.outputs): _outputs(run, hidden) for run in runs if run.needs()}
    return {
        "successors": sum(FLOAT * _model(run, run.layers, folders) for run in runs if run.keep_successor),
        "checkpoints": KEPT * sum(checkpoints),
        "private inputs": sum(inputs),
        "caches": sum(tokens.values()) + sum(outputs.values()),
        "predictions and logs": predictions,
    }


def check(runs: Sequence[Run], hidden: int, folders: Folders, results: Path, workers: int) -> None:
    """Raises `SuiteError` if the disk of the results folder is too small for these runs."""
    if not runs:
        return
    parts = needed(runs, hidden, folders, workers)
    cached = sum(file.stat().st_size for file in (results / CACHE).rglob("*") if file.is_file())
    parts["caches"] = max(0, parts["caches"] - cached)
    total, free = sum(parts.values()), shutil.disk_usage(results).free
    if total > free:
        shares = ", ".join(f"{name} {size:,}" for name, size in parts.items() if size)
        raise SuiteError(
            f"{results}: {len(runs)} runs will take about {total:,} bytes ({shares}) and {free:,} are free: make "
            "room or choose another folder with --results"
        )
