"""Execute one run in a worker process, from its resolved settings to its finished folder.

    data -> tokens -> model -> predecessor outputs -> training with dev evaluations -> result

An error becomes a result too, with the reason: `diverged` for a loss that is not finite, `failed` for anything else.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from baselines.method import Given
from benchmarks.base.code_hash import code_hash
from benchmarks.base.stop import Stopped, check
from benchmarks.machine import device as devices
from benchmarks.machine.workers import to_finish
from benchmarks.models.loading import load_finetuned, load_pretrained
from benchmarks.plans.run import Run
from benchmarks.runs import record, tensor_cache
from benchmarks.runs.checkpoint import Checkpoints, RunSaver
from benchmarks.runs.faults import reason
from benchmarks.runs.inputs import private
from benchmarks.runs.kept import check_kept
from benchmarks.runs.predecessor_outputs import CachedOutputs, weights_hash
from benchmarks.runs.store import Store
from benchmarks.runs.tokens import tokenise
from benchmarks.tasks.data import TRAIN
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.fit import Fit, given_for, prepared
from benchmarks.training.held_out import split
from benchmarks.training.loop import Diverged, Point, Trained, train
from benchmarks.training.protocols import Evaluations
from results.format import layout
from results.format.documents.codec import LEFT_OUT, from_json, plain
from results.format.documents.run import Manifest, Outcome, Probe, Seconds
from results.format.untrusted import load


def weights_of(folder: Path) -> Path:
    """The folder of a finished run's weights. Raises `RuntimeError` if they are not the weights that the run wrote."""
    successor = folder / layout.SUCCESSOR
    manifest = from_json(Manifest, load(folder / layout.MANIFEST), layout.MANIFEST)
    if manifest.successor_hash not in (None, weights_hash(successor)):
        raise RuntimeError(f"the weights in {successor} are not those its run wrote: remove {folder} and run again")
    return successor


def given_of(run: Run, store: Store) -> Given:
    """How the run's method gets its models."""

    def predecessor() -> Any:
        check()
        assert run.predecessor_folder is not None
        folder = weights_of(store.path / run.predecessor_folder)
        return load_finetuned(folder, run.device.attention, run.task.kind)

    def pretrained(head_seed: int) -> Any:
        check()
        source = run.encoder
        if run.start_folder is not None:
            source = replace(source, location=str(weights_of(store.path / run.start_folder)))
        return load_pretrained(source, run.task, head_seed, run.device.attention)

    return given_for(run.seed, run.modules, run.steps, predecessor, pretrained)


@dataclass(frozen=True)
class RunOptions:
    """Options of executing a run that change none of its numbers."""

    checkpoint_seconds: float = 60.0  # between two checkpoints of a run
    probe: Probe | None = None  # determinism probe of the machine


def execute(run: Run, results: Path, options: RunOptions = RunOptions()) -> Outcome:
    """Execute one run into the results folder. Raises `Stopped` if it was asked to stop."""
    store = Store(results)
    started = datetime.now(UTC)
    devices.reset_peak_memory(run.device)
    folder = store.start()
    checkpoints = Checkpoints(store.checkpoints(run), run.id, run.config.settings, options.checkpoint_seconds)
    manifest, peak = Manifest(), None
    try:
        tensor_cache.watch()
        own = private(run, store)
        outcome, manifest = _train(own, store, folder, checkpoints)
        peak = devices.peak_memory(run.device)  # of the training, without the model that is loaded again
        if run.keep_successor:
            check_kept(own, folder, store)
        if damaged := tensor_cache.changed():
            raise RuntimeError(f"cache/{damaged} was changed while the run read it: run the command again")
    except Diverged as error:
        outcome = Outcome("diverged", str(error))
    except Stopped:
        store.discard()
        raise
    except Exception as error:  # recorded as the run's outcome: one error must not end a grid that takes days
        outcome = Outcome("failed", reason(error, run))
    peak = devices.peak_memory(run.device) if peak is None else peak
    outcome = record.write(run, folder, started, outcome, manifest, options.probe, peak)
    store.finish(run, folder)
    if outcome.status == "done":
        checkpoints.discard()
    return outcome


