"""The evaluations of a run: their log, and the checkpoint that each protocol reports."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from baselines.method import Method
from benchmarks.machine.settings import Device
from benchmarks.tasks import kinds
from benchmarks.tasks.table import Scored, Task
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.forward import logits
from benchmarks.training.loop import Diverged, Point
from benchmarks.training.state import Checkpoint
from results.format.documents.codec import from_json, plain
from results.format.documents.run import Checkpoint as ReportedCheckpoint
from results.format.documents.run import Evaluation, Predictions
from results.format.documents.suite import PROTOCOLS


@dataclass(frozen=True)
class Evaluated:
    """One evaluated checkpoint: its dev scores, its logits by split, and its score on the held-out share."""

    point: Point
    scored: Scored
    logits: dict[str, NDArray[np.float32]]
    held_out: float | None

    def reported(self) -> ReportedCheckpoint:
        """As result.json has it."""
        return ReportedCheckpoint(
            step=self.point.step,
            epoch=round(self.point.epoch, 6),
            metrics=self.scored.metrics,
            score=self.scored.score,
            flags=tuple(self.scored.flags),
            held_out_score=self.held_out,
        )

    def line(self) -> Evaluation:
        """As metrics.jsonl has it."""
        return Evaluation(
            step=self.point.step,
            epoch=round(self.point.epoch, 6),
            loss=self.point.loss,
            learning_rate=self.point.learning_rate,
            replacing_rate=self.point.replacing_rate,
            gradient_norm=self.point.gradient_norm,
            metrics=self.scored.metrics,
            score=self.scored.score,
            held_out_score=self.held_out,
        )


@dataclass
class Evaluations:
    """The evaluations of a run so far: the log, and the checkpoint that each protocol keeps: the last, the best on dev,
    or the best on the held-out share (the first of equals).

    `handed_on`: the protocol whose checkpoint is kept as the successor; None if the run keeps no successor."""

    task: Task
    device: Device
    method: Method
    dev: dict[str, Tokens]
    held_out: Tokens | None
    handed_on: str | None = None
    log: list[Evaluation] = field(default_factory=list)
    kept: dict[str, Evaluated] = field(default_factory=dict)
    weights: Any = None  # of the checkpoint that is handed on, unless that is the last

    def add(self, model: nn.Module, point: Point) -> None:
        """Evaluate `model`, log the scores, and keep them for each protocol that chooses them. Raises `Diverged` for
        logits that are not finite."""
        found = {split: logits(model, tokens, self.device) for split, tokens in self.dev.items()}
        if not all(np.isfinite(values).all() for values in found.values()):
            raise Diverged(f"logits are not finite at step {point.step}")
        scored = kinds.find(self.task.kind).score(self.task, found, self.dev)
        evaluated = Evaluated(point, scored, found, self._held_out_score(model))
        self._keep(model, evaluated)
        self.log.append(evaluated.line())

    def _held_out_score(self, model: nn.Module) -> float | None:
        if self.held_out is None:
            return None
        given = {"held out": logits(model, self.held_out, self.device)}
        found: float = kinds.find(self.task.kind).score(self.task, given, {"held out": self.held_out}).score
        return found

    def _keep(self, model: nn.Module, new: Evaluated) -> None:
        changed = {"last"}
        best, chosen = self.kept.get("selected"), self.kept.get("held_out")
        if best is None or new.scored.score > best.scored.score:
            changed.add("selected")
        if new.held_out is not None and (chosen is None or chosen.held_out is None or new.held_out > chosen.held_out):
            changed.add("held_out")
        self.kept |= dict.fromkeys(changed, new)
        if self.keeps_weights and self.handed_on in changed:
            self.weights = copy.deepcopy(self.method.successor(model)).cpu()

    def reported(self) -> tuple[ReportedCheckpoint | None, ...]:
        """The checkpoint of each of `PROTOCOLS` for result.json; None where the suite's data does not allow one."""
        return tuple(self.kept[name].reported() if name in self.kept else None for name in PROTOCOLS)

    def predictions(self) -> pd.DataFrame:
        """The table of predictions.parquet: every kept checkpoint, dev split and example."""
        frames = []
        for checkpoint in (protocol for protocol in PROTOCOLS if protocol in self.kept):
            for name, values in self.kept[checkpoint].logits.items():
                own = kinds.find(self.task.kind).predictions(self.task, values, self.dev[name])
                idx = torch.unique_consecutive(self.dev[name].idx).numpy()
                found = Predictions(checkpoint=checkpoint, split=name, idx=idx, **vars(own))
                frames.append(pd.DataFrame(found.columns()))
        return pd.concat(frames, ignore_index=True)

    @property
    def keeps_weights(self) -> bool:
        """Whether the run hands on the weights of another checkpoint than the last."""
        return self.handed_on not in (None, "last")

    def state(self) -> Checkpoint:
        """The state for a resumed run; a checkpoint that several protocols keep is stored once."""
        kept = list({id(value): value for value in self.kept.values()}.values())
        tensors = {f"logits/{number}/{split}": torch.from_numpy(values)
                   for number, value in enumerate(kept) for split, values in value.logits.items()}  # fmt: skip
        if self.weights is not None:
            tensors |= {f"successor/{name}": values for name, values in self.weights.state_dict().items()}
        document = {
            "log": [plain(line) for line in self.log],
            "keeps_weights": self.keeps_weights,
            "kept": [{"point": asdict(value.point), "scored": asdict(value.scored), "held_out": value.held_out}
                     for value in kept],
            "protocols": {name: next(i for i, one in enumerate(kept) if one is value)
                          for name, value in self.kept.items()},
        }  # fmt: skip
        return Checkpoint(tensors, document)

    def restore(self, model: nn.Module, found: Checkpoint) -> None:
        """Continue from what `state` returned."""
        self.log = [from_json(Evaluation, line, "log") for line in found.document["log"]]
        kept = []
        for number, value in enumerate(found.document["kept"]):
            own = {split: values.numpy() for split, values in found.part(f"logits/{number}").items()}
            point, scored = Point(**value["point"]), Scored(**value["scored"])
            kept.append(Evaluated(point, scored, {name: own[name] for name in self.dev}, value["held_out"]))
        self.kept = {name: kept[number] for name, number in found.document["protocols"].items()}
        if weights := found.part("successor"):
            self.weights = copy.deepcopy(self.method.successor(model)).cpu()
            self.weights.load_state_dict(weights)
