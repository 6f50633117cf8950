"""The predecessor's outputs for every training example, computed once for all pupils and cached.

The cache's key holds everything that the values depend on: the predecessor's weights as they are on disk now, the
tokenised data, device and precision, code and packages. A cache that another process made is used only after a few of
its rows, chosen at random, were computed again with the live predecessor and agreed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from baselines.method import Output
from benchmarks.base.code_hash import hash_of
from benchmarks.base.identity import packages
from benchmarks.machine.settings import Device
from benchmarks.models.contents import own_files
from benchmarks.models.source import WEIGHTS
from benchmarks.plans.run import Run
from benchmarks.runs.store import Store
from benchmarks.runs.tensor_cache import Arrays, Stored, stored
from benchmarks.runs.tokens import tokenise, tokens_key
from benchmarks.tasks.data import TRAIN
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.fit import Outputs
from benchmarks.training.forward import predecessor_outputs
from benchmarks.training.held_out import split
from results.format.documents.codec import plain

ROWS = 4  # compared with the live predecessor
# Allowed difference as a share of the largest value of the compared rows. Padding to another length changes the last
# bits: 1e-6 in float32, a few per cent in bfloat16. Other weights or sentences change values by about their own size.
EXACT, ROUNDED = 1e-3, 0.1


@dataclass
class CachedOutputs:
    """The predecessor's outputs of a run, from the results folder's cache. A call sets `seconds`, the time to compute
    them, and `rebuilt`, the reason why a cache was made again."""

    run: Run
    store: Store
    predecessor: Callable[[], Any]
    seconds: float = 0.0
    rebuilt: str | None = None

    def __call__(self, wishes: frozenset[Output]) -> Outputs:
        run, cache = self.run, self.store.cache()
        assert run.predecessor_folder is not None
        tokens, _ = split(tokenise(run.suite_encoder, run.source, run.max_length, cache)[TRAIN], run.held_out)
        key = cache_key(run, self.store.successor(run.predecessor_folder))
        found = kept_outputs(
            cache, key, run.outputs, tokens, run.device, lambda: self.predecessor().to(run.device.device)
        )
        self.seconds, self.rebuilt = found.seconds, found.rebuilt
        return {output: found.arrays[output.name] for output in wishes}


def cache_key(run: Run, predecessor: Path) -> dict[str, Any]:
    """Everything that the outputs depend on, except their names."""
    return {
        "predecessor": run.predecessor,
        "weights": weights_hash(predecessor),
        "tokens": tokens_key(run.suite_encoder, run.source, run.max_length),
        "held_out": run.held_out,
        "device": plain(run.config.device),
        "code": hash_of("benchmarks.training.forward:predecessor_outputs", "benchmarks.training.held_out:split"),
        "packages": packages(("torch", "transformers", "numpy")),
    }


def kept_outputs(
    folder: Path,
    key: dict[str, Any],
    wishes: frozenset[Output],
    tokens: Tokens,
    device: Device,
    predecessor: Callable[[], Any],
) -> Stored:
    """The outputs from the cache, checked if another process made it, or computed. `key` must hold everything that the
    outputs depend on (`cache_key`)."""
    return stored(
        folder, "outputs", {**key, "outputs": sorted(output.name for output in wishes)},
        lambda create: predecessor_outputs(predecessor(), tokens, wishes, device, create),
        lambda kept: _disagreement(kept, predecessor(), wishes, tokens, device),
    )  # fmt: skip


def _disagreement(
    kept: Arrays, predecessor: Any, wishes: frozenset[Output], tokens: Tokens, device: Device
) -> str | None:
    """Compare a few cached examples with the live predecessor; a description of the first difference, or None."""
    rows = torch.tensor(sorted(random.SystemRandom().sample(range(len(tokens)), min(ROWS, len(tokens)))))
    live = predecessor_outputs(predecessor, tokens.select(rows), wishes, device)
    share = EXACT if device.precision == "float32" and not device.tf32 else ROUNDED
    for output in sorted(wishes):
        places = tokens.rows_of(output, rows)
        of_row = torch.repeat_interleave(rows, tokens.lengths[rows]) if tokens.by_token(output) else rows
        given, now = kept[output.name][places].float(), live[output].float()
        if given.shape != now.shape:
            shapes = f"{list(given.shape[1:])} where the predecessor gives {list(now.shape[1:])}"
            return f"{output.name} has the shape {shapes}"
        furthest = (given - now).abs().flatten(1).amax(1)
        wrong = ~(furthest <= share * now.abs().max())  # NaN is wrong too
        if wrong.any():
            row = int(of_row[wrong.nonzero()[0, 0]])
            return f"{output.name} of training example {row} differs from the predecessor's own"
    return None


def weights_hash(folder: Path) -> str:
    """sha256 over weights and settings of a saved model. A process reads a file again only if it was replaced."""
    digest = hashlib.sha256()
    for file in (folder / name for name in (WEIGHTS, "config.json", *own_files(folder))):
        found = file.stat()
        digest.update(_file_hash(file, found.st_ino, found.st_ctime_ns))
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _file_hash(file: Path, inode: int, changed: int) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
