"""Build the cases of `benchmarks.gpu` as the training loop builds them, from random weights and random words.

Sentences have the lengths of GLUE's (benchmarks/tasks/lengths.py), because the time of a step depends only on lengths.
The predecessor's outputs are random too, because the loop only reads them from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AttentionInterface
from transformers.models.bert.modeling_bert import BertLayer

from baselines.method import LOGITS, Output
from benchmarks.gpu.cases import Case, Scale, method_of
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.preflight.step_timer import model_of, tokens_of
from benchmarks.tasks.lengths import load
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.batches import EVALUATION_BATCH, training_rows
from benchmarks.training.dropout import StreamedDropout
from benchmarks.training.fit import Outputs, given_for, prepared
from benchmarks.training.forward import predecessor_outputs
from benchmarks.training.length_groups import NAME
from benchmarks.training.settings import Training
from benchmarks.training.step import stepping

TASKS = tuple(load())
EACH = 8  # batches of every task, which a worker repeats
EXAMPLES = EACH * EVALUATION_BATCH  # of every task
STEPS = 10**9  # planned steps: so many that the learning rate stays constant
Batches = list[torch.Tensor]  # row numbers of each batch
Run = Callable[[int], torch.Tensor]


@cache
def split_of(vocabulary: int) -> Tokens:
    """`EXAMPLES` sentences of every task, task after task."""
    generator = np.random.default_rng(0)
    shares = [(task.lengths, np.array(task.counts) / sum(task.counts)) for task in load().values()]
    drawn = [generator.choice(lengths, EXAMPLES, p=share) for lengths, share in shares]
    return tokens_of(torch.from_numpy(np.concatenate(drawn)), vocabulary)


def batches_of(scale: Scale, case: Case, tokens: Tokens, seed: int) -> Batches:
    """The rows of `EACH` batches of every task; batch n is of task (seed + n) % tasks, so that workers differ. Training
    batches are drawn at random; the batches of a pass contain neighbours in the order of length."""
    parts = []
    for start in range(0, len(tokens), EXAMPLES):
        if case.is_pass:
            found = tokens.lengths[start : start + EXAMPLES].argsort().split(EVALUATION_BATCH)
        else:
            found = tuple(training_rows(seed, EXAMPLES, scale.batch_size, EACH))
        parts.append([start + rows for rows in found])
    return [parts[(seed + number) % len(parts)][number // len(parts)] for number in range(EACH * len(parts))]


def layer_operations(shape: dict[str, int], lengths: torch.Tensor) -> float:
    """Operations of one layer's forward pass over examples of these `lengths` (n,), without padding:
    2 (4 h^2 + 2 h i) + 4 n h per token, as in benchmarks/preflight/cost.py."""
    tokens, hidden = lengths.double(), shape["hidden_size"]
    linear = 2 * (4 * hidden**2 + 2 * hidden * shape["intermediate_size"])
    return float((tokens * (linear + 4 * tokens * hidden)).sum())


@dataclass(frozen=True)
class Timed:
    """A built case: `run(n)` starts batch n on the device and returns its loss or logits. `work[n]` holds the task, the
    number of examples and the operations of batch n of the cycle."""

    place: Device
    model: nn.Module
    run: Run
    work: list[tuple[str, int, float]]


@contextmanager
def built(scale: Scale, case: Case, seed: int) -> Iterator[Timed]:
    """The built case; its model is prepared for training until the context ends."""
    place = scale.place(precision=case.precision, deterministic=case.deterministic)
    devices.apply(place)
    tokens = split_of(scale.shape["vocab_size"])
    batches = batches_of(scale, case, tokens, seed)
    with ExitStack() as open_:
        build = _pass if case.is_pass else partial(_training, open_)
        model, layers, run = build(scale, case, tokens, batches, place)
        counts = [layers * layer_operations(scale.shape, tokens.lengths[rows]) for rows in batches]
        tasks = [TASKS[int(rows[0]) // EXAMPLES] for rows in batches]
        yield Timed(place, model, run, list(zip(tasks, map(len, batches), counts, strict=True)))


def _pass(scale: Scale, case: Case, tokens: Tokens, batches: Batches, place: Device) -> tuple[nn.Module, float, Run]:
    layers = scale.successor if case.name == "evaluate-successor" else scale.layers
    for_pupils, model = case.name == "predecessor-outputs", random_model(scale, layers, place)
    wishes = method_of("pkd").needs(scale.layers, scale.successor) if for_pupils else {LOGITS}
    parts = [tokens.select(rows) for rows in batches]
    return model, layers, lambda n: predecessor_outputs(model, parts[n % len(parts)], wishes, place)[LOGITS]


def _training(
    open_: ExitStack, scale: Scale, case: Case, tokens: Tokens, batches: Batches, place: Device
) -> tuple[nn.Module, float, Run]:
    settings, hidden = Training(length_groups=case.groups, batch_size=scale.batch_size), scale.shape["hidden_size"]

    def deep(*_: int) -> Any:
        return random_model(scale, scale.layers, place)

    def outputs_of(wishes: frozenset[Output]) -> Outputs:
        dtype = getattr(torch, case.precision)
        return {wish: torch.randn(len(tokens), 2 if wish == LOGITS else hidden).to(dtype) for wish in sorted(wishes)}

    given = given_for(0, scale.successor, STEPS, deep, deep)
    fit = prepared(method_of(case.name), given, scale.layers, tokens, outputs_of, settings, 0, place, total=STEPS)
    step = open_.enter_context(stepping(fit))
    if fit.length_groups > 1 and not step.groups.fits:
        raise RuntimeError("length groups give other logits than plain padding on this machine")
    if case.compiled:
        compile_layers(fit.model, scale.backend)
    layers = fit.method.work(scale.layers, scale.successor, steps=1)
    return fit.model.train(), layers, lambda n: step(n, batches[n % len(batches)]).loss


def random_model(scale: Scale, layers: int, place: Device) -> Any:
    """A classifier with random weights, made on the device, because making BERT-base on a CPU takes seconds."""
    with torch.device(place.device):
        return model_of(scale.shape, layers, place)


@cache
def _keep_attention_out_of_graphs() -> None:
    """Exclude attention over length groups from graphs, which would be compiled again for every batch."""
    AttentionInterface.register(NAME, torch.compiler.disable(AttentionInterface()[NAME]))


def compile_layers(model: nn.Module, backend: str) -> None:
    """Compile every layer of `model` separately, because Theseus' gates choose between layers."""
    import torch._dynamo  # start-up: it takes half a second, and uncompiled cases do not need it

    torch._dynamo.config.recompile_limit = 64
    _keep_attention_out_of_graphs()
    on_cpu = next(model.parameters()).device.type == "cpu"
    for module in model.modules():
        if isinstance(module, BertLayer):
            vars(module)["forward"] = torch.compile(module.forward, dynamic=True, backend=backend)
        elif isinstance(module, StreamedDropout) and on_cpu:  # graphs cannot contain its masks, which come from numpy
            module.p = 0.0
