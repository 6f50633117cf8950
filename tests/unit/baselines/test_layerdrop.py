"""LayerDrop: what a dropped layer does, what is kept, and how draws are made."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from baselines import find
from tests import tiny
from tests.compare import of_layers, same_weights
from tests.tiny import given, inputs


def dropping(rate: float = 0.5, **changes: int) -> nn.Module:
    return find("layerdrop")(rate=rate).build(given(**changes)).train()


def dropped(model: nn.Module) -> list[bool]:
    return [layer.dropped for layer in model.dropping]


def set_dropped(model: nn.Module, pattern: list[bool]) -> None:
    for layer, value in zip(model.dropping, pattern, strict=True):
        layer.dropped = value


def test_a_dropped_layer_is_the_identity_in_training():
    model, whole = dropping(depth=6), tiny.bert(6, seed=2)
    for pattern in ([True, False, False, True, True, False], [False] * 6, [False, True, True, True, True, True]):
        set_dropped(model, pattern)
        by_hand = of_layers(whole, [i for i, gone in enumerate(pattern) if not gone])
        assert torch.equal(model(**inputs()).logits, by_hand(**inputs()).logits)
    layer = model.dropping[0]
    layer.dropped = True
    states = torch.randn(2, 5, 32)
    assert layer(states) is states


def test_a_step_without_any_layer_still_trains_embeddings_and_head():
    model = dropping()
    set_dropped(model, [True] * 4)
    model(**inputs()).logits.sum().backward()
    graded = {name for name, parameter in model.model.named_parameters() if parameter.grad is not None}
    assert graded == {name for name, _ in model.model.named_parameters() if "encoder.layer" not in name}


def test_a_dropped_layer_gets_no_gradient_and_the_others_do():
    model = dropping()
    set_dropped(model, [False, True, False, True])
    model(**inputs()).logits.sum().backward()
    with_gradients = [all(p.grad is not None for p in layer.parameters()) for layer in model.dropping]
    without = [all(p.grad is None for p in layer.parameters()) for layer in model.dropping]
    assert with_gradients == [True, False, True, False]
    assert without == [False, True, False, True]


@pytest.mark.parametrize(("depth", "layers", "kept"), [(4, 2, [0, 2]), (6, 3, [0, 2, 4]), (6, 2, [0, 3])])
def test_evaluation_and_successor_are_the_kept_layers_whatever_is_drawn(depth, layers, kept):
    method = find("layerdrop")(rate=0.5)
    model = method.build(given(depth=depth, layers=layers))
    by_hand = of_layers(tiny.bert(depth, seed=2), kept)
    expected = by_hand(**inputs()).logits
    for _ in range(5):
        model.eval()
        assert torch.equal(model(**inputs()).logits, expected)
        successor = method.successor(model)
        assert torch.equal(successor(**inputs()).logits, expected)
        assert successor.config.num_hidden_layers == len(successor.bert.encoder.layer) == layers
        assert same_weights(successor, by_hand)
        assert not successor.training
        model.train()
        method.after_step(model)
    assert len(model.dropping) == depth  # taking a successor leaves the model whole


def test_layerdrop_draws_are_reproducible_from_the_seed_and_use_no_global_randomness():
    method = find("layerdrop")(rate=0.3)
    patterns = []
    for gates_seed in (7, 7, 8):
        model = method.build(given(gates_seed=gates_seed))
        torch.manual_seed(len(patterns))
        state = torch.get_rng_state()
        drawn = [dropped(model)]
        for _ in range(30):
            method.after_step(model)
            drawn.append(dropped(model))
        assert torch.equal(torch.get_rng_state(), state)
        patterns.append(drawn)
    assert patterns[0] == patterns[1]
    assert patterns[0] != patterns[2]


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
def test_layers_are_dropped_at_the_rate_each_by_itself(rate):
    method = find("layerdrop")(rate=rate)
    model = method.build(given())
    drawn = []
    for _ in range(2000):
        drawn.append(dropped(model))
        method.after_step(model)
    table = torch.tensor(drawn, dtype=torch.float64)
    error = (rate * (1 - rate) / 2000) ** 0.5
    assert ((table.mean(dim=0) - rate).abs() <= 4.5 * error).all()
    both = (table[:, 0] * table[:, 1]).mean()
    assert abs(float(both) - rate**2) <= 4.5 * (rate**2 * (1 - rate**2) / 2000) ** 0.5


def test_a_forward_pass_draws_nothing_so_that_micro_batches_see_one_draw():
    model = dropping()
    before = dropped(model)
    for _ in range(10):
        model(**inputs())
        assert dropped(model) == before


def test_layerdrop_trains_the_whole_encoder_from_the_pretrained_weights():
    method = find("layerdrop")()
    model = method.build(given())
    whole = tiny.bert(4, seed=2)
    assert sum(p.numel() for p in method.parameters(model)) == sum(p.numel() for p in whole.parameters())
    assert method.trained_layers(12, 6) == 12
    assert method.depth(12, 6) == 6
    assert not method.uses_predecessor


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_drop_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(ValidationError, match="rate"):
        find("layerdrop")(rate=rate)
