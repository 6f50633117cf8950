"""What must be equal for a comparison to be fair, bit for bit where nothing rounds differently."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines import find
from baselines.method import LOGITS, Given, Output
from benchmarks.machine.settings import Device
from benchmarks.runs.predecessor_outputs import kept_outputs
from benchmarks.training.batches import micro_batches, training_rows
from benchmarks.training.dropout import MaskStream
from benchmarks.training.fit import Fit
from benchmarks.training.forward import logits
from benchmarks.training.loop import train
from benchmarks.training.settings import Training
from benchmarks.training.step import backward, fast_path
from tests import tiny
from theseus import ConstantRate, Theseus, keep_layers

CPU = Device(device="cpu", threads=1)
SETTINGS = Training(max_steps=12, batch_size=8, learning_rate=2e-3, evaluate_every=6, warmup=0.1, weight_decay=0.01)
METHODS = {
    "finetune": {},
    "kd": {"alpha": 0.5, "temperature": 3.0},
    "pkd": {"beta": 10.0},
    "theseus": {"rate": {"kind": "linear", "base": 0.3, "reach": 0.5}},
    "predecessor": {},
}


def given(dropout: float = 0.1, gates_seed: int = 5) -> Given:
    return tiny.given(dropout=dropout, gates_seed=gates_seed)


def trained(name, split=None, training=SETTINGS, seed=0, outputs=None, given_=None, options=None, device=CPU):
    """The successor's weights and the training losses after a short run."""
    split = split if split is not None else tiny.tokens(40)
    given_ = given_ or given()
    method = find(name)(**(METHODS[name] if options is None else options))
    model = method.build(given_)
    if outputs is None:
        outputs = tiny.outputs(method, given_.predecessor(), split, given_.layers, device)
    losses = []
    train(Fit(method, model, split, outputs, training, seed, device), lambda point: losses.append(point.loss))
    return method.successor(model), losses


def same_bits(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_twice_is_bit_equal_and_another_seed_is_not(name, precision):
    device = CPU.model_copy(update={"precision": precision})
    (first, losses), (second, again) = trained(name, device=device), trained(name, device=device)
    assert losses == again
    assert same_bits(first, second)
    other, _ = trained(name, seed=1, device=device)
    assert not same_bits(first, other)


def test_rate_1_is_training_the_successor_alone():
    """Theseus at p = 1 against a plain loop over the first layers with everything else frozen."""
    theseus, losses = trained("theseus", options={"rate": {"kind": "constant", "p": 1.0, "reach": 1}})

    class Alone(find("finetune")):
        def build(self, given):
            model = keep_layers(given.predecessor(), range(given.layers))
            model.requires_grad_(False)
            model.bert.encoder.requires_grad_(True)
            return model

    split, method = tiny.tokens(40), Alone()
    model, alone = method.build(given()), []
    train(Fit(method, model, split, {}, SETTINGS, 0, CPU), lambda point: alone.append(point.loss))
    assert losses == alone
    assert same_bits(theseus, model)


@pytest.mark.parametrize("rate", [0.0, 1e-12])
def test_rate_to_0_is_the_predecessor(rate):
    predecessor = tiny.bert(6)
    theseus = Theseus(predecessor, layers=3, rate=ConstantRate(rate, 10**9))
    theseus.model.train()
    inputs = tiny.batch()
    for _ in range(20):
        assert torch.equal(theseus.model(**inputs).logits, predecessor(**inputs).logits)
        theseus.step()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("parts", "groups"), [(2, 1), (3, 1), (8, 1), (1, 2), (1, 8), (3, 2)])
@pytest.mark.parametrize("regression", [False, True])
def test_micro_batches_and_length_groups_are_the_whole_batch(name, parts, groups, regression):
    """Loss and every gradient, to rounding (1e-5 relative of the largest), with a batch that does not divide evenly."""
    labels = 1 if regression else 2
    split, rows = tiny.tokens(40, regression=regression), torch.arange(3, 14)
    settings = Given(
        lambda: tiny.bert(4, labels, seed=1), lambda: tiny.bert(4, labels, seed=2), layers=2, gates_seed=3, steps=12
    )
    method = find(name)(**METHODS[name])
    outputs = tiny.outputs(method, settings.predecessor(), split, settings.layers)

    def gradients(parts, groups):
        model = method.build(settings)
        model.train()
        fit = Fit(method, model, split, outputs, Training(length_groups=groups, micro_batches=parts), 0, CPU)
        with fast_path(fit, MaskStream()) as found:
            assert found.fits == (groups > 1)
            loss = backward(fit, rows, found)
        return loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    (whole_loss, whole), (loss, split_up) = gradients(1, 1), gradients(parts, groups)
    assert float(loss) == pytest.approx(float(whole_loss), rel=1e-5)
    assert set(whole) == set(split_up)
    top = max(float(g.abs().max()) for g in whole.values())
    for key, gradient in whole.items():
        assert torch.allclose(split_up[key], gradient, rtol=0, atol=1e-5 * top), key


