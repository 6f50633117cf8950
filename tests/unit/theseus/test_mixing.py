"""How a gated module mixes its branches: a blend in place of draws, and draws at every forward pass."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from tests import tiny
from tests.tiny import inputs
from theseus import ConstantRate, LinearRate, Theseus, TheseusError

HALF = ConstantRate(0.5, 10**9)


def outputs_of(model: nn.Module, modules: list[nn.Module]) -> list[torch.Tensor]:
    """What each of `modules` puts out while the model runs on the test batch."""
    seen = []
    hooks = [module.register_forward_hook(lambda module, given, output: seen.append(output)) for module in modules]
    with torch.no_grad():
        model(**inputs())
    for hook in hooks:
        hook.remove()
    return [output[0] if isinstance(output, tuple) else output for output in seen]


def layer_by_hand(layer: nn.Module, states: torch.Tensor) -> torch.Tensor:
    """A BERT layer called alone, under the mask of the test batch (0 where a key may be seen)."""
    mask = inputs()["attention_mask"]
    unseen = (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
    with torch.no_grad():
        output = layer(states, attention_mask=unseen)
    return output[0] if isinstance(output, tuple) else output


# blending


@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
def test_a_blended_module_gives_the_convex_mix_of_its_two_branches(share):
    model = tiny.bert(layers=4)
    theseus = Theseus(model, layers=2, rate=ConstantRate(share, 10**9), mix="blend", init=[3, 1])
    blended = outputs_of(theseus.model, list(theseus.model.bert.encoder.layer))
    layers = model.bert.encoder.layer
    (states,) = outputs_of(model, [model.bert.embeddings])
    for position, (own, successor) in enumerate([((0, 1), 3), ((2, 3), 1)]):
        old = layer_by_hand(layers[own[1]], layer_by_hand(layers[own[0]], states))
        new = layer_by_hand(layers[successor], states)
        states = (1.0 - share) * old + share * new
        assert torch.allclose(blended[position], states, atol=1e-5), position
        assert not torch.allclose(states, old, atol=1e-2)
        assert not torch.allclose(states, new, atol=1e-2)


def test_a_blend_follows_the_rate_from_predecessor_to_successor():
    model = tiny.bert(layers=4)
    theseus = Theseus(model, layers=2, rate=LinearRate(0.0, 0.25), mix="blend", init=[3, 2])
    assert torch.equal(theseus.model(**inputs()).logits, model(**inputs()).logits)  # p = 0
    seen = []
    for step in range(4):
        assert theseus.rate == pytest.approx(0.25 * step)
        seen.append(theseus.model(**inputs()).logits)
        theseus.step()
    assert all(not torch.allclose(a, b) for a, b in itertools.pairwise(seen))
    assert torch.equal(theseus.model(**inputs()).logits, theseus.successor()(**inputs()).logits)  # p = 1


def test_a_blend_trains_every_module_in_every_step():
    theseus = Theseus(tiny.bert(layers=6), layers=3, rate=ConstantRate(0.1, 10**9), mix="blend")
    theseus.model(**tiny.batch()).loss.backward()
    assert all(parameter.grad is not None for parameter in theseus.trainable_parameters())


def test_a_blend_has_no_gates_to_read_or_assign():
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=HALF, mix="blend")
    with pytest.raises(TheseusError, match="a blend draws no gates"):
        theseus.gates  # noqa: B018
    with pytest.raises(TheseusError, match="a blend draws no gates"):
        theseus.gates = [True, False]


def test_a_blend_with_draws_at_forward_still_follows_the_steps():
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=LinearRate(0.0, 1.0), mix="blend", draw="forward")
    theseus.step()
    assert torch.equal(theseus.model(**inputs()).logits, theseus.successor()(**inputs()).logits)


# drawing at every forward pass


def test_drawing_at_forward_draws_anew_at_each_forward_pass_in_train_mode():
    theseus = Theseus(tiny.bert(layers=6), layers=3, rate=HALF, draw="forward", seed=4)
    drawn = []
    for _ in range(600):
        theseus.model(**inputs())
        drawn.append(theseus.gates)
    table = torch.tensor(drawn, dtype=torch.float64)
    assert ((table.mean(dim=0) - 0.5).abs() < 4 * (0.25 / 600) ** 0.5).all()  # 4 standard errors
    changed = (table[1:] != table[:-1]).any(dim=1).double().mean()
    assert abs(float(changed) - 7 / 8) < 4 * (7 / 64 / 600) ** 0.5  # three fair gates stay as they were 1 time in 8


def test_drawing_at_forward_does_not_draw_in_eval_mode_nor_at_a_step():
    theseus, twin = (Theseus(tiny.bert(layers=6), 3, HALF, draw="forward", seed=4) for _ in range(2))
    drawn = []
    for _ in range(20):
        theseus.model(**inputs())
        drawn.append(theseus.gates)
        for _ in range(3):
            theseus.model.eval()
            theseus.model(**inputs())
            theseus.model.train()
            theseus.step()
            assert theseus.gates == drawn[-1]
    alone = []
    for _ in range(20):
        twin.model(**inputs())
        alone.append(twin.gates)
    assert drawn == alone


def test_drawing_at_forward_uses_the_objects_own_generator():
    theseus, twin = (Theseus(tiny.bert(layers=6), 3, HALF, draw="forward", seed=9) for _ in range(2))
    other = Theseus(tiny.bert(layers=6), 3, HALF, draw="forward", seed=10)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    seen = []
    for _ in range(10):
        theseus.model(**inputs())
        seen.append(theseus.gates)
    assert torch.equal(torch.get_rng_state(), state)  # there is no dropout either
    torch.manual_seed(1234)
    repeated, differently = [], []
    for _ in range(10):
        twin.model(**inputs())
        other.model(**inputs())
        repeated.append(twin.gates)
        differently.append(other.gates)
    assert repeated == seen
    assert differently != seen


def test_drawing_per_step_holds_its_draw_over_forward_passes():
    theseus = Theseus(tiny.bert(layers=6), layers=3, rate=HALF, seed=4)
    for _ in range(20):
        before = theseus.gates
        for _ in range(3):
            theseus.model(**inputs())
        assert theseus.gates == before
        theseus.step()


@pytest.mark.parametrize("mix", ["draw", "blend"])
def test_the_successor_of_a_model_that_draws_at_forward_is_plain(mix):
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=HALF, draw="forward", mix=mix)
    successor = theseus.successor()
    for module in successor.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks
    successor.train()
    before = [module.share for module in theseus.model.bert.encoder.layer]
    for _ in range(8):
        successor(**inputs())
    assert [module.share for module in theseus.model.bert.encoder.layer] == before


def test_drawing_at_forward_goes_on_after_a_successor_was_taken():
    theseus, twin = (Theseus(tiny.bert(layers=6), 3, HALF, draw="forward", seed=2) for _ in range(2))
    first, second = [], []
    for _ in range(12):
        theseus.successor()
        theseus.model(**inputs())
        twin.model(**inputs())
        first.append(theseus.gates)
        second.append(twin.gates)
    assert first == second
    assert len({tuple(gates) for gates in first}) > 1
