"""One run, from its resolved settings to its finished folder. Executed in a worker process.

    data -> tokens -> model -> predecessor outputs -> training with dev evaluations -> result

A fault becomes a result too: `diverged` for a loss that is no longer finite, `failed` for anything else, with
the reason.
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass, field
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
from benchmarks.batches import Tokens, tokenise
from benchmarks.data import TRAIN
from benchmarks.encoder import load_finetuned, load_pretrained
from benchmarks.evaluation import cached_outputs, logits, predecessor_outputs
from benchmarks.identity import surroundings
from benchmarks.metrics import Scored, predict, score
from benchmarks.plan import Run
from benchmarks.store import Store, dump
from benchmarks.streams import stream_seed
from benchmarks.training import Diverged, Point, Trained, train


@dataclass
class Evaluations:
    """The dev evaluations of a run as they come in: the last, the best (first of equals), and the log."""

    run: Run
    method: Method
    dev: dict[str, Tokens]
    log: list[dict[str, Any]] = field(default_factory=list)
    last: tuple[Point, Scored, dict[str, NDArray[np.float32]]] | None = None
    selected: tuple[Point, Scored, dict[str, NDArray[np.float32]]] | None = None
    weights: Any = None  # of the selected checkpoint, where the suite reports (and so hands on) that one

    def add(self, model: nn.Module, point: Point) -> None:
        found = {split: logits(model, tokens, self.run.device) for split, tokens in self.dev.items()}
        if not all(np.isfinite(values).all() for values in found.values()):
            raise Diverged(f"logits are not finite at step {point.step}")
        scored = score(self.run.task, found, {split: tokens.labels.numpy() for split, tokens in self.dev.items()})
        self.last = (point, scored, found)
        if self.selected is None or scored.score > self.selected[1].score:
            self.selected = self.last
            if self.run.keep_successor and self.run.config["checkpoint"] == "selected":
                self.weights = copy.deepcopy(self.method.successor(model)).cpu()
        self.log.append(
            {
                "step": point.step,
                "epoch": round(point.epoch, 6),
                "loss": point.loss,
                "learning_rate": point.learning_rate,
                "replacing_rate": point.replacing_rate,
                "metrics": scored.metrics,
                "score": scored.score,
            }
        )

    def predictions(self) -> pd.DataFrame:
        """predictions.parquet: both checkpoints, every dev split and example."""
        frames = []
        for checkpoint, kept in (("last", self.last), ("selected", self.selected)):
            assert kept is not None
            for split, values in kept[2].items():
                frame = pd.DataFrame({"checkpoint": checkpoint, "split": split, "idx": self.dev[split].idx})
                frame["label"] = self.dev[split].labels.numpy()
                frame["prediction"] = predict(self.run.task, values)
                frame["logits"] = list(values)
                frames.append(frame)
        return pd.concat(frames, ignore_index=True)


def _given(run: Run, store: Store) -> Given:
    def predecessor() -> Any:
        assert run.predecessor_folder is not None
        folder = store.path / run.predecessor_folder
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if result["status"] != "done":
            raise RuntimeError(f"its predecessor {run.predecessor} {result['status']}: {result['reason']}")
        return load_finetuned(folder / "successor", run.device.attention)

    def pretrained() -> Any:
        return load_pretrained(run.encoder, run.task, stream_seed(run.seed, "head"), run.device.attention)

    return Given(predecessor, pretrained, run.layers, stream_seed(run.seed, "gates"), run.steps)


def _outputs(
    run: Run, method: Method, given: Given, store: Store, tokens: Tokens
) -> tuple[dict[str, torch.Tensor], float]:
    """The predecessor outputs the method needs, for every training example, and what they cost in seconds."""
    if not method.needs:
        return {}, 0.0
    data = run.config["data"]
    key = {"predecessor": run.predecessor, "data": data["fingerprint"], "max_length": data["max_length"]}
    return cached_outputs(
        store.cache(), key, method.needs,
        lambda: predecessor_outputs(given.predecessor().to(run.device.device), tokens, method.needs, run.device),
    )  # fmt: skip


def _checkpoint(kept: tuple[Point, Scored, Any] | None) -> dict[str, Any] | None:
    if kept is None:
        return None
    point, scored, _ = kept
    return {
        "step": point.step,
        "epoch": round(point.epoch, 6),
        "metrics": scored.metrics,
        "score": scored.score,
        "flags": scored.flags,
    }


def execute(run: Run, results: Path) -> dict[str, Any]:
    """Execute one run into the results folder; its result.json. Only Ctrl-C and the system stop it half-way."""
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
    except Exception as error:  # recorded as the run's outcome: one fault must not end a grid of days
        result = {"status": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    peak = devices.peak_memory(run.device)
    result = {"schema": 1, "run_id": run.id, **{name: None for name in RESULT}, **result, "peak_memory_bytes": peak}
    manifest = {
        "schema": 1,
        "run_id": run.id,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **surroundings(),
        "code_hash": run.config["code"],
        "device": run.config["device"],
        "device_name": devices.device_name(run.device),
        "data_fingerprint": run.config["data"]["fingerprint"],
        "encoder_hash": run.encoder.hash,
        "predecessor": run.predecessor,
        "determinism_probe": None,
        "peak_memory_bytes": peak,
        **extra,
    }
    for name, value in (("config", run.config), ("manifest", manifest), ("result", result)):
        (folder / f"{name}.json").write_text(dump(value), encoding="utf-8")
    store.finish(run, folder)
    return result


RESULT = ("status", "reason", "last", "selected", "evaluations", "steps", "epochs", "layers", "parameters",
          "trainable_parameters", "train_seconds", "examples_per_second")  # fmt: skip


def _train(run: Run, store: Store, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    clock = time.monotonic()
    splits = tokenise(run.encoder, run.source, run.max_length)
    method, given = run.build(), _given(run, store)
    outputs, output_seconds = _outputs(run, method, given, store, splits[TRAIN])
    model = load_finetuned(Path(run.finetuned), run.device.attention) if run.finetuned else method.build(given)
    model.to(run.device.device)
    trainable = sum(parameter.numel() for parameter in method.parameters(model))
    evaluations = Evaluations(run, method, {split: splits[split] for split in run.task.dev})
    setup_seconds = time.monotonic() - clock - output_seconds
    if run.finetuned:
        evaluations.add(model, Point(0, 0.0, None, 0.0, None))
        trained = Trained(0, 0, 0.0, 0.0)
    else:
        trained = train(
            method, model, splits[TRAIN], outputs, run.training, run.seed, run.device,
            lambda point: evaluations.add(model, point),
        )  # fmt: skip
    assert evaluations.last is not None
    successor = method.successor(model)
    lines = [json.dumps(line, allow_nan=False) + "\n" for line in evaluations.log]
    (folder / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
    evaluations.predictions().to_parquet(folder / "predictions.parquet", index=False)
    if run.keep_successor:
        (evaluations.weights or successor).save_pretrained(folder / "successor")
    result = {
        "status": "done",
        "last": _checkpoint(evaluations.last),
        "selected": _checkpoint(evaluations.selected),
        "evaluations": len(evaluations.log),
        "steps": trained.steps,
        "epochs": round(evaluations.last[0].epoch, 6),
        "layers": run.layers,
        "parameters": sum(parameter.numel() for parameter in successor.parameters()),
        "trainable_parameters": 0 if run.finetuned else trainable,
        "train_seconds": round(trained.train_seconds, 3),
        "examples_per_second": round(trained.examples / trained.train_seconds, 3) if trained.train_seconds else None,
    }
    seconds = {"setup": setup_seconds, "predecessor_outputs": output_seconds, "training": trained.train_seconds,
               "evaluation": trained.evaluation_seconds}  # fmt: skip
    return result, {"seconds": {name: round(value, 3) for name, value in seconds.items()}}
