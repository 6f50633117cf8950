"""The options of method `theseus`: what they build, what trains, what is clipped, and its stages."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from baselines import find
from baselines.method import Stage
from benchmarks.machine.settings import Device
from benchmarks.training.fit import Fit
from benchmarks.training.loop import train
from benchmarks.training.schedule import learning_rate
from benchmarks.training.settings import Training
from tests import tiny
from tests.compare import by_name, of_layers, same_weights, size
from tests.tiny import given

CPU = Device(device="cpu", threads=1)


SETTINGS = Training(max_steps=12, batch_size=8, learning_rate=2e-3, evaluate_every=3, warmup=0.1, weight_decay=0.01)


CONSTANT = {"kind": "constant", "p": 0.5}


@pytest.mark.parametrize(
    ("init", "seed", "chosen"),
    [
        ({}, 1, [0, 1]),
        ({"source": "predecessor", "layers": "top"}, 1, [2, 3]),
        ({"source": "pretrained"}, 2, [0, 1]),
        ({"source": "pretrained", "layers": "interleaved"}, 2, [0, 2]),
    ],
)
def test_successor_layers_start_from_the_named_source_under_the_predecessors_head(init, seed, chosen):
    method = find("theseus")(init=init)
    successor = method.successor(method.build(given()))
    origin, predecessor = tiny.bert(4, seed=seed), tiny.bert(4, seed=1)
    for layer, index in zip(successor.bert.encoder.layer, chosen, strict=True):
        assert same_weights(layer, origin.bert.encoder.layer[index])
    assert same_weights(successor.classifier, predecessor.classifier)
    assert same_weights(successor.bert.embeddings, predecessor.bert.embeddings)


def test_modules_are_counted_from_1_as_the_paper_does():
    method = find("theseus")(replace=[2], init={"layers": "top"})
    successor = method.successor(method.build(given()))
    origin = tiny.bert(4, seed=1)
    for layer, index in zip(successor.bert.encoder.layer, [0, 1, 3], strict=True):
        assert same_weights(layer, origin.bert.encoder.layer[index])


@pytest.mark.parametrize(
    ("replace", "depth", "trained"),
    [(None, 6, 6), ([1], 11, 1), ([6], 11, 1), ([2, 5], 10, 2), ([5, 2, 5], 10, 2), ([1, 2, 3, 4, 5, 6], 6, 6)],
)
def test_depth_and_trained_layers_of_twelve_layers_in_six_modules(replace, depth, trained):
    method = find("theseus")(replace=replace)
    assert method.depth(12, 6) == depth
    assert method.trained_layers(12, 6) == trained


@pytest.mark.parametrize(("layers", "depth"), [(6, 11), (4, 10), (3, 9), (2, 7), (1, 1)])
def test_one_replaced_module_leaves_the_others_layers(layers, depth):
    assert find("theseus")(replace=[1]).depth(12, layers) == depth


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, ("bert.encoder.",)),
        ({"trainable": ["layers", "head"]}, ("bert.encoder.", "bert.pooler.", "classifier.")),
        ({"trainable": ["embeddings", "layers"]}, ("bert.embeddings.", "bert.encoder.")),
    ],
)
@pytest.mark.parametrize("clip", ["trainable", "all"])
def test_the_optimizer_holds_the_trainable_parts_whatever_is_clipped(options, parts, clip):
    method = find("theseus")(**options, clip=clip)
    model = method.build(given())
    held = sum(parameter.numel() for parameter in method.parameters(model))
    assert held == size(of_layers(tiny.bert(4), [0, 1]), *parts)
    if clip == "trainable":
        assert {id(p) for p in method.clipped(model)} == {id(p) for p in method.parameters(model)}
    else:
        both = sum(parameter.numel() for parameter in method.clipped(model))
        assert both == size(tiny.bert(4), "") + size(of_layers(tiny.bert(4), [0, 1]), "bert.encoder.")


def test_clipping_over_all_gradients_shortens_the_steps():
    """The norm that is recorded counts frozen weights, so that it is larger; the trained gradients are the same."""
    norms = {}
    for clip in ("trainable", "all"):
        method, points = find("theseus")(rate={"kind": "constant", "p": 1.0}, clip=clip), []
        settings = SETTINGS.model_copy(update={"max_steps": 1, "evaluate_every": 1})
        train(Fit(method, method.build(given()), tiny.tokens(40), {}, settings, 0, CPU), points.append)
        norms[clip] = points[0].gradient_norm
    assert norms["all"] > 1.1 * norms["trainable"]


@pytest.mark.parametrize(("undrawn", "moves"), [("skipped", False), ("momentum", True)])
def test_a_module_that_is_not_drawn_stands_still_or_is_moved_by_momentum(undrawn, moves):
    """Looked at before and after every step, in the modules that had been drawn before but were not this time."""
    before, ever, moved = {}, set(), []

    class Watched(find("theseus")):
        def after_step(self, model):
            for number, module in enumerate(model.gated.bert.encoder.layer):
                now = [parameter.detach().clone() for parameter in module.successor.parameters()]
                if model.theseus.gates[number]:
                    ever.add(number)
                elif number in ever:
                    moved.append(not all(map(torch.equal, before[number], now)))
                before[number] = now
            super().after_step(model)

    method = Watched(rate=CONSTANT, undrawn=undrawn)
    assert method.keeps_gradients == moves
    settings = SETTINGS.model_copy(update={"warmup": 0.0, "weight_decay": 0.0})
    train(Fit(method, method.build(given()), tiny.tokens(40), {}, settings, 0, CPU), lambda point: None)
    assert len(moved) > 3
    assert set(moved) == {moves}


def test_the_successor_phase_is_a_stage_of_its_own_from_where_p_is_1():
    phase = {"trainable": ["layers", "head"], "learning_rate": 1e-5}
    ramp = {"kind": "linear", "base": 0.3, "reach": 8}
    method = find("theseus")(rate=ramp, successor_phase=phase)
    assert method.stages(12) == [Stage(0, None), Stage(8, 1e-5)]
    assert method.stages(8) == [Stage()]  # p is 1 only after the last step
    assert find("theseus")(rate=ramp).stages(12) == [Stage()]
    assert find("theseus")(rate=CONSTANT, successor_phase={}).stages(12) == [Stage()]
    at_half = find("theseus")(rate={**CONSTANT, "reach": 0.5}, successor_phase={})
    assert at_half.stages(12) == [Stage(0, None), Stage(6, None)]
    alone = find("theseus")(rate={"kind": "constant", "p": 1.0}, successor_phase={})
    assert alone.stages(12) == [Stage()]  # p is 1 from the start: there is nothing to come after
    reversed_ = find("theseus")(rate={"kind": "anti-linear", "base": 0.3, "reach": 6}, successor_phase={})
    assert reversed_.stages(12) == [Stage()]


def test_the_successor_phase_trains_its_own_parts_at_its_own_learning_rate():
    method = find("theseus")(
        rate={"kind": "constant", "p": 0.5, "reach": 8},
        successor_phase={"trainable": ["layers", "head"], "learning_rate": 5e-4},
    )
    settings = Training(max_steps=12, batch_size=8, learning_rate=2e-3, evaluate_every=1, warmup=0.0)
    model = method.build(given())
    head = tiny.bert(4, seed=1).classifier.weight
    same, rates, shares = [], [], []

    def look(point):
        same.append(torch.equal(model.gated.classifier.weight, head))
        rates.append(point.learning_rate)
        shares.append(point.replacing_rate)

    train(Fit(method, model, tiny.tokens(40), {}, settings, 0, CPU), look)
    assert same == [True] * 8 + [False] * 4
    first, second = [2e-3 * (8 - step) / 8 for step in range(8)], [5e-4 * (4 - step) / 4 for step in range(4)]
    assert rates == pytest.approx(first + second)
    assert shares == [0.5] * 8 + [1.0] * 4
    assert sum(p.numel() for p in method.parameters(model)) == size(
        of_layers(tiny.bert(4), [0, 1]), "bert.encoder.", "bert.pooler.", "classifier."
    )


@pytest.mark.parametrize(("phase", "forgotten"), [({}, True), (None, False)])
def test_a_new_stage_forgets_the_optimizers_moments(phase, forgotten):
    """A new Adam's first step moves every weight by the learning rate; one that remembers earlier steps does not."""
    method = find("theseus")(rate={"kind": "constant", "p": 0.99, "reach": 6}, successor_phase=phase)
    model, kept = method.build(given()), []
    settings = Training(max_steps=12, batch_size=8, learning_rate=2e-3, evaluate_every=1, schedule="constant")

    def look(point):
        kept.append(torch.cat([p.detach().flatten() for p in by_name(method.successor(model), "bert.encoder.")]))

    train(Fit(method, model, tiny.tokens(40), {}, settings, 0, CPU), look)
    moved = (kept[6] - kept[5]).abs() / 2e-3
    share = float(((moved - 1).abs() < 0.01).double().mean())
    assert share > 0.9 if forgotten else share < 0.3


