"""`run --dry-run`: the first steps of every cell in memory, with the pretrained encoder as the predecessor.

It shows that a suite runs on this machine (shapes, memory, precision) and how long a step takes, before hours are
spent. It writes nothing and prints no score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from baselines.method import Output
from benchmarks.machine import device as devices
from benchmarks.models.loading import load_finetuned, load_pretrained
from benchmarks.models.source import EncoderSource
from benchmarks.plans.run import Plan, Run
from benchmarks.runs.tokens import tokenise
from benchmarks.tasks.data import TRAIN
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.fit import Fit, Outputs, given_for, prepared
from benchmarks.training.forward import predecessor_outputs
from benchmarks.training.loop import train
from benchmarks.training.randomness import stream_seed
from benchmarks.training.settings import Training
from theseus import keep_layers


def dry_run(plan: Plan, runs: Sequence[Run], steps: int, say: Callable[[str], None]) -> None:
    """Take `steps` optimizer steps of every cell and print one line each, with loss and seconds a step."""
    devices.apply(plan.device)
    if plan.encoder.random:
        say("dry run with random weights; a hash of each word replaces the tokenizer")
    for run in {(run.task.name, run.arm): run for run in reversed(runs)}.values():
        _rehearse(run, steps, say)


def _rehearse(run: Run, steps: int, say: Callable[[str], None]) -> None:
    def tokens_of(source: EncoderSource) -> Tokens:
        tokens = tokenise(source, run.source, run.max_length)[TRAIN]
        return tokens.select(torch.arange(min(len(tokens), steps * run.training.batch_size)))

    fit = fit_of(run, tokens_of, run.training.model_copy(update={"max_steps": steps}))
    losses: list[float | None] = []
    trained = train(fit, lambda point: losses.append(point.loss))
    say(
        f"{run.task.name} {run.arm}: loss {losses[-1]:.4f}, {trained.train_seconds / trained.steps:.2f} s a step, "
        f"{run.steps:,} steps planned"
    )


def fit_of(
    run: Run, tokens_of: Callable[[EncoderSource], Tokens], training: Training, brought: str | None = None
) -> Fit:
    """What a run would train on these tokens. Predecessors and starts may not exist yet: the pretrained encoder, cut to
    depth, has their shape. `brought`: the folder of a predecessor that the user gives."""

    def pretrained(source: EncoderSource, head_seed: int) -> Any:
        return load_pretrained(source, run.task, head_seed, run.device.attention)

    def predecessor() -> Any:
        if brought:
            return load_finetuned(Path(brought), run.device.attention, run.task.kind)
        return pretrained(run.suite_encoder, stream_seed(run.seed, "head"))

    def start(head_seed: int) -> Any:
        if run.start:
            return keep_layers(pretrained(run.suite_encoder, head_seed), range(run.layers))
        return pretrained(run.encoder, head_seed)

    def outputs_of(wishes: frozenset[Output]) -> Outputs:
        deep = given.predecessor().to(run.device.device)
        return predecessor_outputs(deep, tokens_of(run.suite_encoder), wishes, run.device)

    given = given_for(run.seed, run.modules, run.steps, predecessor, start)
    depth, tokens = run.suite_encoder.layers, tokens_of(run.tokenizer)
    return prepared(run.build(), given, depth, tokens, outputs_of, training, run.seed, run.device)
