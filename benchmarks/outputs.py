"""What a run takes from its predecessor: outputs for every training example, computed once for all pupils, never stale.

The cache's key holds all that the values depend on: the predecessor's weights as they lie there now, the tokenised
data, device and precision, code and packages. A cache that another process made is believed only after a few of its
rows, chosen at random, have come out of the live predecessor again.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from baselines.method import Given, Method
from benchmarks.arrays import Arrays, Stored
from benchmarks.batches import Tokens, tokenise, tokens_key
from benchmarks.data import TRAIN
from benchmarks.encoder import WEIGHTS
from benchmarks.evaluation import cached_outputs, predecessor_outputs
from benchmarks.held_out import split
from benchmarks.identity import hash_of, packages
from benchmarks.plan import Run
from benchmarks.settings import Device
from benchmarks.store import Store

ROWS = 4  # compared with the live predecessor
# Shares of the largest value of the compared rows. Rows padded to another length come out otherwise in the last bits:
# 1e-6 in float32, a few per cent in bfloat16. Those of other weights or sentences are off by about their own size.
EXACT, ROUNDED = 1e-3, 0.1


def outputs_of(run: Run, method: Method, given: Given, store: Store) -> tuple[Arrays, float, str | None]:
    """The predecessor outputs the method needs, what computing them took in seconds, and why a cache was made again."""
    needs = method.needs(run.suite_encoder.layers, run.modules)
    if not needs:
        return {}, 0.0, None
    assert run.predecessor_folder is not None
    tokens, _ = split(tokenise(run.suite_encoder, run.source, run.max_length, store.cache())[TRAIN], run.held_out)
    found = kept_outputs(
        store.cache(), cache_key(run, store.path / run.predecessor_folder / "successor"), run.outputs, tokens,
        run.device, lambda: given.predecessor().to(run.device.device),
    )  # fmt: skip
    return {name: found.arrays[name] for name in needs}, found.seconds, found.rebuilt


def cache_key(run: Run, predecessor: Path) -> dict[str, Any]:
    """All that the outputs depend on, beside their names."""
    return {
        "predecessor": run.predecessor,
        "weights": weights_hash(predecessor),
        "tokens": tokens_key(run.suite_encoder, run.source, run.max_length),
        "held_out": run.held_out,
        "device": run.config["device"],
        "code": hash_of("benchmarks.evaluation", "benchmarks.held_out"),
        "packages": packages(("torch", "transformers", "numpy")),
    }


def kept_outputs(
    folder: Path,
    key: dict[str, Any],
    names: frozenset[str],
    tokens: Tokens,
    device: Device,
    predecessor: Callable[[], Any],
) -> Stored:
    """The outputs from the cache, checked where another process made it; computed where there are none."""
    return cached_outputs(
        folder, key, names,
        lambda create: predecessor_outputs(predecessor(), tokens, names, device, create),
        lambda kept: _disagreement(kept, predecessor(), tokens, device),
    )  # fmt: skip


def _disagreement(kept: Arrays, predecessor: Any, tokens: Tokens, device: Device) -> str | None:
    """What some rows of the cache have that the live predecessor does not say of them."""
    rows = torch.tensor(sorted(random.SystemRandom().sample(range(len(tokens)), min(ROWS, len(tokens)))))
    live = predecessor_outputs(predecessor, tokens.select(rows), kept.keys(), device)
    share = EXACT if device.precision == "float32" and not device.tf32 else ROUNDED
    for name in sorted(kept):
        given, now = kept[name][rows].float(), live[name].float()
        if given.shape != now.shape:
            return f"{name} has the shape {list(given.shape[1:])} where the predecessor gives {list(now.shape[1:])}"
        furthest = (given - now).abs().flatten(1).amax(1)
        wrong = ~(furthest <= share * now.abs().max())  # NaN is wrong too
        if wrong.any():
            row = int(rows[wrong.nonzero()[0, 0]])
            return f"{name} of training example {row} is not what the predecessor says of it"
    return None


def weights_hash(folder: Path) -> str:
    """sha256 over weights and config.json of a saved model; a process reads a file again only if it was replaced."""
    digest = hashlib.sha256()
    for file in (folder / WEIGHTS, folder / "config.json"):
        found = file.stat()
        digest.update(_file_hash(file, found.st_mtime_ns, found.st_size))
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _file_hash(file: Path, modified: int, size: int) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