def test_learning_rates_of_a_stage_start_at_its_own_peak_with_its_own_warm_up():
    settings = Training(learning_rate=1e-3, warmup=0.25)
    assert [learning_rate(settings, step, 8, 4e-3) for step in range(4)] == pytest.approx(
        [0.0, 2e-3, 4e-3, 4e-3 * 5 / 6]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainable": ["head"]}, "trainable must hold layers"),
        ({"trainable": ["layers", "pooler"]}, "'embeddings', 'layers' or 'head'"),
        ({"mix": "blend", "undrawn": "momentum"}, "a blend draws no modules"),
        ({"mix": "blnd"}, "'draw' or 'blend'"),
        ({"draw": "epoch"}, "'step' or 'forward'"),
        ({"replace": [0]}, "greater than or equal to 1"),
        ({"rate": {"kind": "constant"}}, "a constant rate takes p"),
        ({"rate": {"base": 0.3}}, "takes base and one of k and reach"),
        ({"rate": {"base": 0.3, "k": 1e-3, "reach": 10}}, "takes base and one of k and reach"),
        ({"rate": {"base": 1.0, "reach": 10}}, "has no ramp to reach"),
        ({"successor_phase": {"learning_rate": 0}}, "greater than 0"),
    ],
)
def test_options_of_theseus_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        find("theseus")(**options)


@pytest.mark.parametrize(
    ("replace", "layers", "message"),
    [
        (None, 5, "successor_layers = 5 does not divide the encoder's 12 layers"),
        (None, 12, "not shallower"),
        ([7], 6, r"replace = \[7\]: the modules are 1 to 6"),
        ([], 6, r"replace = \[\]: the modules are 1 to 6"),
    ],
)
def test_depths_and_modules_that_do_not_fit_are_refused(replace, layers, message):
    with pytest.raises(ValueError, match=message):
        find("theseus")(replace=replace).check(12, layers)
    find("theseus")(replace=[1, 6]).check(12, 6)
