"""The optimizer step compared with Hugging Face's Trainer and with the released recipe, and each method compared with
plain fine-tuning. MiniLM-L6's shape, batch 32, bfloat16, two threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import count, cycle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from baselines.method import PerExample
from benchmarks.bench.models import BATCH, BATCHES, SHAPE, TRAINING, against, device, record, split, trainer
from benchmarks.preflight.step_timer import matmul_rate, model_of
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.batches import micro_batches, training_rows
from benchmarks.training.dropout import MaskStream
from benchmarks.training.length_groups import LengthGroups
from theseus import ConstantRate, Theseus, find_blocks


def without_dropout(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def trainer_of(model: Any, tokens: Tokens) -> Callable[[], torch.Tensor]:
    """A function that takes the next step of transformers' Trainer on the same batches, in bfloat16."""
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        tempfile.mkdtemp(), per_device_train_batch_size=BATCH, bf16=True, use_cpu=True, report_to=[], max_steps=10**6,
        learning_rate=2e-5, lr_scheduler_type="constant",
    )  # fmt: skip
    hugging: Any = Trainer(model, arguments, train_dataset=[0] * BATCH)
    hugging.create_optimizer_and_scheduler(10**6)
    hugging.current_gradient_accumulation_steps = 1
    batches = cycle(list(training_rows(0, len(tokens), BATCH, BATCHES)))
    model.train()

    def step() -> torch.Tensor:
        inputs, labels = tokens.collate(next(batches), "cpu")
        loss: torch.Tensor = hugging.training_step(model, {**inputs, "labels": labels})
        hugging.accelerator.clip_grad_norm_(model.parameters(), 1.0)
        hugging.optimizer.step()
        hugging.lr_scheduler.step()
        model.zero_grad()
        return loss

    return step


@pytest.mark.parametrize(("task", "bar"), [("rte", 2.0), ("cola", 1.5)])
def bench_finetuning_against_hugging_face_trainer(task: str, bar: float, benchmark: Any) -> None:
    settings, tokens = device(), split(task)
    with trainer("predecessor", tokens, settings) as ours:
        theirs = trainer_of(model_of(SHAPE, 6, settings), tokens)
        against(benchmark, ours, theirs, f"fine-tuning step, {task} lengths: Trainer's time over ours", bar)


def bench_losses_are_the_trainers(benchmark: Any) -> None:
    """Six steps from the same weights without dropout give the same losses, up to the rounding of bfloat16."""
    settings, tokens = device(), split("rte")
    with trainer("predecessor", tokens, settings, model=without_dropout(model_of(SHAPE, 6, settings))) as ours:
        theirs = trainer_of(without_dropout(model_of(SHAPE, 6, settings)), tokens)
        mine, other = [float(ours()) for _ in range(5)], [float(theirs()) for _ in range(5)]
        mine.append(float(benchmark.pedantic(ours, rounds=1)))
        other.append(float(theirs()))
    gap = np.abs(np.array(mine) - np.array(other))
    record(benchmark, gap, "losses of six steps without dropout: distance to Trainer's", 0.01, at_least=False)


def released_recipe(tokens: Tokens) -> Callable[[], object]:
    """The released code's step on the same models: padding to 128, float32, gradients for everything, filled with zeros
    after each step (docs/fidelity.md, trap 7), attention in single operations, AdamW parameter by parameter."""
    settings = device("float32").model_copy(update={"attention": "eager"})
    theseus = Theseus(model_of(SHAPE, 6, settings), 3, ConstantRate(0.5, 10**6), frozen_gradients=True)
    optimizer = torch.optim.AdamW(theseus.trainable_parameters(), lr=2e-5, foreach=False, fused=False)
    batches = cycle(list(training_rows(0, len(tokens), BATCH, BATCHES)))

    def step() -> None:
        inputs, labels = tokens.collate(next(batches), "cpu")
        padded = {name: nn.functional.pad(values, (0, 128 - values.shape[1])) for name, values in inputs.items()}
        nn.functional.cross_entropy(theseus.model(**padded).logits, labels).backward()
        nn.utils.clip_grad_norm_(theseus.model.parameters(), 1.0)
        optimizer.step()
        theseus.model.zero_grad(set_to_none=False)
        theseus.step()

    return step


def bench_theseus_against_the_released_recipe(benchmark: Any) -> None:
    tokens = split("rte")
    theirs = released_recipe(tokens)
    with trainer("theseus", tokens, device()) as ours:
        against(benchmark, ours, theirs, "Theseus step, p = 0.5: released recipe's time over ours", 6.0, rounds=32)


@pytest.mark.parametrize(("name", "bar"), [("kd", 1.10), ("pkd", 1.10), ("theseus", 1.25)])
def bench_methods_against_plain_finetuning(name: str, bar: float, benchmark: Any) -> None:
    """Steps of the same successor. By its layer passes, Theseus at p = 0.5 should take 1.17 times as long."""
    settings, tokens = device(), split("rte")
    with trainer(name, tokens, settings) as ours, trainer("finetune", tokens, settings) as plain:
        claim = f"{name} step over plain fine-tuning of the same successor"
        against(benchmark, ours, plain, claim, bar, at_least=False, rounds=24)


def bench_share_of_the_matmul_rate(benchmark: Any) -> None:
    """Operations on words, without padding, over the bfloat16 matmul rate measured before each step."""
    settings, tokens = device(), split("rte")
    hidden, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    lengths = tokens.lengths.double()
    per_token = 2 * (4 * hidden**2 + 2 * hidden * inner) * lengths.sum() + 4 * hidden * (lengths**2).sum()
    operations = 3 * 6 * float(per_token) / BATCHES  # forward, twice that backward; six layers; mean batch
    rates: list[float] = []
    with trainer("predecessor", tokens, settings) as ours:
        ours()
        benchmark.pedantic(ours, setup=lambda: rates.append(matmul_rate(settings, hidden, 0.2)), rounds=2 * BATCHES)
    shares = operations / np.array(benchmark.stats.stats.data) / np.array(rates)
    record(benchmark, shares, "useful operations over the bf16 matmul rate, RTE lengths", 0.40, at_least=True)


def bench_what_is_not_computing(benchmark: Any) -> None:
    """The parts of a step besides forward, backward and optimizer: drawing the batch, padding, and its layout."""
    settings, tokens = device(), split("rte")
    order = list(training_rows(0, len(tokens), BATCH, BATCHES))
    model, masks, turns = model_of(SHAPE, 6, settings), MaskStream(), count()
    groups = LengthGroups(model, find_blocks(model).layers, TRAINING.length_groups, masks, PerExample())
    next(training_rows(1, len(tokens), BATCH, 1))

    def around() -> None:
        turn = next(turns)
        masks.restart(turn)
        for _ in micro_batches(tokens, order[turn % BATCHES], 1, "cpu", {}, groups):
            pass

    with trainer("finetune", tokens, settings) as whole:
        claim = "batching and layout over a whole fine-tuning step of three layers"
        against(benchmark, around, whole, claim, 0.03, at_least=False)
