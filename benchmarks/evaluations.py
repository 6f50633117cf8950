"""What the evaluations of a run leave: the log, and the checkpoint that each protocol reports."""

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
from benchmarks.batches import Tokens
from benchmarks.checkpoint import Checkpoint, Checkpoints, under
from benchmarks.evaluation import logits
from benchmarks.metrics import Scored, predict, score
from benchmarks.plan import Run
from benchmarks.training import Diverged, Point


@dataclass(frozen=True)
class Evaluated:
    """One checkpoint as it was evaluated: dev scores and logits by split, and its score on the held-out share."""

    point: Point
    scored: Scored
    logits: dict[str, NDArray[np.float32]]
    held_out: float | None

    def document(self) -> dict[str, Any]:
        """As result.json has it."""
        return {
            "step": self.point.step,
            "epoch": round(self.point.epoch, 6),
            "metrics": self.scored.metrics,
            "score": self.scored.score,
            "flags": self.scored.flags,
            "held_out_score": self.held_out,
        }


PROTOCOLS = ("last", "selected", "held_out")


@dataclass
class Evaluations:
    """The evaluations of a run as they come in: the log, and what each protocol keeps: the last, the best on dev,
    the best on the held-out share (the first of equals)."""

    run: Run
    method: Method
    dev: dict[str, Tokens]
    held_out: Tokens | None
    log: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, Evaluated] = field(default_factory=dict)
    weights: Any = None  # of the checkpoint that the suite reports (and so hands on), unless that is the last

    def add(self, model: nn.Module, point: Point) -> None:
        found = {split: logits(model, tokens, self.run.device) for split, tokens in self.dev.items()}
        if not all(np.isfinite(values).all() for values in found.values()):
            raise Diverged(f"logits are not finite at step {point.step}")
        scored = score(self.run.task, found, {split: tokens.labels.numpy() for split, tokens in self.dev.items()})
        evaluated = Evaluated(point, scored, found, self._held_out_score(model))
        self._keep(model, evaluated)
        self.log.append(
            {
                "step": point.step,
                "epoch": round(point.epoch, 6),
                "loss": point.loss,
                "learning_rate": point.learning_rate,
                "replacing_rate": point.replacing_rate,
                "gradient_norm": point.gradient_norm,
                "metrics": scored.metrics,
                "score": scored.score,
                "held_out_score": evaluated.held_out,
            }
        )

    def _held_out_score(self, model: nn.Module) -> float | None:
        if self.held_out is None:
            return None
        given = {"held out": logits(model, self.held_out, self.run.device)}
        return score(self.run.task, given, {"held out": self.held_out.labels.numpy()}).score

    def _keep(self, model: nn.Module, new: Evaluated) -> None:
        changed = {"last"}
        best, chosen = self.kept.get("selected"), self.kept.get("held_out")
        if best is None or new.scored.score > best.scored.score:
            changed.add("selected")
        if new.held_out is not None and (chosen is None or chosen.held_out is None or new.held_out > chosen.held_out):
            changed.add("held_out")
        self.kept |= dict.fromkeys(changed, new)
        reported = self.run.config["checkpoint"]
        if self.run.keep_successor and reported != "last" and reported in changed:
            self.weights = copy.deepcopy(self.method.successor(model)).cpu()

    def documents(self) -> dict[str, Any]:
        """The checkpoints of result.json; null for a protocol the suite's data does not allow."""
        return {name: self.kept[name].document() if name in self.kept else None for name in PROTOCOLS}

    def predictions(self) -> pd.DataFrame:
        """predictions.parquet: every kept checkpoint, dev split and example."""
        frames = []
        for checkpoint in (protocol for protocol in PROTOCOLS if protocol in self.kept):
            for name, values in self.kept[checkpoint].logits.items():
                frame = pd.DataFrame({"checkpoint": checkpoint, "split": name, "idx": self.dev[name].idx.numpy()})
                frame["label"] = self.dev[name].labels.numpy()
                frame["prediction"] = predict(self.run.task, values)
                frame["logits"] = list(values)
                frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    @property
    def keeps_weights(self) -> bool:
        """Does the run hand on the weights of another checkpoint than the last?"""
        return self.run.keep_successor and self.run.config["checkpoint"] != "last"

    def state(self) -> Checkpoint:
        """All of it, for a run that goes on later."""
        kept = list({id(value): value for value in self.kept.values()}.values())
        tensors = {f"logits/{number}/{split}": torch.from_numpy(values)
                   for number, value in enumerate(kept) for split, values in value.logits.items()}  # fmt: skip
        if self.weights is not None:
            tensors |= {f"successor/{name}": values for name, values in self.weights.state_dict().items()}
        document = {
            "log": self.log,
            "keeps_weights": self.keeps_weights,
            "kept": [{"point": asdict(value.point), "scored": asdict(value.scored), "held_out": value.held_out}
                     for value in kept],
            "protocols": {name: next(i for i, one in enumerate(kept) if one is value)
                          for name, value in self.kept.items()},
        }  # fmt: skip
        return Checkpoint(tensors, document)

    def restore(self, model: nn.Module, found: Checkpoint) -> None:
        """Go on from where `state` was taken."""
        self.log = found.document["log"]
        kept = []
        for number, value in enumerate(found.document["kept"]):
            own = {split: values.numpy() for split, values in found.part(f"logits/{number}").items()}
            point, scored = Point(**value["point"]), Scored(**value["scored"])
            kept.append(Evaluated(point, scored, {name: own[name] for name in self.dev}, value["held_out"]))
        self.kept = {name: kept[number] for name, number in found.document["protocols"].items()}
        if weights := found.part("successor"):
            self.weights = copy.deepcopy(self.method.successor(model)).cpu()
            self.weights.load_state_dict(weights)


@dataclass
class RunSaver:
    """Keeps a run's whole state, the loop's and the evaluations', in its checkpoints."""

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
            return None  # it was made when nobody wanted them: only from the start can they be had
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
