"""`run --dry-run`: the first steps of every cell in memory, with the pretrained encoder as the predecessor.

It shows that a suite runs on this machine (shapes, memory, precision) and how long a step takes, before hours are
spent. It writes nothing and prints no score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from baselines.method import Output
from benchmarks.machine import device as devices
from benchmarks.models.loading import load_pretrained
from benchmarks.models.source import EncoderSource
from benchmarks.plans.run import Plan, Run
from benchmarks.runs.tokens import tokenise
from benchmarks.tasks.data import TRAIN
from benchmarks.training.batches import Tokens
from benchmarks.training.fit import Outputs, given_for, prepared
from benchmarks.training.forward import predecessor_outputs
from benchmarks.training.loop import train
from benchmarks.training.randomness import stream_seed
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

    def pretrained(source: EncoderSource, head_seed: int) -> Any:
        return load_pretrained(source, run.task, head_seed, run.device.attention)

    # Predecessors and starts do not exist yet. The pretrained encoder, cut to depth, has their shape.
    def start(head_seed: int) -> Any:
        if run.start:
            return keep_layers(pretrained(run.suite_encoder, head_seed), range(run.layers))
        return pretrained(run.encoder, head_seed)

    def outputs_of(wishes: frozenset[Output]) -> Outputs:
        predecessor = given.predecessor().to(run.device.device)
        return predecessor_outputs(predecessor, tokens_of(run.suite_encoder), wishes, run.device)

    head = stream_seed(run.seed, "head")
    given = given_for(run.seed, run.modules, run.steps, lambda: pretrained(run.suite_encoder, head), start)
    settings = run.training.model_copy(update={"max_steps": steps})
    depth, tokens = run.suite_encoder.layers, tokens_of(run.tokenizer)
    fit = prepared(run.build(), given, depth, tokens, outputs_of, settings, run.seed, run.device)
    losses: list[float | None] = []
    trained = train(fit, lambda point: losses.append(point.loss))
    say(
        f"{run.task.name} {run.arm}: loss {losses[-1]:.4f}, {trained.train_seconds / trained.steps:.2f} s a step, "
        f"{run.steps:,} steps planned"
    )