def test_micro_batches_of_theseus_see_one_draw():
    method = find("theseus")(rate={"kind": "constant", "p": 0.5, "reach": 10**6})
    model = method.build(given())
    model.train()
    seen = []
    modules = model.gated.bert.encoder.layer
    for part, _ in micro_batches(tiny.tokens(40), torch.arange(16), 4, "cpu", {}):
        method.loss(model, part).backward()
        seen.append([(module.share == 1.0) for module in modules])
    assert seen == [seen[0]] * 4


def test_every_method_sees_the_same_examples_in_the_same_order():
    """Recorded where a method sees them: in its loss."""
    orders = {}
    split = tiny.tokens(40)
    for name, options in METHODS.items():
        base, seen = find(name), []

        class Watched(base):
            def loss(self, model, batch, seen=seen, base=base):
                seen.append((batch.inputs["input_ids"].tolist(), torch.initial_seed()))
                return base.loss(self, model, batch)

        method = Watched(**options)
        model = method.build(given())
        outputs = tiny.outputs(method, given().predecessor(), split, given().layers)
        train(Fit(method, model, split, outputs, SETTINGS, 3, CPU), lambda point: None)
        orders[name] = seen
    assert len(orders["theseus"]) == SETTINGS.max_steps
    assert all(order == orders["finetune"] for order in orders.values())  # and under the same dropout seeds


def test_methods_that_start_from_the_pretrained_encoder_have_one_head():
    heads = [
        find(name)(**METHODS[name]).build(given()).classifier.weight
        for name in ("finetune", "kd", "pkd", "predecessor")
    ]
    assert all(torch.equal(head, heads[0]) for head in heads)


@pytest.mark.parametrize("name", ["kd", "pkd"])
def test_cached_predecessor_outputs_are_the_live_ones(name, tmp_path):
    """Training on the cache file against asking the predecessor in every step, in the same batches."""
    split, settings = tiny.tokens(40), given(dropout=0.0)
    base, predecessor = find(name), settings.predecessor()

    class Live(base):
        def loss(self, model, batch):
            with torch.no_grad():
                found = predecessor(**batch.inputs, output_hidden_states=True)
            live = {LOGITS: found.logits, Output("state", 2): found.hidden_states[2][:, 0]}
            live = {key: live[key] for key in batch.outputs}
            for key, cached in batch.outputs.items():
                assert torch.allclose(cached, live[key], rtol=1e-5, atol=1e-5)
            return base.loss(self, model, replace(batch, outputs=live))

    needs = base(**METHODS[name]).needs(4, 2)

    def cached(key, teacher=lambda: predecessor):
        return kept_outputs(tmp_path, {"key": key}, needs, split, CPU, teacher)

    first = cached(1).arrays
    found = cached(1, lambda: pytest.fail("computed twice"))
    again = {output: found.arrays[output.name] for output in needs}
    assert found.seconds == 0.0
    assert all(torch.equal(first[output.name], again[output]) for output in needs)
    assert cached(2).seconds > 0.0

    def run(method):
        model, losses = method.build(settings), []
        train(Fit(method, model, split, again, SETTINGS, 0, CPU), lambda point: losses.append(point.loss))
        return losses

    assert run(Live(**METHODS[name])) == pytest.approx(run(base(**METHODS[name])), rel=1e-4)


def test_evaluation_is_the_model_called_plainly_on_each_example():
    split, model = tiny.tokens(70), tiny.bert(4, labels=3)
    found = logits(model, split, CPU)
    for row in (0, 13, 69):
        inputs, _ = split.collate(torch.tensor([row]), "cpu")
        assert np.allclose(found[row], model(**inputs).logits[0].detach().numpy(), atol=1e-5)


def test_training_moves_what_a_method_says_and_nothing_else():
    for name, options in METHODS.items():
        method = find(name)(**options)
        model = method.build(given())
        moving = {id(p) for p in method.parameters(model)}
        before = {key: p.clone() for key, p in copy.deepcopy(dict(model.named_parameters())).items()}
        split = tiny.tokens(40)
        outputs = tiny.outputs(method, given().predecessor(), split, given().layers)
        train(Fit(method, model, split, outputs, SETTINGS, 0, CPU), lambda point: None)
        for key, parameter in model.named_parameters():
            if id(parameter) not in moving:
                assert torch.equal(parameter, before[key]), (name, key)
        assert any(not torch.equal(p, before[key]) for key, p in model.named_parameters())


def test_the_last_batch_of_an_epoch_counts_by_its_own_size():
    sizes = [len(rows) for rows in training_rows(0, 10, 4, 6)]
    assert sizes == [4, 4, 2, 4, 4, 2]
