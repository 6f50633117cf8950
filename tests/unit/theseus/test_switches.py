"""The switches of `Theseus`: what successor layers start as, which modules are replaced, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests import tiny
from tests.architectures import PREFIXES, model_of
from tests.compare import same_weights
from tests.tiny import inputs
from theseus import ConstantRate, Theseus, TheseusError, choose_layers

NEVER, ALWAYS, HALF = ConstantRate(0.0, 10**9), ConstantRate(1.0, 0), ConstantRate(0.5, 10**9)


# what successor layers start as


@pytest.mark.parametrize(
    ("init", "chosen"),
    [
        ("bottom", [0, 1, 2]),
        ("top", [3, 4, 5]),
        ("interleaved", [0, 2, 4]),
        ([5, 0, 3], [5, 0, 3]),
        (range(1, 4), [1, 2, 3]),
        ([2, 2, 2], [2, 2, 2]),
    ],
)
def test_successor_layers_start_as_copies_of_the_chosen_layers(init, chosen):
    model = tiny.bert(layers=6)
    successor = Theseus(model, layers=3, rate=NEVER, init=init).successor()
    for layer, index in zip(successor.bert.encoder.layer, chosen, strict=True):
        assert same_weights(layer, model.bert.encoder.layer[index])
        others = [other for i, other in enumerate(model.bert.encoder.layer) if i != index]
        assert not any(same_weights(layer, other) for other in others)


def test_layers_repeated_in_the_start_are_trained_apart():
    successor = Theseus(tiny.bert(layers=4), layers=2, rate=ALWAYS, init=[1, 1]).successor()
    first, second = successor.bert.encoder.layer
    with torch.no_grad():
        first.output.dense.weight.zero_()
    assert not torch.equal(first.output.dense.weight, second.output.dense.weight)


@pytest.mark.parametrize(("init", "chosen"), [("bottom", [0, 1]), ("top", [2, 3]), ([3, 1], [3, 1])])
def test_successor_layers_can_start_from_another_model_of_another_depth(init, chosen):
    predecessor, pretrained = tiny.bert(layers=6, seed=1), tiny.bert(layers=4, seed=2)
    theseus = Theseus(predecessor, layers=2, rate=NEVER, init=init, init_from=pretrained)
    successor = theseus.successor()
    for layer, index in zip(successor.bert.encoder.layer, chosen, strict=True):
        assert same_weights(layer, pretrained.bert.encoder.layer[index])
    assert same_weights(successor.bert.embeddings, predecessor.bert.embeddings)
    assert same_weights(successor.classifier, predecessor.classifier)
    assert torch.equal(theseus.model(**inputs()).logits, predecessor(**inputs()).logits)  # p = 0


def test_training_never_moves_the_model_the_start_was_taken_from():
    predecessor, pretrained = tiny.bert(layers=4, seed=1), tiny.bert(layers=4, seed=2)
    before = [parameter.clone() for parameter in pretrained.parameters()]
    theseus = Theseus(predecessor, layers=2, rate=ALWAYS, init_from=pretrained)
    optimizer = torch.optim.SGD(theseus.trainable_parameters(), lr=1.0)
    theseus.model(**tiny.batch()).loss.backward()
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(pretrained.parameters(), before, strict=True))
    assert not same_weights(theseus.successor().bert.encoder.layer[0], pretrained.bert.encoder.layer[0])


def test_interleaved_layers_are_spread_over_depths_that_do_not_divide_too():
    assert choose_layers("interleaved", 12, 6) == [0, 2, 4, 6, 8, 10]
    assert choose_layers("interleaved", 12, 4) == [0, 3, 6, 9]
    assert choose_layers("interleaved", 12, 5) == [0, 2, 4, 7, 9]
    assert choose_layers("top", 12, 3) == [9, 10, 11]


# which modules are replaced


def test_modules_that_cannot_be_replaced_keep_their_predecessor_layers():
    """Six layers in three modules of two; only the middle one is replaced: layers 0, 1, its successor, 4, 5."""
    model = tiny.bert(layers=6)
    theseus = Theseus(model, layers=3, rate=ALWAYS, replace=[1], init="top")
    successor = theseus.successor()
    assert successor.config.num_hidden_layers == len(successor.bert.encoder.layer) == 5
    for layer, index in zip(successor.bert.encoder.layer, [0, 1, 4, 4, 5], strict=True):  # "top" starts it as layer 4
        assert same_weights(layer, model.bert.encoder.layer[index])
    theseus.model.eval()
    assert torch.equal(successor(**inputs()).logits, theseus.model(**inputs()).logits)
    held = theseus.trainable_parameters()
    assert sum(p.numel() for p in held) == sum(p.numel() for p in model.bert.encoder.layer[0].parameters())
    assert len(theseus.gates) == 1


@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize(
    ("replace", "depth"), [([0], 5), ([2], 5), ([0, 2], 4), ([2, 0, 2], 4), ([0, 1, 2], 3), (None, 3)]
)
def test_the_gated_model_in_eval_mode_is_the_successor_bit_for_bit(name, replace, depth):
    theseus = Theseus(model_of(name), layers=3, rate=HALF, replace=replace, init="interleaved")
    theseus.model.eval()
    successor = theseus.successor()
    assert successor.config.num_hidden_layers == depth
    with torch.no_grad():
        gated, plain = theseus.model(**inputs()).logits, successor(**inputs()).logits
    assert torch.equal(gated, plain)
    assert not any("predecessor" in key for key in successor.state_dict())


def test_a_module_that_is_not_drawn_runs_its_predecessor_layers_between_kept_ones():
    model = tiny.bert(layers=6)
    theseus = Theseus(model, layers=3, rate=NEVER, replace=[1])
    assert torch.equal(theseus.model(**inputs()).logits, model(**inputs()).logits)
    theseus.gates = [True]
    assert not torch.equal(theseus.model(**inputs()).logits, model(**inputs()).logits)


def test_a_deeper_successor_loads_as_an_ordinary_model(tmp_path):
    model = tiny.bert(layers=6)
    successor = Theseus(model, layers=3, rate=ALWAYS, replace=[0, 2]).successor()
    successor.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    assert loaded.config.num_hidden_layers == 4
    assert torch.equal(loaded(**inputs()).logits, successor(**inputs()).logits)


def test_gradients_pass_through_kept_layers_to_the_replaced_module():
    theseus = Theseus(tiny.bert(layers=6), layers=3, rate=ALWAYS, replace=[0])
    theseus.model(**tiny.batch()).loss.backward()
    assert all(parameter.grad is not None for parameter in theseus.trainable_parameters())
    graded = {id(parameter) for parameter in theseus.model.parameters() if parameter.grad is not None}
    assert graded == {id(parameter) for parameter in theseus.trainable_parameters()}


# what is refused


def refused(message: str | None, **switches: object) -> None:
    with pytest.raises(TheseusError, match=message) as caught:
        Theseus(tiny.bert(layers=4), 2, HALF, **switches)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"init": "botom"}, "unknown choice of layers 'botom': use bottom, top, interleaved, or a list of indices"),
        ({"init": [0]}, "1 layers are named for a successor of 2"),
        ({"init": [0, 4]}, r"cannot keep layers \[0, 4\] of 4: use indices 0 to 3"),
        ({"init": [-1, 0]}, r"cannot keep layers \[-1, 0\] of 4"),
        ({"trainable": ("layers", "pooler")}, r"unknown parts \['pooler'\]: use embeddings, layers, head"),
        ({"replace": []}, r"cannot replace modules \[\] of 2: use indices 0 to 1"),
        ({"replace": [2]}, r"cannot replace modules \[2\] of 2"),
        ({"replace": [-1]}, r"cannot replace modules \[-1\] of 2"),
        ({"init_from": nn.Linear(2, 2)}, "Linear has no stack"),
    ],
)
def test_switches_that_cannot_be_served_are_refused_in_one_line(switches, message):
    refused(message, **switches)


@pytest.mark.parametrize(
    ("switches", "message"),
    [({"mix": "blnd"}, "blnd"), ({"draw": "forwrd"}, "forwrd")],
)
def test_an_unknown_word_for_mix_or_draw_is_refused(switches, message):
    refused(message, **switches)


def test_a_start_from_a_model_of_another_width_is_refused():
    torch.manual_seed(0)
    wide = RobertaForSequenceClassification(
        RobertaConfig(num_hidden_layers=4, hidden_size=48, num_attention_heads=2, intermediate_size=64, vocab_size=65)
    )
    refused(None, init_from=wide)


def test_parts_that_do_not_exist_are_refused_later_too():
    theseus = Theseus(tiny.bert(layers=4), 2, HALF)
    with pytest.raises(TheseusError, match=r"unknown parts \['pooler'\]"):
        theseus.train_parts(("pooler",))
