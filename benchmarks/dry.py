"""A rehearsal: the first steps of every cell in memory, with a random or pretrained stand-in for the
predecessor.

Shows that a suite runs on this machine (shapes, memory, precision) and what a step costs, before hours are
spent. Nothing is written and no score is printed: a rehearsal has no result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from baselines.method import Given
from benchmarks import device as devices
from benchmarks.batches import Tokens, tokenise
from benchmarks.data import TRAIN
from benchmarks.encoder import EncoderSource
from benchmarks.evaluation import predecessor_outputs
from benchmarks.loading import load_pretrained
from benchmarks.plan import Plan, Run
from benchmarks.streams import stream_seed
from benchmarks.training import train
from theseus import keep_layers


def dry_run(plan: Plan, runs: Sequence[Run], steps: int, say: Callable[[str], None]) -> None:
    """`steps` optimizer steps of every cell, one line each with loss and seconds a step."""
    devices.apply(plan.device)
    if plan.encoder.random:
        say("dry run on random weights; words are hashed to ids in place of the tokenizer")
    for run in {(run.task.name, run.arm): run for run in reversed(runs)}.values():
        _rehearse(run, steps, say)


def _first(tokens: Tokens, examples: int) -> Tokens:
    return tokens.select(torch.arange(min(len(tokens), examples)))


def _rehearse(run: Run, steps: int, say: Callable[[str], None]) -> None:
    tokens, deep_tokens = (
        _first(tokenise(source, run.source, run.max_length)[TRAIN], steps * run.training.batch_size)
        for source in (run.tokenizer, run.suite_encoder)
    )
    method = run.build()

    def pretrained(source: EncoderSource) -> Any:
        return load_pretrained(source, run.task, stream_seed(run.seed, "head"), run.device.attention)

    # What other runs would hand over is not there yet: the pretrained encoder, cut to depth, has the same shape.
    def start() -> Any:
        return keep_layers(pretrained(run.suite_encoder), range(run.layers)) if run.start else pretrained(run.encoder)

    given = Given(lambda: pretrained(run.suite_encoder), start, run.modules, stream_seed(run.seed, "gates"), run.steps)
    outputs = {}
    if needs := method.needs(run.suite_encoder.layers, run.modules):
        outputs = predecessor_outputs(given.predecessor().to(run.device.device), deep_tokens, needs, run.device)
    model = method.build(given).to(run.device.device)
    losses: list[float | None] = []
    settings = run.training.model_copy(update={"max_steps": steps})
    trained = train(
        method, model, tokens, outputs, settings, run.seed, run.device, lambda point: losses.append(point.loss)
    )
    say(
        f"{run.task.name} {run.arm}: loss {losses[-1]:.4f}, {trained.train_seconds / trained.steps:.2f} s a step, "
        f"{run.steps:,} steps planned"
    )