def fit_of(run: Run, given: Given, tokens: Tokens, outputs: CachedOutputs) -> Fit:
    """What the run trains on these tokens; a predecessor that the user brought is only evaluated."""
    method = run.build()
    if run.finetuned:
        model = load_finetuned(Path(run.finetuned), run.device.attention, run.task.kind).to(run.device.device)
        return Fit(method, model, tokens, {}, run.training, run.seed, run.device)
    return prepared(method, given, run.suite_encoder.layers, tokens, outputs, run.training, run.seed, run.device)


@dataclass(frozen=True)
class Computed:
    """A run that has trained: all that its files are written from. `setup`: seconds before the first step."""

    fit: Fit
    trainable: int
    outputs: CachedOutputs
    evaluations: Evaluations
    saver: RunSaver
    trained: Trained
    setup: float


def computed(run: Run, store: Store, checkpoints: Checkpoints) -> Computed:
    """Train and evaluate. `given_of`, `fit_of` and this function pass every number from the run's settings to the code
    that computes, so they are part of a run's id (benchmarks/base/code_hash.py); writing files is not."""
    clock = time.monotonic()
    splits = tokenise(run.tokenizer, run.source, run.max_length, store.cache())
    check()
    tokens, held_out = split(splits[TRAIN], run.held_out)
    given = given_of(run, store)
    outputs = CachedOutputs(run, store, given.predecessor)
    fit = fit_of(run, given, tokens, outputs)
    trainable = 0 if run.finetuned else sum(parameter.numel() for parameter in fit.method.parameters(fit.model))
    dev = {name: splits[name] for name in run.task.dev}
    handed_on = run.config.checkpoint if run.keep_successor else None
    evaluations = Evaluations(run.task, run.device, fit.method, dev, held_out, handed_on)
    saver = RunSaver(checkpoints, evaluations, fit.model)
    setup = time.monotonic() - clock - outputs.seconds
    if run.finetuned:
        evaluations.add(fit.model, Point(0, 0.0, None, 0.0, None))
        return Computed(fit, trainable, outputs, evaluations, saver, Trained(0, 0, 0.0, 0.0), setup)
    check()
    to_finish.set()
    done = train(fit, lambda point: evaluations.add(fit.model, point), saver)
    return Computed(fit, trainable, outputs, evaluations, saver, done, setup)


def _train(run: Run, store: Store, folder: Path, checkpoints: Checkpoints) -> tuple[Outcome, Manifest]:
    if (
        code_hash(run.method, run.task.kind) != run.config.code
    ):  # a worker reads the code when it starts, after planning
        raise RuntimeError("the code that trains was changed after this run was planned: run the command again")
    found = computed(run, store, checkpoints)
    successor = found.fit.method.successor(found.fit.model)
    _write(run, folder, found.evaluations, successor)
    trained = found.trained
    seconds = (found.setup, found.outputs.seconds, trained.train_seconds, trained.evaluation_seconds)
    return outcome_of(run, found, successor), Manifest(
        seconds=Seconds(*(round(part, 3) for part in seconds)),
        cache_rebuilt=found.outputs.rebuilt,
        resumed_at_step=found.saver.resumed_at,
        checkpoint_notes=checkpoints.notes,
        successor_hash=weights_hash(folder / layout.SUCCESSOR) if run.keep_successor else LEFT_OUT,
    )


def _write(run: Run, folder: Path, evaluations: Evaluations, successor: Any) -> None:
    lines = [json.dumps(plain(line), allow_nan=False) + "\n" for line in evaluations.log]
    (folder / layout.METRICS).write_text("".join(lines), encoding="utf-8")
    evaluations.predictions().to_parquet(folder / layout.PREDICTIONS, index=False)
    if run.keep_successor:
        (evaluations.weights or successor).save_pretrained(folder / layout.SUCCESSOR)


def outcome_of(run: Run, found: Computed, successor: Any) -> Outcome:
    """result.json of a run that is done."""
    evaluations, trained = found.evaluations, found.trained
    last, selected, held_out = evaluations.reported()
    return Outcome(
        status="done",
        last=last,
        selected=selected,
        held_out=held_out,
        evaluations=len(evaluations.log),
        steps=trained.steps,
        epochs=round(evaluations.kept["last"].point.epoch, 6),
        layers=run.layers,
        parameters=sum(parameter.numel() for parameter in successor.parameters()),
        trainable_parameters=found.trainable,
        train_seconds=round(trained.train_seconds, 3),
        examples_per_second=round(trained.examples / trained.train_seconds, 3) if trained.train_seconds else None,
    )
