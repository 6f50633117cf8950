"""The plan's check is the run's: one optimizer step of every kind of run, under the suite's own settings.

What a plan checks on paper can still fail when it is computed: a model without SDPA attention, a batch that does not
fit into memory, an example longer than the model's positions, a successor that cannot be saved and loaded. So a worker
takes one step of each arm on a batch of the longest example, before anything is trained. A pass is kept per machine.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import code_hash, hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.identity import packages
from benchmarks.machine.device import Machine
from benchmarks.machine.workers import WorkerDied, side_by_side
from benchmarks.models.loading import load_finetuned
from benchmarks.models.source import EncoderSource
from benchmarks.plans.run import Plan, Run
from benchmarks.preflight.rehearsal import fit_of
from benchmarks.preflight.token_facts import TokenFacts
from benchmarks.runs.faults import reason
from benchmarks.runs.kept import check_answers
from benchmarks.runs.tokens import tokenizer_of
from benchmarks.tasks.data import load_splits
from benchmarks.training.batches import Tokens, tokenise_split
from benchmarks.training.forward import logits
from benchmarks.training.step import stepping
from results.format.untrusted import text

KIND = "first-step"
CORRELATED = 0.3
SAID = 250  # characters of an error that are shown
SCALED = 512  # dev examples on which a given predecessor's scale is looked at


@dataclass(frozen=True)
class Trial:
    """A run that stands for all of its kind. `brought`: the folder of the predecessor that the user gives its task."""

    run: Run
    facts: TokenFacts
    brought: str | None
    key: dict[str, Any]

    @property
    def length(self) -> int:
        """Tokens of the longest example, as the run cuts it."""
        return min(self.facts.longest, self.run.max_length)


def try_first_steps(
    plan: Plan, runs: Sequence[Run], facts: Mapping[tuple[str, str], TokenFacts], say: Callable[[str], None]
) -> None:
    """Raises `SuiteError` for the first kind of these runs whose first step fails."""
    with machine_cache.one_at_a_time(KIND):
        todo = [trial for trial in trials(plan, runs, facts) if not machine_cache.read(KIND, bool, trial.key)]
        if not todo:
            return
        say(f"trying the first step of {len(todo)} kinds of run on their longest examples (once)")
        try:
            (found,) = side_by_side(1, plan.device, tried, todo)
        except WorkerDied as error:
            raise SuiteError(
                f"the first step of a run fails: {error}: set training.micro_batches to 2 or more"
            ) from None
        for trial, failure in zip(todo, found, strict=False):  # nothing was tried after a failure
            if failure:
                raise SuiteError(failure)
            with contextlib.suppress(OSError, RuntimeError):  # without a writable cache, try again next time
                machine_cache.write(KIND, trial.key, True)


def trials(plan: Plan, runs: Sequence[Run], facts: Mapping[tuple[str, str], TokenFacts]) -> list[Trial]:
    """The longest of each kind: a shorter example cannot fail where a longer one passes."""
    brought = {run.id: run for run in plan.runs if run.finetuned}
    found: dict[str, Trial] = {}
    for run in runs:
        given = run if run.finetuned else brought.get(run.predecessor or "")
        known = facts[run.task.name, run.tokenizer.hash]
        key = _key(run, given, plan.machine)
        trial = Trial(
            run, known, given.finetuned if given else None, key | {"length": min(known.longest, run.max_length)}
        )
        if (other := found.get(repr(key))) is None or other.length < trial.length:
            found[repr(key)] = trial
    return list(found.values())


def _key(run: Run, brought: Run | None, machine: Machine) -> dict[str, Any]:
    """All that decides whether a step can be taken; the length of its examples comes on top."""
    started = run.suite_encoder if run.start else run.encoder
    training = run.training
    return {
        "method": run.method, "options": _whole(run.options), "layers": run.layers, "modules": run.modules,
        "batch": [training.batch_size, training.micro_batches, training.length_groups],
        "device": machine.device.model_dump(mode="json"), "machine": [machine.name, machine.class_],
        "encoders": [started.hash, run.suite_encoder.hash], "start": run.start is not None,
        "task": [run.task.outputs, run.task.regression, len(run.task.columns)], "kept": run.keep_successor,
        "brought": [brought.config.finetuned, run.source.fingerprint] if brought else None,
        "code": code_hash(run.method), "packages": packages(("torch", "transformers", "tokenizers")),
        "trial": hash_of("benchmarks.preflight.first_step", "benchmarks.preflight.rehearsal", "benchmarks.runs.kept"),
    }  # fmt: skip


def _whole(options: Any) -> Any:
    """Options without fractions (weights, temperatures, rates): they change values, and no shape."""
    if isinstance(options, dict):
        return {name: _whole(value) for name, value in options.items() if not isinstance(value, float)}
    return options


def tried(todo: list[Trial]) -> list[str | None]:
    """Why each fails, up to the first that does. Runs in a worker."""
    found: list[str | None] = []
    for trial in todo:
        try:
            _take(trial)
            found.append(None)
        except Exception as error:  # whatever the run would raise
            return [*found, _failure(trial, error)]
    return found


def _take(trial: Trial) -> None:
    run, brought = trial.run, trial.brought
    if run.finetuned:
        model = load_finetuned(Path(run.finetuned), run.device.attention).to(run.device.device)
        logits(model, _batch(trial, run.tokenizer), run.device)
        if run.task.regression:
            _check_scale(trial, model)
        return
    training = run.training.model_copy(update={"max_steps": 1})
    fit = fit_of(run, lambda encoder: _batch(trial, encoder), training, brought)
    fit.model.train()
    with stepping(fit) as step:
        step(0, torch.arange(len(fit.tokens)))
    if run.keep_successor:
        successor = fit.method.successor(fit.model)
        with tempfile.TemporaryDirectory() as folder:
            successor.save_pretrained(folder)
            check_answers(Path(folder), fit.tokens, logits(successor, fit.tokens, run.device), run.device)


def _batch(trial: Trial, encoder: EncoderSource) -> Tokens:
    """A batch of the longest example, and another example, so that there is padding."""
    rows = load_splits(trial.run.source)[trial.facts.split]
    most = max(1, trial.run.training.batch_size - 1)
    return _tokens(trial.run, encoder, rows.select([trial.facts.row] * most + [0]))


def _tokens(run: Run, encoder: EncoderSource, rows: Any) -> Tokens:
    return tokenise_split(tokenizer_of(encoder), run.task, rows, run.max_length)


def _check_scale(trial: Trial, model: Any) -> None:
    """Raises `ValueError` for a regression model that knows the task, but answers on another scale. Its pupils would
    learn that scale, and every score but a correlation would be wrong."""
    run = trial.run
    rows = load_splits(run.source)[next(iter(run.task.dev))]
    tokens = _tokens(run, run.tokenizer, rows.select(range(0, len(rows), max(1, len(rows) // SCALED))))
    answers, labels = logits(model, tokens, run.device)[:, 0], tokens.labels.numpy()
    error, variance = float(np.square(answers - labels).mean()), float(labels.var())
    correlation = float(np.corrcoef(answers, labels)[0, 1])
    if error > variance and correlation > CORRELATED:
        raise ValueError(
            f"its answers correlate with the labels ({correlation:.2f}) but lie on another scale, from "
            f"{answers.min():.2f} to {answers.max():.2f} (mean squared error {error:.2f}, variance of the labels "
            f"{variance:.2f}): fine-tune it on the task's own scale, 0 to 5"
        )


def _failure(trial: Trial, error: Exception) -> str:
    """One line: which run, why, and what to change."""
    run, said = trial.run, reason(error, trial.run)
    positions = trial.facts.positions
    if re.search(r"scaled_dot_product_attention|attn_implementation|attention implementation", said):
        remedy = ': set device.attention = "eager"'
    elif positions and trial.length > positions:
        remedy = f": the longest example has {trial.length} tokens: set task.{run.task.name}.max_length = {positions}"
    elif run.finetuned or said.startswith("out of memory"):
        remedy = ""
    else:
        remedy = ": change the arm, or leave it out with --methods"
    what = f"the predecessor in {run.finetuned}" if run.finetuned else f"the first step of arm {run.arm}"
    return f"{run.task.name}: {what} fails ({text(said, SAID)}){remedy}"
