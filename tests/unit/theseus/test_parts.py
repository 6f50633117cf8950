"""Embeddings, layers and head of every architecture: which of them train, and gradients of those that do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import tiny
from tests.architectures import PREFIXES, model_of
from tests.compare import same_weights
from tests.tiny import inputs
from theseus import ConstantRate, Theseus, parameters_by_part

NEVER, ALWAYS, HALF = ConstantRate(0.0, 10**9), ConstantRate(1.0, 0), ConstantRate(0.5, 10**9)


def named_in(model: nn.Module, prefixes: tuple[str, ...]) -> list[nn.Parameter]:
    return [parameter for name, parameter in model.named_parameters() if name.startswith(prefixes)]


# what trains


@pytest.mark.parametrize("name", PREFIXES)
def test_the_parts_of_a_model_are_what_its_parameter_names_say(name):
    model = model_of(name)
    found = parameters_by_part(model)
    assert set(found) == {"embeddings", "layers", "head"}
    for part, prefixes in PREFIXES[name].items():
        expected = named_in(model, prefixes)
        assert expected
        assert {id(parameter) for parameter in found[part]} == {id(parameter) for parameter in expected}
        assert len(found[part]) == len(expected)
    assert sum(len(parameters) for parameters in found.values()) == len(list(model.parameters()))


@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize(
    "trainable",
    [("layers",), ("layers", "head"), ("embeddings", "layers"), ("embeddings", "layers", "head"), ("head",)],
)
def test_the_named_parts_train_and_nothing_else_does(name, trainable):
    model = model_of(name)
    theseus = Theseus(model, layers=3, rate=ALWAYS, trainable=trainable)
    sizes = {
        part: sum(parameter.numel() for parameter in named_in(model, prefixes))
        for part, prefixes in PREFIXES[name].items()
    }
    sizes["layers"] //= 2  # three successor layers for six
    expected = sum(sizes[part] for part in trainable)
    held = theseus.trainable_parameters()
    assert sum(parameter.numel() for parameter in held) == expected
    assert len({id(parameter) for parameter in held}) == len(held)
    assert {id(p) for p in held} == {id(p) for p in theseus.model.parameters() if p.requires_grad}
    theseus.model(**inputs()).logits.sum().backward()
    assert sum(p.numel() for p in theseus.model.parameters() if p.grad is not None) == expected


@pytest.mark.parametrize("name", PREFIXES)
def test_parts_can_be_thawed_and_frozen_again_later(name):
    theseus = Theseus(model_of(name), layers=3, rate=ALWAYS)
    first = [id(parameter) for parameter in theseus.trainable_parameters()]
    outside = tuple(PREFIXES[name]["head"] + PREFIXES[name]["embeddings"])
    frozen = [id(parameter) for parameter in named_in(theseus.model, outside)]
    theseus.train_parts(("embeddings", "layers", "head"))
    assert {id(parameter) for parameter in theseus.trainable_parameters()} == {*first, *frozen}
    theseus.train_parts(("layers",))
    assert [id(parameter) for parameter in theseus.trainable_parameters()] == first
    assert {id(p) for p in theseus.model.parameters() if p.requires_grad} == set(first)


def test_trained_embeddings_and_head_reach_the_successor():
    predecessor = tiny.bert(layers=4)
    theseus = Theseus(predecessor, layers=2, rate=HALF, trainable=("embeddings", "layers", "head"))
    optimizer = torch.optim.SGD(theseus.trainable_parameters(), lr=0.5)
    theseus.model(**tiny.batch()).loss.backward()
    optimizer.step()
    successor = theseus.successor()
    assert not torch.equal(successor.classifier.weight, predecessor.classifier.weight)
    assert not same_weights(successor.bert.embeddings, predecessor.bert.embeddings)


# gradients of what is frozen


def test_frozen_gradients_are_filled_and_held_by_no_optimizer():
    """With the first module drawn and the second not: what ran has a gradient, what did not has none."""
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=NEVER, frozen_gradients=True)
    theseus.gates = [True, False]
    theseus.model(**tiny.batch()).loss.backward()
    first, second = theseus.model.bert.encoder.layer
    ran = [*first.successor.parameters(), *second.predecessor.parameters(), *theseus.model.bert.embeddings.parameters(),
           *theseus.model.bert.pooler.parameters(), *theseus.model.classifier.parameters()]  # fmt: skip
    assert all(parameter.grad is not None for parameter in ran)
    assert {id(p) for p in theseus.model.parameters() if p.grad is not None} == {id(p) for p in ran}
    held = {id(parameter) for parameter in theseus.trainable_parameters()}
    assert held == {id(p) for module in (first, second) for p in module.successor.parameters()}


def test_frozen_gradients_leave_those_of_the_trained_layers_as_they_are():
    gradients = []
    for frozen_gradients in (False, True):
        theseus = Theseus(tiny.bert(layers=4), layers=2, rate=NEVER, frozen_gradients=frozen_gradients)
        theseus.gates = [True, False]
        theseus.model(**tiny.batch()).loss.backward()
        first = theseus.model.bert.encoder.layer[0].successor
        gradients.append([parameter.grad for parameter in first.parameters()])
    plain, filled = gradients
    assert all(torch.equal(a, b) for a, b in zip(plain, filled, strict=True))


def test_frozen_gradients_move_nothing_that_is_frozen():
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=HALF, frozen_gradients=True)
    held = {id(parameter) for parameter in theseus.trainable_parameters()}
    before = {name: p.detach().clone() for name, p in theseus.model.named_parameters()}
    optimizer = torch.optim.AdamW(theseus.trainable_parameters(), lr=0.1)
    for _ in range(5):
        theseus.model(**tiny.batch()).loss.backward()
        nn.utils.clip_grad_norm_(theseus.model.parameters(), 1.0)
        optimizer.step()
        theseus.model.zero_grad()
        theseus.step()
    moved = {name for name, p in theseus.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in theseus.model.named_parameters() if id(p) in held}


def test_the_norm_of_all_gradients_is_larger_than_that_of_what_trains():
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=ALWAYS, frozen_gradients=True)
    theseus.model(**tiny.batch()).loss.backward()
    gradients = [p.grad for p in theseus.model.parameters() if p.grad is not None]
    by_hand = sum(float(gradient.double().square().sum()) for gradient in gradients) ** 0.5
    everything = float(nn.utils.clip_grad_norm_(theseus.model.parameters(), 1e9))
    assert everything == pytest.approx(by_hand, rel=1e-5)
    assert float(nn.utils.clip_grad_norm_(theseus.trainable_parameters(), 1e9)) < 0.9 * everything
