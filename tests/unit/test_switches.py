"""The switches of `Theseus`: what successor layers start as, what trains, which modules are replaced, and how."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from tests import tiny
from theseus import ConstantRate, LinearRate, Theseus, TheseusError, choose_layers, parameters_by_part

NEVER, ALWAYS, HALF = ConstantRate(0.0, 10**9), ConstantRate(1.0, 0), ConstantRate(0.5, 10**9)
BERT_LIKE = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 65}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}

# Where each architecture keeps its parts, by the names transformers gives its parameters.
PREFIXES = {
    "bert": {
        "embeddings": ("bert.embeddings.",),
        "layers": ("bert.encoder.layer.",),
        "head": ("bert.pooler.", "classifier."),
    },
    "roberta": {
        "embeddings": ("roberta.embeddings.",),
        "layers": ("roberta.encoder.layer.",),
        "head": ("classifier.dense.", "classifier.out_proj."),
    },
    "electra": {
        "embeddings": ("electra.embeddings.", "electra.embeddings_project."),
        "layers": ("electra.encoder.layer.",),
        "head": ("classifier.dense.", "classifier.out_proj."),
    },
    "distilbert": {
        "embeddings": ("distilbert.embeddings.",),
        "layers": ("distilbert.transformer.layer.",),
        "head": ("pre_classifier.", "classifier."),
    },
    "gpt2": {
        "embeddings": ("transformer.wte.", "transformer.wpe."),
        "layers": ("transformer.h.",),
        "head": ("transformer.ln_f.", "score."),
    },
}  # fmt: skip


def model_of(name: str) -> nn.Module:
    """Six layers of that architecture, without dropout."""
    torch.manual_seed(0)
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if name == "roberta":
        return RobertaForSequenceClassification(RobertaConfig(num_hidden_layers=6, **BERT_LIKE, **off)).eval()
    if name == "electra":  # embeddings of another width than the layers, so that there is a projection
        config = ElectraConfig(embedding_size=16, num_hidden_layers=6, **BERT_LIKE, **off)
        return ElectraForSequenceClassification(config).eval()
    if name == "distilbert":
        config = DistilBertConfig(dim=32, n_layers=6, n_heads=2, hidden_dim=64, vocab_size=65, dropout=0,
                                  attention_dropout=0, seq_classif_dropout=0)  # fmt: skip
        return DistilBertForSequenceClassification(config).eval()
    if name == "gpt2":
        none = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
        return GPT2ForSequenceClassification(
            GPT2Config(n_embd=32, n_layer=6, n_head=2, vocab_size=65, **none, **IDS)
        ).eval()
    return tiny.bert(layers=6)


def inputs() -> dict[str, torch.Tensor]:
    given = tiny.batch()
    given.pop("labels")
    return given


def named_in(model: nn.Module, prefixes: tuple[str, ...]) -> list[nn.Parameter]:
    return [parameter for name, parameter in model.named_parameters() if name.startswith(prefixes)]


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


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
