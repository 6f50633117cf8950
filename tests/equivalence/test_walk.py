"""Twenty optimizer steps of the suite's loop against a second implementation of all of it in plain tensor code.

Here nothing of the library, the methods or torch's optimizers is used: BERT's forward pass, the gates, which
parameters have a gradient, AdamW with its moments, clipping and the learning-rate schedule are written out again.
In float64, so that agreement to 1e-6 leaves no room for a different rule.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from baselines import find
from baselines.method import LOGITS, Given, Output
from benchmarks.machine.settings import Device
from benchmarks.training.batches import training_rows
from benchmarks.training.fit import Fit
from benchmarks.training.loop import train
from benchmarks.training.settings import Training
from tests import tiny

STEPS, BATCH, SEED, GATES_SEED, DEEP, SHALLOW = 20, 4, 3, 11, 4, 2
HEADS, EPSILON = 2, 1e-12
Weights = dict[str, torch.Tensor]


def deep(seed: int, labels: int) -> Any:
    return tiny.bert(DEEP, labels, seed=seed).double()


# --- BERT, from its weights by name ---


def linear(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.pow(2).mean(-1, keepdim=True) + EPSILON).sqrt() * weights[f"{name}.weight"]
        + weights[f"{name}.bias"]
    )


def layer(weights: Weights, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    def split(y: torch.Tensor) -> torch.Tensor:
        return y.view(*y.shape[:2], HEADS, -1).transpose(1, 2)

    query, key, value = (split(linear(weights, f"attention.self.{name}", x)) for name in ("query", "key", "value"))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(mask[:, None, None, :] == 0, -math.inf).softmax(-1)
    context = (scores @ value).transpose(1, 2).reshape(x.shape)
    attended = norm(weights, "attention.output.LayerNorm", linear(weights, "attention.output.dense", context) + x)
    inner = linear(weights, "intermediate.dense", attended)
    inner = inner * 0.5 * (1.0 + torch.erf(inner / math.sqrt(2.0)))
    return norm(weights, "output.LayerNorm", linear(weights, "output.dense", inner) + attended)


def embed(weights: Weights, inputs: Weights) -> torch.Tensor:
    ids = inputs["input_ids"]
    place = "bert.embeddings."
    x = weights[f"{place}word_embeddings.weight"][ids]
    x = x + weights[f"{place}token_type_embeddings.weight"][inputs["token_type_ids"]]
    x = x + weights[f"{place}position_embeddings.weight"][: ids.shape[1]]
    return norm(weights, f"{place}LayerNorm", x)


def classify(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    return linear(weights, "classifier", linear(weights, "bert.pooler.dense", x[:, 0]).tanh())


def of_layer(weights: Weights, index: int) -> Weights:
    prefix = f"bert.encoder.layer.{index}."
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def states(weights: Weights, inputs: Weights, layers: int) -> list[torch.Tensor]:
    found = [embed(weights, inputs)]
    for i in range(layers):
        found.append(layer(of_layer(weights, i), found[-1], inputs["attention_mask"]))
    return found[1:]


def copied(model: Any) -> Weights:
    return {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}


# --- one run, written out ---


def padded(split: Any, rows: torch.Tensor) -> tuple[Weights, torch.Tensor]:
    pieces = [split.ids[split.offsets[i] : split.offsets[i + 1]] for i in rows.tolist()]
    ids = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(piece) for piece in pieces], batch_first=True)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}, split.labels[rows]


def scheduled(step: int) -> float:
    """Three steps of warm-up (0.15 of 20) to 1e-3, then linear decay to 0."""
    return 1e-3 * step / 3 if step < 3 else 1e-3 * (STEPS - step) / (STEPS - 3)


class AdamW:
    """Loshchilov and Hutter 2019, algorithm 2, with bias correction; a parameter without gradient stands still."""

    def __init__(self) -> None:
        self.state: dict[str, tuple[int, torch.Tensor, torch.Tensor]] = {}

    def move(self, name: str, parameter: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        count, mean, square = self.state.get(name, (0, torch.zeros_like(parameter), torch.zeros_like(parameter)))
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        count += 1
        self.state[name] = (count, mean, square)
        decay = 0.01 if parameter.dim() > 1 else 0.0
        with torch.no_grad():
            parameter -= rate * decay * parameter
            parameter -= rate * (mean / (1 - 0.9**count)) / ((square / (1 - 0.999**count)).sqrt() + 1e-8)


def walk(
    split: Any, weights: Weights, moved: list[str], counted: list[str], loss_of: Any, zeros: bool
) -> tuple[list[float], list[float]]:
    """Losses and gradient norms of twenty steps; `weights` is moved in place. `zeros`: a gradient once there stays."""
    losses, norms, optimizer = [], [], AdamW()
    seen: set[str] = set()
    for step, rows in enumerate(training_rows(SEED, len(split), BATCH, STEPS)):
        inputs, labels = padded(split, rows)
        loss = loss_of(step, inputs, labels, rows)
        gradients = dict(
            zip(weights, torch.autograd.grad(loss, list(weights.values()), allow_unused=True), strict=True)
        )
        if zeros:
            seen |= {name for name, gradient in gradients.items() if gradient is not None}
            for name in seen:
                if gradients[name] is None:
                    gradients[name] = torch.zeros_like(weights[name])
        there = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        total = math.sqrt(sum(float((there[name] ** 2).sum()) for name in counted if name in there))
        share = min(1.0, 1.0 / (total + 1e-6))
        for name in moved:
            if name in there:
                optimizer.move(name, weights[name], there[name] * share, scheduled(step))
        losses.append(float(loss.detach()))
        norms.append(total)
    return losses, norms


def run_suites_loop(name: str, options: dict[str, Any], split: Any, labels: int, outputs: Weights) -> Any:
    method = find(name)(**options)
    given = Given(lambda: deep(0, labels), lambda: deep(1, labels), SHALLOW, GATES_SEED, STEPS)
    model, points = method.build(given), []
    training = Training(
        epochs=2, batch_size=BATCH, micro_batches=2, learning_rate=1e-3, schedule="linear", warmup=0.15,
        weight_decay=0.01, clip=1.0, evaluate_every=1,
    )  # fmt: skip
    train(Fit(method, model, split, outputs, training, SEED, Device(device="cpu")), points.append)
    return [p.loss for p in points], [p.gradient_norm for p in points], method.successor(model), points


def agree(found: Any, losses: list[float], norms: list[float], final: Weights) -> None:
    assert len(found[0]) == STEPS
    assert found[0] == pytest.approx(losses, rel=1e-6)
    assert found[1] == pytest.approx(norms, rel=1e-6)
    named = dict(found[2].named_parameters())
    assert set(named) == set(final)
    for name, expected in final.items():
        assert torch.allclose(named[name], expected, rtol=1e-6, atol=1e-9), name


@pytest.mark.parametrize("zeros", [False, True], ids=["skipped", "momentum"])
@pytest.mark.parametrize("clip", ["trainable", "all"])
@pytest.mark.parametrize("trained_head", [False, True])
def test_theseus_walks_as_written_out(zeros, clip, trained_head):
    split = tiny.tokens(40, 3)
    weights = copied(deep(0, 3))
    pretrained = copied(deep(1, 3))
    for i in range(SHALLOW):  # successor layers start as the pretrained encoder's first ones
        for name, value in of_layer(pretrained, i).items():
            weights[f"successor.{i}.{name}"] = value.detach().clone().requires_grad_()
    moved = [name for name in weights if name.startswith("successor.")]
    if trained_head:
        moved += [name for name in weights if name.startswith(("bert.pooler.", "classifier."))]
    draws = torch.Generator().manual_seed(GATES_SEED)
    rates, replaced = [], []

    def loss_of(step: int, inputs: Weights, labels: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        rates.append(min(1.0, 0.3 + 0.05 * step))
        gates = torch.rand(SHALLOW, generator=draws, dtype=torch.float64) < rates[-1]
        replaced.append(gates.tolist())
        x = embed(weights, inputs)
        for module, gate in enumerate(gates.tolist()):
            prefix = f"successor.{module}."
            own = [{n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}]
            for chosen in own if gate else [of_layer(weights, 2 * module), of_layer(weights, 2 * module + 1)]:
                x = layer(chosen, x, inputs["attention_mask"])
        return F.cross_entropy(classify(weights, x), labels)

    losses, norms = walk(split, weights, moved, list(weights) if clip == "all" else moved, loss_of, zeros)
    assert {tuple(gates) for gates in replaced} >= {(True, True), (False, True)}  # the walk saw undrawn modules
    options = {
        "rate": {"kind": "linear", "base": 0.3, "k": 0.05},
        "init": {"source": "pretrained"},
        "clip": clip,
        "undrawn": "momentum" if zeros else "skipped",
        "trainable": ["layers", "head"] if trained_head else ["layers"],
    }
    found = run_suites_loop("theseus", options, split, 3, {})
    assert [point.replacing_rate for point in found[3]] == pytest.approx(rates)
    final = {name: v for name, v in weights.items() if ".encoder." not in name and not name.startswith("successor.")}
    for i in range(SHALLOW):
        final |= {f"bert.encoder.layer.{i}.{n}": weights[f"successor.{i}.{n}"] for n in of_layer(weights, i)}
    agree(found, losses, norms, final)


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("name", ["kd", "pkd"])
def test_kd_and_pkd_walk_as_written_out(name, labels):
    split = tiny.tokens(40, labels, regression=labels == 1)
    teacher = copied(deep(0, labels))
    inputs, _ = padded(split, torch.arange(len(split)))
    with torch.no_grad():
        found_states = states(teacher, inputs, DEEP)
        outputs = {
            LOGITS: classify(teacher, found_states[-1]),
            Output("state", 2): found_states[1][:, 0],
        }
    weights = {
        n: v
        for n, v in copied(deep(1, labels)).items()
        if ".encoder." not in n or any(f".layer.{i}." in n for i in range(SHALLOW))
    }

    def loss_of(_: int, inputs: Weights, gold: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        own = states(weights, inputs, SHALLOW)
        logits, taught = classify(weights, own[-1]), outputs[LOGITS][rows]
        if labels == 1:
            loss = 0.3 * ((logits[:, 0] - gold) ** 2).mean() + 0.7 * ((logits - taught) ** 2).mean()
        else:
            chosen = logits.log_softmax(1)[torch.arange(len(gold)), gold]
            soft, hard = (logits / 5.0).log_softmax(1), (taught / 5.0).softmax(1)
            loss = -0.3 * chosen.mean() + 0.7 * 25.0 * (hard * (hard.log() - soft)).sum(1).mean()
        if name == "pkd":  # 4 to 2 layers, skip: the student's first layer follows the teacher's second
            mine, theirs = own[0][:, 0], outputs[Output("state", 2)][rows]
            mine, theirs = (x / x.norm(dim=-1, keepdim=True) for x in (mine, theirs))
            loss = loss + 100.0 * ((mine - theirs) ** 2).mean()
        return loss

    losses, norms = walk(split, weights, list(weights), list(weights), loss_of, zeros=False)
    options: dict[str, Any] = {"alpha": 0.7, "temperature": 5.0}
    if name == "kd":
        del outputs[Output("state", 2)]
    else:
        options |= {"beta": 100.0, "layers": "skip"}
    agree(run_suites_loop(name, options, split, labels, outputs), losses, norms, weights)
