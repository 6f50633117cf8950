"""Checkpoints of a run in progress, so that a killed run continues and ends with the same bits.

    <results>/.checkpoints/<run id>/step-00000120/
        state.safetensors     trained weights, optimizer, generators, logits
        state.json            counters, the log so far, config, sha256 of the above

A checkpoint is written under a temporary name, synced and renamed; the last two are kept. The order of examples,
dropout and learning rate are functions of seed and step (training/randomness.py), so they are not saved. After a
damaged checkpoint the run continues from the one before it, or from the start; the result is the same.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.training.protocols import Evaluations
from benchmarks.training.state import Checkpoint, under
from results.format.files import place_folder
from results.format.untrusted import file_digest


@dataclass
class RunSaver:
    """Saves a run's whole state, the loop's and the evaluations', in its checkpoints."""

    checkpoints: Checkpoints
    evaluations: Evaluations
    model: nn.Module
    resumed_at: int | None = None

    def resume(self) -> Checkpoint | None:
        found = self.checkpoints.load()
        if found is None:
            return None
        step, checkpoint = found
        if self.evaluations.keeps_weights and not checkpoint.document["evaluations"]["keeps_weights"]:
            self.checkpoints.notes.append(f"checkpoint step-{step:08d} has no weights of the best evaluation")
            return None  # it was made before the run had to keep them; only a new start can produce them
        self.resumed_at = step
        own = Checkpoint(checkpoint.part("evaluations"), checkpoint.document["evaluations"])
        self.evaluations.restore(self.model, own)
        return Checkpoint(checkpoint.part("loop"), checkpoint.document["loop"])

    def due(self) -> bool:
        return self.checkpoints.due()

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        own = self.evaluations.state()
        tensors = {**under("loop", checkpoint.tensors), **under("evaluations", own.tensors)}
        self.checkpoints.save(step, Checkpoint(tensors, {"loop": checkpoint.document, "evaluations": own.document}))


STATE, INDEX = "state.safetensors", "state.json"
KEPT = 2  # checkpoints of an unfinished run
SHARE = 0.02  # of the training time: the limit for writing checkpoints


class ForeignCheckpoint(RuntimeError):
    """A checkpoint under this run's name that was made with other settings; the message names the different fields."""


@dataclass
class Checkpoints:
    """One run's checkpoints in `folder`. `config` holds the run's settings; a checkpoint must have the same.

    A new one is due `seconds` after the last was written, or later if writing takes more than 2 % of that time.
    """

    folder: Path
    run_id: str
    config: dict[str, Any]
    seconds: float
    notes: list[str] = field(default_factory=list)
    written: float = field(default_factory=time.monotonic)
    cost: float = 0.0

    def due(self) -> bool:
        """Is it time for the next checkpoint?"""
        return time.monotonic() - self.written >= max(self.seconds, self.cost / SHARE)

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write the state after `step` optimizer steps, and remove all but the last two checkpoints."""
        started = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
        try:
            tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
            save_file(tensors, partial / STATE)
            index = {
                "schema": 1, "run_id": self.run_id, "config": self.config, "step": step,
                "sha256": file_digest(partial / STATE), "document": checkpoint.document,
            }  # fmt: skip
            (partial / INDEX).write_text(json.dumps(index, allow_nan=False) + "\n", encoding="utf-8")
            final = self.folder / f"step-{step:08d}"
            shutil.rmtree(final, ignore_errors=True)
            place_folder(partial, final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        for old in self._found()[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        self.written = time.monotonic()
        self.cost = self.written - started

    def load(self) -> tuple[int, Checkpoint] | None:
        """The newest undamaged checkpoint and its step. Raises `ForeignCheckpoint` for one made with other settings."""
        for partial in self.folder.glob(".partial-*"):
            shutil.rmtree(partial, ignore_errors=True)
        for folder in self._found():
            try:
                index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
                whole = index["sha256"] == file_digest(folder / STATE) and isinstance(index["step"], int)
                whole = whole and isinstance(index["config"], dict) and isinstance(index["document"], dict)
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
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
        """Remove all checkpoints; the run is done."""
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
