"""What all methods share behind the runner's interface: their cost, how their options are written, checkpoints."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from torch import nn

from baselines import find, names
from baselines.method import LOGITS, Batch
from tests import tiny
from tests.compare import same_weights, size
from tests.tiny import given, inputs


def example(outputs: dict[str, torch.Tensor] | None = None) -> Batch:
    made = tiny.batch()
    labels = made.pop("labels")
    return Batch(made, labels, outputs or {})


# the cost of training, in forward passes of one layer: forward is 1, backward 2 where weights train and 1 elsewhere


def drawn(p: float) -> float:
    """Layer passes of a step of Theseus, 12 to 6, over all 64 draws: forward; to the input where something below is
    trained; to the weights of successors."""
    mean = 0.0
    for gates in itertools.product((False, True), repeat=6):
        chance = math.prod(p if gate else 1 - p for gate in gates)
        layers = [gate for gate in gates for _ in range(1 if gate else 2)]
        mean += chance * sum(1 + gate + any(layers[:i]) for i, gate in enumerate(layers))
    return mean


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("finetune", {}, 6 * 3.0),
        ("kd", {}, 6 * 3.0),
        ("pkd", {}, 6 * 3.0),
        ("pretrained", {}, 6 * 3.0),
        ("predecessor", {}, 12 * 3.0),
        ("layerdrop", {"rate": 0.0}, 12 * 3.0),
        ("layerdrop", {"rate": 0.5}, 12 * 3.0 / 2),
        # the lowest layer has nothing below that needs a gradient
        ("theseus", {"rate": {"kind": "constant", "p": 1.0}}, 6 * 3.0 - 1),
        ("theseus", {"rate": {"kind": "constant", "p": 1.0}, "trainable": ["embeddings", "layers"]}, 6 * 3.0),
        ("theseus", {"rate": {"kind": "constant", "p": 0.5}}, drawn(0.5)),
        ("theseus", {"rate": {"kind": "constant", "p": 0.5}, "clip": "all"}, 6 * (0.5 * 3.0 + 0.5 * 2 * 3.0)),
        # 50 of 100 steps at p = 0.5 and then 1
        ("theseus", {"rate": {"kind": "constant", "p": 0.5, "reach": 50}}, (drawn(0.5) + 17) / 2),
        # p = 0, 0.1, .., 0.9 over ten steps and 1 in the other ninety
        (
            "theseus",
            {"rate": {"kind": "linear", "base": 0.0, "reach": 10}},
            (sum(drawn(i / 10) for i in range(10)) + 90 * 17) / 100,
        ),
        # every module runs both; below the first one's nothing needs a gradient
        ("theseus", {"rate": {"kind": "constant", "p": 0.5}, "mix": "blend"}, (2 + 2) + 5 * (3.0 + 2 * 2.0)),
        ("theseus", {"rate": {"kind": "constant", "p": 1.0}, "replace": [6]}, 10 * 1.0 + 2.0),
    ],
)
def test_the_work_of_training_is_counted_by_layer(name, options, expected):
    assert find(name)(**options).work(12, 6, 100) == pytest.approx(expected)


# a compressed checkpoint


def test_a_checkpoint_with_alpha_0_has_the_task_loss():
    method = find("pretrained")()
    assert method.own_encoder
    assert not method.needs(12, 6)
    assert not method.uses_predecessor
    model = method.build(given())
    loss = method.loss(model, example()).detach()
    by_hand = nn.functional.cross_entropy(model(**inputs()).logits, example().labels)
    assert float(loss) == pytest.approx(float(by_hand.detach()), rel=1e-6)


@pytest.mark.parametrize(("alpha", "temperature"), [(0.7, 10.0), (0.25, 3.0), (1.0, 1.0)])
def test_a_checkpoint_with_alpha_has_the_loss_of_distillation(alpha, temperature):
    method = find("pretrained")(alpha=alpha, temperature=temperature)
    assert method.needs(12, 6) == {LOGITS}
    assert method.uses_predecessor
    model, teacher = method.build(given()), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    batch = example({LOGITS: teacher})
    found = float(method.loss(model, batch).detach())
    student = model(**inputs()).logits.detach().double()
    target = torch.softmax(teacher.double() / temperature, dim=1)
    ours = torch.log_softmax(student / temperature, dim=1)
    divergence = (target * (target.log() - ours)).sum(dim=1).mean()
    hard = nn.functional.cross_entropy(student, batch.labels)
    assert found == pytest.approx(float((1 - alpha) * hard + alpha * temperature**2 * divergence), rel=1e-4)
    kd = find("kd")(alpha=alpha, temperature=temperature)
    assert found == float(kd.loss(model, batch).detach())


def test_a_checkpoint_is_trained_whole():
    method = find("pretrained")()
    model = method.build(given())
    assert same_weights(model, tiny.bert(4, seed=2))
    assert sum(p.numel() for p in method.parameters(model)) == size(model, "")


# how options are written down


DUMPS = [
    ("finetune", {}),
    ("finetune", {"start": {"source": "predecessor", "frozen": ["head", "embeddings"], "layers": "top"}}),
    ("kd", {"alpha": 0.3, "start": {"frozen": ["embeddings"]}}),
    ("pkd", {"beta": 10, "layers": "last"}),
    ("layerdrop", {"rate": 0.2}),
    ("predecessor", {}),
    ("pretrained", {"alpha": 0.5}),
    ("theseus", {}),
    (
        "theseus",
        {
            "rate": {"kind": "linear", "base": 0.3, "reach": 1000},
            "trainable": ["layers", "head", "embeddings"],
            "successor_phase": {"trainable": ["layers", "head"]},
            "replace": [3, 1],
            "mix": "blend",
        },
    ),
    ("theseus", {"rate": {"kind": "constant", "p": 0.5, "reach": 0.5}, "clip": "all", "undrawn": "momentum"}),
]


@pytest.mark.parametrize(("name", "options"), DUMPS)
def test_options_survive_the_way_through_json(name, options):
    method = find(name)(**options)
    dumped = method.model_dump(mode="json")
    again = find(name)(**json.loads(json.dumps(dumped)))
    assert again == method
    assert type(again) is type(method)
    assert again.model_dump(mode="json") == dumped
    assert find(name).model_validate_json(method.model_dump_json()) == method
    for mode in ("python", "json"):
        assert json.dumps(method.model_dump(mode=mode)) == json.dumps(dumped)


def test_every_method_has_options_that_can_be_written_down():
    assert {name for name, _ in DUMPS} == set(names())


def test_sets_of_parts_are_written_sorted_however_they_were_given():
    orders = (["layers", "head", "embeddings"], ["embeddings", "layers", "head"], ["head", "embeddings", "layers"])
    sorted_parts = ["embeddings", "head", "layers"]
    for order in orders:
        method = find("theseus")(trainable=order, successor_phase={"trainable": order})
        dumped = method.model_dump(mode="json")
        assert dumped["trainable"] == dumped["successor_phase"]["trainable"] == sorted_parts
        start = {"source": "predecessor", "frozen": [part for part in order if part != "layers"]}
        assert find("kd")(start=start).model_dump(mode="json")["start"]["frozen"] == ["embeddings", "head"]


def test_a_share_of_the_steps_and_a_step_stay_apart_in_json():
    for reach in (1000, 0.5, 1):
        method = find("theseus")(rate={"base": 0.3, "reach": reach})
        again = find("theseus")(**json.loads(json.dumps(method.model_dump(mode="json"))))
        assert type(again.rate.reach) is type(reach)
        assert again.rate.reach == reach
