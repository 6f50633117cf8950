"""The methods behind the runner's interface: LayerDrop, the shared start, Theseus's options, compressed checkpoints."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from baselines import find, names
from baselines.method import Batch, Given, Stage
from benchmarks.evaluation import predecessor_outputs
from benchmarks.settings import Device, Training
from benchmarks.training import learning_rate, train
from tests import tiny

CPU = Device(device="cpu", threads=1)
SETTINGS = Training(max_steps=12, batch_size=8, learning_rate=2e-3, evaluate_every=3, warmup=0.1, weight_decay=0.01)
CONSTANT = {"kind": "constant", "p": 0.5}


def given(dropout: float = 0.0, layers: int = 2, gates_seed: int = 5, depth: int = 4) -> Given:
    return Given(
        predecessor=lambda: tiny.bert(depth, seed=1, dropout=dropout),
        pretrained=lambda: tiny.bert(depth, seed=2, dropout=dropout),
        layers=layers,
        gates_seed=gates_seed,
        steps=12,
    )


def inputs() -> dict[str, torch.Tensor]:
    made = tiny.batch()
    made.pop("labels")
    return made


def example(outputs: dict[str, torch.Tensor] | None = None) -> Batch:
    made = tiny.batch()
    labels = made.pop("labels")
    return Batch(made, labels, outputs or {})


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def by_name(model: nn.Module, prefix: str) -> list[nn.Parameter]:
    return [parameter for name, parameter in model.named_parameters() if name.startswith(prefix)]


def size(model: nn.Module, *prefixes: str) -> int:
    return sum(parameter.numel() for prefix in prefixes for parameter in by_name(model, prefix))


def of_layers(model: nn.Module, indices: list[int]) -> nn.Module:
    """A copy with those layers alone, made by hand."""
    shallow = copy.deepcopy(model)
    shallow.bert.encoder.layer = nn.ModuleList(copy.deepcopy(model.bert.encoder.layer[i]) for i in indices)
    shallow.config.num_hidden_layers = len(indices)
    return shallow.eval()


# LayerDrop


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


# where a shallow model starts, and what of it trains


@pytest.mark.parametrize("name", ["finetune", "kd", "pkd"])
@pytest.mark.parametrize("source", ["pretrained", "predecessor"])
@pytest.mark.parametrize(("layers", "chosen"), [("bottom", [0, 1]), ("top", [2, 3]), ("interleaved", [0, 2])])
def test_a_shallow_model_starts_as_those_layers_of_its_source(name, source, layers, chosen):
    method = find(name)(start={"source": source, "layers": layers})
    model = method.build(given())
    origin = tiny.bert(4, seed={"predecessor": 1, "pretrained": 2}[source])
    assert same_weights(model, of_layers(origin, chosen))  # the embeddings and the head are the source's too
    assert sum(p.numel() for p in method.parameters(model)) == sum(p.numel() for p in model.parameters())


def test_a_shallow_model_starts_from_the_bottom_of_the_pretrained_encoder_unless_told():
    model = find("finetune")().build(given())
    assert same_weights(model, of_layers(tiny.bert(4, seed=2), [0, 1]))


@pytest.mark.parametrize("name", ["finetune", "kd", "pkd"])
@pytest.mark.parametrize(
    ("source", "frozen", "moving"),
    [
        ("pretrained", [], ("bert.embeddings.", "bert.encoder.", "bert.pooler.", "classifier.")),
        ("pretrained", ["embeddings"], ("bert.encoder.", "bert.pooler.", "classifier.")),
        ("predecessor", ["head"], ("bert.embeddings.", "bert.encoder.")),
        ("predecessor", ["embeddings", "head"], ("bert.encoder.",)),
    ],
)
def test_frozen_parts_stand_still_and_the_rest_moves(name, source, frozen, moving):
    method = find(name)(start={"source": source, "frozen": frozen})
    model = method.build(given())
    assert {id(p) for p in method.parameters(model)} == {id(p) for prefix in moving for p in by_name(model, prefix)}
    assert method.trains == {"embeddings", "layers", "head"} - set(frozen)
    split = tiny.tokens(40)
    outputs = predecessor_outputs(given().predecessor(), split, method.needs, CPU) if method.needs else {}
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    train(method, model, split, outputs, SETTINGS, 0, CPU, lambda point: None)
    moved = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert moved == {key for key in before if key.startswith(moving)}


@pytest.mark.parametrize("name", ["finetune", "kd", "pkd"])
def test_a_method_takes_the_predecessor_where_it_reads_or_starts_from_it(name):
    distilled = name != "finetune"
    assert find(name)().uses_predecessor == distilled
    assert find(name)(start={"source": "predecessor"}).uses_predecessor
    assert find(name)().needs == {"finetune": set(), "kd": {"logits"}, "pkd": {"logits", "cls"}}[name]


@pytest.mark.parametrize("name", ["finetune", "kd", "pkd"])
@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"frozen": ["head"]}, "the head of a pretrained start is untrained"),
        ({"source": "predecessor", "frozen": ["layers"]}, "with frozen layers nothing is learned"),
        ({"frozen": ["pooler"]}, "'embeddings', 'layers' or 'head'"),
        ({"source": "teacher"}, "'pretrained' or 'predecessor'"),
        ({"layers": "middle"}, "'bottom', 'top' or 'interleaved'"),
        ({"sauce": "predecessor"}, "Extra inputs"),
    ],
)
def test_starts_that_cannot_be_are_refused(name, start, message):
    with pytest.raises(ValidationError, match=message):
        find(name)(start=start)


@pytest.mark.parametrize("parts", [1, 4])
def test_frozen_fine_tuning_from_the_predecessor_is_theseus_at_rate_1_bit_for_bit(parts):
    """The control of the attribution suite, under dropout: the same losses at every evaluation, the same weights."""
    frozen = find("finetune")(start={"source": "predecessor", "frozen": ["embeddings", "head"]})
    theseus = find("theseus")(rate={"kind": "constant", "p": 1.0})
    settings = SETTINGS.model_copy(update={"micro_batches": parts})
    found = []
    for method in (frozen, theseus):
        model, points = method.build(given(dropout=0.1)), []
        train(method, model, tiny.tokens(40), {}, settings, 3, CPU, points.append)
        found.append((method.successor(model), [(point.loss, point.gradient_norm) for point in points]))
    (first, losses), (second, others) = found
    assert len(losses) == 4
    assert losses == others
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())
    assert not same_weights(first, of_layers(tiny.bert(4, seed=1), [0, 1]))  # and it did learn


def test_dropout_is_on_in_that_equivalence():
    method = find("finetune")(start={"source": "predecessor"})
    model = method.build(given(dropout=0.1)).train()
    assert not torch.equal(model(**inputs()).logits, model(**inputs()).logits)


# Theseus's options


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
        train(method, method.build(given()), tiny.tokens(40), {}, settings, 0, CPU, points.append)
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
    train(method, method.build(given()), tiny.tokens(40), {}, settings, 0, CPU, lambda point: None)
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

    train(method, model, tiny.tokens(40), {}, settings, 0, CPU, look)
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

    train(method, model, tiny.tokens(40), {}, settings, 0, CPU, look)
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
        ({"mix": "blend", "undrawn": "momentum"}, "a blend draws nothing"),
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
        ([7], 6, r"replace = \[7\]: there are modules 1 to 6"),
        ([], 6, r"replace = \[\]: there are modules 1 to 6"),
    ],
)
def test_depths_and_modules_that_do_not_fit_are_refused(replace, layers, message):
    with pytest.raises(ValueError, match=message):
        find("theseus")(replace=replace).check(12, layers)
    find("theseus")(replace=[1, 6]).check(12, 6)


# the cost of training, in forward passes of one layer: forward is 1, backward 2 where weights train and 1 elsewhere


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
        ("theseus", {"rate": {"kind": "constant", "p": 1.0}}, 6 * 3.0),
        # half the draws run one trained layer, the other half two frozen ones
        ("theseus", {"rate": {"kind": "constant", "p": 0.5}}, 6 * (0.5 * 3.0 + 0.5 * 2 * 2.0)),
        ("theseus", {"rate": {"kind": "constant", "p": 0.5}, "clip": "all"}, 6 * (0.5 * 3.0 + 0.5 * 2 * 3.0)),
        # 50 of 100 steps at p = 0.5 and then 1
        ("theseus", {"rate": {"kind": "constant", "p": 0.5, "reach": 50}}, 6 * (0.75 * 3.0 + 0.25 * 2 * 2.0)),
        # p = 0, 0.1, .., 0.9 over ten steps and 1 in the other ninety: 0.945 in the mean
        ("theseus", {"rate": {"kind": "linear", "base": 0.0, "reach": 10}}, 6 * (0.945 * 3.0 + 0.055 * 2 * 2.0)),
        ("theseus", {"rate": {"kind": "constant", "p": 0.5}, "mix": "blend"}, 6 * (3.0 + 2 * 2.0)),
        ("theseus", {"rate": {"kind": "constant", "p": 1.0}, "replace": [6]}, 3.0 + 10 * 2.0),
    ],
)
def test_the_work_of_training_is_counted_by_layer(name, options, expected):
    assert find(name)(**options).work(12, 6, 100) == pytest.approx(expected)


# a compressed checkpoint


def test_a_checkpoint_with_alpha_0_has_the_task_loss():
    method = find("pretrained")()
    assert method.own_encoder
    assert not method.needs
    assert not method.uses_predecessor
    model = method.build(given())
    loss = method.loss(model, example()).detach()
    by_hand = nn.functional.cross_entropy(model(**inputs()).logits, example().labels)
    assert float(loss) == pytest.approx(float(by_hand.detach()), rel=1e-6)


@pytest.mark.parametrize(("alpha", "temperature"), [(0.7, 10.0), (0.25, 3.0), (1.0, 1.0)])
def test_a_checkpoint_with_alpha_has_the_loss_of_distillation(alpha, temperature):
    method = find("pretrained")(alpha=alpha, temperature=temperature)
    assert method.needs == {"logits"}
    assert method.uses_predecessor
    model, teacher = method.build(given()), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    batch = example({"logits": teacher})
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
