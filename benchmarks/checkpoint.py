"""Checkpoints inside a run, so that a killed run goes on and ends with the same bits.

    <results>/.checkpoints/<run id>/step-00000120/
        state.safetensors     weights that move, optimizer, generators, logits
        state.json            counters, the log so far, config, sha256 of the above

Written to a temporary name, synced and renamed; the last two are kept. Order of examples, dropout and learning rate are
functions of seed and step (benchmarks/streams.py), so nothing of them needs saving. A damaged checkpoint is passed over
for the one before it, and without one the run starts again: both give the same result, later.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.disk import sync

STATE, INDEX = "state.safetensors", "state.json"
KEPT = 2
SHARE = 0.02  # of the training time that writing checkpoints may take


class ForeignCheckpoint(RuntimeError):
    """A checkpoint under this run's name that other settings made; the message names the fields that differ."""


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` by name, and `document`, what of the state JSON can hold exactly."""

    tensors: dict[str, torch.Tensor]
    document: dict[str, Any]

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors whose names begin with `name/`, without it."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def under(name: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors with names that begin with `name/`."""
    return {f"{name}/{key}": value for key, value in tensors.items()}


@dataclass
class Checkpoints:
    """One run's checkpoints in `folder`. `config`: the run's, which a checkpoint must have been made under.

    A new one is due `seconds` after the last was written, or later where writing takes more than 2 % of that.
    """

    folder: Path
    run_id: str
    config: dict[str, Any]
    seconds: float
    notes: list[str] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)
    cost: float = 0.0

    def due(self) -> bool:
        """Is it time for the next one?"""
        return time.monotonic() - self.written >= max(self.seconds, self.cost / SHARE)

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write the state after `step` optimizer steps; afterwards only the last two are kept."""
        started = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()},
                      partial / STATE)  # fmt: skip
            index = {"schema": 1, "run_id": self.run_id, "config": self.config, "step": step,
                     "sha256": _hash(partial / STATE), "document": checkpoint.document}  # fmt: skip
            (partial / INDEX).write_text(json.dumps(index, allow_nan=False) + "\n", encoding="utf-8")
            for file in partial.iterdir():
                sync(file)
            final = self.folder / f"step-{step:08d}"
            shutil.rmtree(final, ignore_errors=True)
            partial.replace(final)
            sync(self.folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        for old in self._found()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        self.written = time.monotonic()
        self.cost = self.written - started

    def load(self) -> tuple[int, Checkpoint] | None:
        """The newest whole checkpoint and its step. Raises `ForeignCheckpoint` for one made under other settings."""
        for partial in self.folder.glob(".partial-*"):
            shutil.rmtree(partial, ignore_errors=True)
        for folder in self._found():
            try:
                index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
                whole = index["sha256"] == _hash(folder / STATE)
            except (OSError, ValueError, KeyError, TypeError):
                whole = False
            if not whole:
                self.notes.append(f"checkpoint {folder.name} was damaged and passed over")
                continue
            if differ := differing(index["config"], self.config):
                raise ForeignCheckpoint(f"{folder} was made under another {', '.join(differ)}: remove it")
            self.written = time.monotonic()
            return index["step"], Checkpoint(load_file(folder / STATE), index["document"])
        return None

    def discard(self) -> None:
        """Remove them all: the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def differing(first: Any, second: Any, prefix: str = "") -> list[str]:
    """Dotted names of the fields in which two configs differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        names = sorted(first.keys() | second.keys())
        return [
            found
            for name in names
            for found in differing(first.get(name), second.get(name), f"{prefix}.{name}" if prefix else name)
        ]
    return [] if first == second else [prefix]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
