"""One run, from its resolved settings to its finished folder. Executed in a worker process.

    data -> tokens -> model -> predecessor outputs -> training with dev evaluations -> result

A fault becomes a result too: `diverged` for a loss that is no longer finite, `failed` for anything else, with
the reason.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from baselines.method import Given, Method
from benchmarks import device as devices
from benchmarks import outcome
from benchmarks.batches import Tokens, tokenise
from benchmarks.data import TRAIN
from benchmarks.encoder import EncoderSource, load_finetuned, load_pretrained
from benchmarks.evaluation import cached_outputs, logits, predecessor_outputs
from benchmarks.faults import reason
from benchmarks.held_out import split
from benchmarks.identity import code_hash
from benchmarks.metrics import Scored, predict, score
from benchmarks.plan import Run
from benchmarks.stopping import Stopped
from benchmarks.store import Store
from benchmarks.streams import stream_seed
from benchmarks.training import Diverged, Point, Trained, train


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


def tokens_of(encoder: EncoderSource, run: Run, store: Store) -> dict[str, Tokens]:
    """The run's splits under the tokenizer of `encoder`."""
    return tokenise(encoder, run.source, run.max_length, store.cache())


def _given(run: Run, store: Store) -> Given:
    def predecessor() -> Any:
        assert run.predecessor_folder is not None
        return load_finetuned(store.path / run.predecessor_folder / "successor", run.device.attention)

    def pretrained() -> Any:
        source = run.encoder
        if run.start_folder is not None:
            source = replace(source, location=str(store.path / run.start_folder / "successor"))
        return load_pretrained(source, run.task, stream_seed(run.seed, "head"), run.device.attention)

    return Given(predecessor, pretrained, run.modules, stream_seed(run.seed, "gates"), run.steps)


def _outputs(run: Run, method: Method, given: Given, store: Store) -> tuple[dict[str, torch.Tensor], float]:
    """The predecessor outputs the method needs, for every training example, and what they cost in seconds."""
    needs = method.needs(run.suite_encoder.layers, run.modules)
    if not needs:
        return {}, 0.0
    device = run.device
    tokens, _ = split(tokens_of(run.suite_encoder, run, store)[TRAIN], run.held_out)
    data = run.config["data"]
    key = {name: data[name] for name in ("fingerprint", "columns", "max_length", "held_out")}
    found, seconds = cached_outputs(
        store.cache(), {**key, "predecessor": run.predecessor}, run.outputs,
        lambda create: predecessor_outputs(given.predecessor().to(device.device), tokens, run.outputs, device, create),
    )  # fmt: skip
    return {name: found[name] for name in needs}, seconds


@dataclass(frozen=True)
class RunOptions:
    """How a run is executed, where that changes none of its numbers."""

    checkpoint_seconds: float = 60.0
    probe: dict[str, Any] | None = None


def execute(run: Run, results: Path, options: RunOptions = RunOptions()) -> dict[str, Any]:
    """Execute one run into the results folder; its result.json. Raises `Stopped` where it was asked to stop."""
    store = Store(results)
    started = datetime.now(UTC)
    devices.reset_peak_memory(run.device)
    folder = store.start()
    result: dict[str, Any]
    extra: dict[str, Any] = {}
    try:
        result, extra = _train(run, store, folder)
    except Diverged as error:
        result = {"status": "diverged", "reason": str(error)}
    except Stopped:
        store.discard()
        raise
    except Exception as error:  # recorded as the run's outcome: one fault must not end a grid of days
        result = {"status": "failed", "reason": reason(error, run)}
    peak = devices.peak_memory(run.device)
    result = outcome.write(run, folder, started, result, extra, peak)
    store.finish(run, folder)
    return result


def _train(run: Run, store: Store, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    clock = time.monotonic()
    splits = tokens_of(run.tokenizer, run, store)
    train_tokens, held_out = split(splits[TRAIN], run.held_out)
    method, given = run.build(), _given(run, store)
    if code_hash(run.method) != run.config["code"]:  # a worker reads the code when it starts, the plan was made before
        raise RuntimeError("the code that trains was changed after this run was planned: run the command again")
    outputs, output_seconds = _outputs(run, method, given, store)
    model = load_finetuned(Path(run.finetuned), run.device.attention) if run.finetuned else method.build(given)
    model.to(run.device.device)
    trainable = sum(parameter.numel() for parameter in method.parameters(model))
    evaluations = Evaluations(run, method, {name: splits[name] for name in run.task.dev}, held_out)
    setup_seconds = time.monotonic() - clock - output_seconds
    if run.finetuned:
        evaluations.add(model, Point(0, 0.0, None, 0.0, None))
        trained = Trained(0, 0, 0.0, 0.0)
    else:
        trained = train(
            method, model, train_tokens, outputs, run.training, run.seed, run.device,
            lambda point: evaluations.add(model, point),
        )  # fmt: skip
    last = evaluations.kept["last"]
    successor = method.successor(model)
    lines = [json.dumps(line, allow_nan=False) + "\n" for line in evaluations.log]
    (folder / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
    evaluations.predictions().to_parquet(folder / "predictions.parquet", index=False)
    if run.keep_successor:
        (evaluations.weights or successor).save_pretrained(folder / "successor")
    result = {
        "status": "done",
        **evaluations.documents(),
        "evaluations": len(evaluations.log),
        "steps": trained.steps,
        "epochs": round(last.point.epoch, 6),
        "layers": run.layers,
        "parameters": sum(parameter.numel() for parameter in successor.parameters()),
        "trainable_parameters": 0 if run.finetuned else trainable,
        "train_seconds": round(trained.train_seconds, 3),
        "examples_per_second": round(trained.examples / trained.train_seconds, 3) if trained.train_seconds else None,
    }
    seconds = {"setup": setup_seconds, "predecessor_outputs": output_seconds, "training": trained.train_seconds,
               "evaluation": trained.evaluation_seconds}  # fmt: skip
    return result, {"seconds": {name: round(value, 3) for name, value in seconds.items()}}
