"""Dropout masks from their own stream: right in distribution, addressed by seed, gone after training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchmarks.training.dropout import MaskStream, StreamedDropout, streamed
from tests import tiny


def stream(seed: int) -> MaskStream:
    masks = MaskStream()
    masks.restart(seed)
    return masks


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_values_are_dropped_at_the_rate_and_the_rest_scaled_up(rate, dtype):
    count = 400_000
    mask = stream(3).mask((count // 100, 100), rate, dtype)
    assert mask.dtype == dtype
    zeros = float((mask == 0).double().mean())
    assert abs(zeros - rate) < 4 * (rate * (1 - rate) / count) ** 0.5 + 2**-17  # four standard errors, and the grid
    assert set(mask.unique().tolist()) == {0.0, float(torch.tensor(1 / (1 - rate), dtype=dtype))}


def test_elements_and_steps_are_independent():
    """Correlation of neighbours, and of the same element under two seeds: 0 within four standard errors."""
    first, second = (stream(seed).mask((200_000,), 0.5, torch.float64) - 1.0 for seed in (1, 2))
    for one, other in ((first[:-1], first[1:]), (first[:-7], first[7:]), (first, second)):
        assert abs(float((one * other).mean())) < 4 / 200_000**0.5


def test_a_seed_gives_its_masks_again_and_each_call_others():
    once, again = stream(5), stream(5)
    first = once.mask((64, 3), 0.5, torch.float32)
    assert torch.equal(first, again.mask((64, 3), 0.5, torch.float32))
    assert not torch.equal(first, once.mask((64, 3), 0.5, torch.float32))
    once.restart(5)
    assert torch.equal(first, once.mask((64, 3), 0.5, torch.float32))


def test_gradients_pass_where_values_do():
    values = torch.ones(1000, requires_grad=True)
    dropped = stream(0).drop(values, 0.25)
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())


def test_a_model_is_as_it_was_afterwards():
    model = tiny.bert(2, dropout=0.3)
    before = copy.deepcopy(model)
    model.train()
    with streamed(model, stream(0)):
        assert any(isinstance(module, StreamedDropout) for module in model.modules())
        assert not any(type(module) is nn.Dropout for module in model.modules())
        model.eval()
        assert torch.equal(model(**tiny.inputs()).logits, before(**tiny.inputs()).logits)
        model.train()
    assert [type(module) for module in model.modules()] == [type(module) for module in before.modules()]
    assert all(module.training for module in model.modules())


def test_training_draws_from_the_stream_and_from_nothing_else():
    model = tiny.bert(2, dropout=0.3).train()
    masks = MaskStream()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    found = []
    for seed in (1, 1, 2):
        masks.restart(seed)
        with streamed(model, masks):
            found.append([model.bert.embeddings(tiny.inputs()["input_ids"]) for _ in range(2)])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[0][1])
    assert not torch.equal(found[0][0], found[2][0])
