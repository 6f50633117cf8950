"""One run, from its resolved settings to its finished folder. Executed in a worker process.

    data -> tokens -> model -> predecessor outputs -> training with dev evaluations -> result

A fault becomes a result too: `diverged` for a loss that is no longer finite, `failed` for anything else, with
the reason.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from baselines.method import Given
from benchmarks import device as devices
from benchmarks import outcome
from benchmarks.batches import Tokens, tokenise
from benchmarks.checkpoint import Checkpoints
from benchmarks.data import TRAIN
from benchmarks.encoder import EncoderSource
from benchmarks.evaluations import Evaluations, RunSaver
from benchmarks.faults import reason
from benchmarks.held_out import split
from benchmarks.identity import code_hash
from benchmarks.loading import load_finetuned, load_pretrained
from benchmarks.outputs import outputs_of, weights_hash
from benchmarks.plan import Run
from benchmarks.stopping import Stopped
from benchmarks.store import Store
from benchmarks.streams import stream_seed
from benchmarks.training import Diverged, Point, Trained, train


def tokens_of(encoder: EncoderSource, run: Run, store: Store) -> dict[str, Tokens]:
    """The run's splits under the tokenizer of `encoder`."""
    return tokenise(encoder, run.source, run.max_length, store.cache())


def handed_on(folder: Path) -> Path:
    """Where a finished run's weights lie. Raises `RuntimeError` where they are not those that it wrote."""
    successor = folder / "successor"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest.get("successor_hash") not in (None, weights_hash(successor)):
        raise RuntimeError(f"the weights in {successor} are not those its run wrote: remove {folder} and run again")
    return successor


def _given(run: Run, store: Store) -> Given:
    def predecessor() -> Any:
        assert run.predecessor_folder is not None
        return load_finetuned(handed_on(store.path / run.predecessor_folder), run.device.attention)

    def pretrained() -> Any:
        source = run.encoder
        if run.start_folder is not None:
            source = replace(source, location=str(handed_on(store.path / run.start_folder)))
        return load_pretrained(source, run.task, stream_seed(run.seed, "head"), run.device.attention)

    return Given(predecessor, pretrained, run.modules, stream_seed(run.seed, "gates"), run.steps)


@dataclass(frozen=True)
class RunOptions:
    """How a run is executed, where that changes none of its numbers."""

    checkpoint_seconds: float = 60.0  # between two checkpoints of a run
    probe: dict[str, Any] | None = None


def execute(run: Run, results: Path, options: RunOptions = RunOptions()) -> dict[str, Any]:
    """Execute one run into the results folder; its result.json. Raises `Stopped` where it was asked to stop."""
    store = Store(results)
    started = datetime.now(UTC)
    devices.reset_peak_memory(run.device)
    folder = store.start()
    config = {name: value for name, value in run.config.items() if name != "suite"}  # a run may be of several suites
    checkpoints = Checkpoints(store.checkpoints(run), run.id, config, options.checkpoint_seconds)
    result: dict[str, Any]
    extra: dict[str, Any] = {}
    try:
        result, extra = _train(run, store, folder, checkpoints)
    except Diverged as error:
        result = {"status": "diverged", "reason": str(error)}
    except Stopped:
        store.discard()
        raise
    except Exception as error:  # recorded as the run's outcome: one fault must not end a grid of days
        result = {"status": "failed", "reason": reason(error, run)}
    peak = devices.peak_memory(run.device)
    result = outcome.write(run, folder, started, result, {"determinism_probe": options.probe, **extra}, peak)
    store.finish(run, folder)
    if result["status"] == "done":
        checkpoints.discard()
    return result


def _train(run: Run, store: Store, folder: Path, checkpoints: Checkpoints) -> tuple[dict[str, Any], dict[str, Any]]:
    clock = time.monotonic()
    splits = tokens_of(run.tokenizer, run, store)
    train_tokens, held_out = split(splits[TRAIN], run.held_out)
    method, given = run.build(), _given(run, store)
    if code_hash(run.method) != run.config["code"]:  # a worker reads the code when it starts, the plan was made before
        raise RuntimeError("the code that trains was changed after this run was planned: run the command again")
    outputs, output_seconds, rebuilt = outputs_of(run, method, given, store)
    model = load_finetuned(Path(run.finetuned), run.device.attention) if run.finetuned else method.build(given)
    model.to(run.device.device)
    trainable = sum(parameter.numel() for parameter in method.parameters(model))
    evaluations = Evaluations(run, method, {name: splits[name] for name in run.task.dev}, held_out)
    saver = RunSaver(checkpoints, evaluations, model)
    setup_seconds = time.monotonic() - clock - output_seconds
    if run.finetuned:
        evaluations.add(model, Point(0, 0.0, None, 0.0, None))
        trained = Trained(0, 0, 0.0, 0.0)
    else:
        trained = train(
            method, model, train_tokens, outputs, run.training, run.seed, run.device,
            lambda point: evaluations.add(model, point), saver,
        )  # fmt: skip
    resumed: dict[str, Any] = {"resumed_at_step": saver.resumed_at, "checkpoint_notes": checkpoints.notes}
    last = evaluations.kept["last"]
    successor = method.successor(model)
    lines = [json.dumps(line, allow_nan=False) + "\n" for line in evaluations.log]
    (folder / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
    evaluations.predictions().to_parquet(folder / "predictions.parquet", index=False)
    if run.keep_successor:
        (evaluations.weights or successor).save_pretrained(folder / "successor")
        resumed["successor_hash"] = weights_hash(folder / "successor")
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
    rounded = {name: round(value, 3) for name, value in seconds.items()}
    return result, {"seconds": rounded, "cache_rebuilt": rebuilt, **resumed}
