"""The library: finding blocks in many architectures, gates, freezing, the successor, refusals."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from tests import tiny
from theseus import ConstantRate, LinearRate, Theseus, TheseusError, find_blocks, keep_layers

NEVER, ALWAYS = ConstantRate(0.0, 10**9), ConstantRate(1.0, 0)
BERT_LIKE = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 65}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}


def architectures() -> dict[str, tuple[nn.Module, str]]:
    """Six layers each, no dropout, and where their blocks are."""
    torch.manual_seed(0)
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    gpt2 = GPT2Config(n_embd=32, n_layer=6, n_head=2, vocab_size=65, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **IDS)
    roberta = RobertaConfig(num_hidden_layers=6, **BERT_LIKE, **off)
    electra = ElectraConfig(embedding_size=32, num_hidden_layers=6, **BERT_LIKE, **off)
    distil = DistilBertConfig(dim=32, n_layers=6, n_heads=2, hidden_dim=64, vocab_size=65, dropout=0,
                              attention_dropout=0, seq_classif_dropout=0)  # fmt: skip
    return {
        "bert": (tiny.bert(layers=6), "bert.encoder.layer"),
        "roberta": (RobertaForSequenceClassification(roberta), "roberta.encoder.layer"),
        "electra": (ElectraForSequenceClassification(electra), "electra.encoder.layer"),
        "distilbert": (DistilBertForSequenceClassification(distil), "distilbert.transformer.layer"),
        "gpt2": (GPT2ForSequenceClassification(gpt2), "transformer.h"),
    }


def inputs() -> dict[str, torch.Tensor]:
    given = tiny.batch()
    given.pop("labels")
    return given


@pytest.mark.parametrize("name", architectures())
def test_every_architecture_is_split_gated_and_handed_back(name):
    model, path = architectures()[name]
    model.eval()
    reference = model(**inputs()).logits
    assert find_blocks(model).path == path
    theseus = Theseus(model, layers=3, rate=NEVER)
    theseus.model.train()
    assert torch.equal(theseus.model(**inputs()).logits, reference)  # p = 0: the predecessor
    theseus.model.eval()
    successor = theseus.successor()
    assert type(successor) is type(model)
    assert successor.config.num_hidden_layers == 3
    assert model.config.num_hidden_layers == 6
    assert torch.equal(successor(**inputs()).logits, theseus.model(**inputs()).logits)
    assert all(parameter.requires_grad for parameter in successor.parameters())


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_saved_successor_loads_as_an_ordinary_model(name, tmp_path):
    model, _ = architectures()[name]
    successor = Theseus(model, layers=3, rate=ALWAYS).successor()
    successor.save_pretrained(tmp_path)
    loaded, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert torch.equal(loaded.eval()(**inputs()).logits, successor(**inputs()).logits)


def test_a_decoder_successor_generates_with_its_cache():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=6, n_head=2, vocab_size=65, **IDS))
    successor = Theseus(model, layers=2, rate=ALWAYS).successor()
    prompt = torch.randint(5, 60, (2, 4))
    with_cache = successor.generate(prompt, max_new_tokens=5, do_sample=False)
    without = successor.generate(prompt, max_new_tokens=5, do_sample=False, use_cache=False)
    assert torch.equal(with_cache, without)


def test_modules_are_consecutive_layers_and_successors_copies_of_the_first():
    model = tiny.bert(layers=6)
    theseus = Theseus(model, layers=2, rate=NEVER)
    blocks = find_blocks(model).layers
    theseus.gates = [True, False]  # successor layer 0 = predecessor layer 0; then predecessor layers 3 to 5
    theseus.model.train()
    by_hand = keep_layers(model, [0, 3, 4, 5])
    assert torch.equal(theseus.model(**inputs()).logits, by_hand(**inputs()).logits)
    kept = theseus.successor().bert.encoder.layer
    for i in range(2):
        for ours, theirs in zip(kept[i].parameters(), blocks[i].parameters(), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_any_depth_that_divides(layers):
    assert Theseus(tiny.bert(layers=6), layers, ALWAYS).successor().config.num_hidden_layers == layers


def test_gates_are_drawn_once_per_step_from_an_own_generator():
    theseus = Theseus(tiny.bert(layers=6), layers=3, rate=ConstantRate(0.5, 10**6), seed=7)
    again = Theseus(tiny.bert(layers=6), layers=3, rate=ConstantRate(0.5, 10**6), seed=7)
    state = torch.get_rng_state()
    draws = []
    for _ in range(400):
        before = list(theseus.gates)
        assert before == theseus.gates == again.gates
        draws.append(before)
        theseus.step()
        torch.rand(3)  # global draws in between change nothing
        again.step()
    torch.set_rng_state(state)
    drawn = torch.tensor(draws, dtype=torch.float64)
    share = drawn.mean(dim=0)
    assert ((share - 0.5).abs() < 4 * 0.025).all()  # 4 standard errors at n = 400
    assert abs(float(torch.corrcoef(drawn.T)[0, 1])) < 0.2  # independent per module
    assert [list(d) for d in draws] != [list(d) for d in draws[1:] + draws[:1]]


def test_global_random_state_is_neither_read_nor_moved():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=LinearRate(0.3, 0.1), seed=1)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    for _ in range(5):
        theseus.step()
    assert torch.equal(torch.get_rng_state(), state)


def test_only_successor_layers_train_and_the_predecessor_is_left_alone():
    model = tiny.bert(layers=4)
    before = copy.deepcopy(model.state_dict())
    theseus = Theseus(model, layers=2, rate=ConstantRate(0.5, 100), seed=0)
    optimizer = torch.optim.AdamW(theseus.trainable_parameters(), lr=0.1)
    theseus.model.train()
    frozen = {n: p.clone() for n, p in theseus.model.named_parameters() if not p.requires_grad}
    for _ in range(6):
        theseus.model(**tiny.batch()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        theseus.step()
    trainable = {id(p) for p in theseus.trainable_parameters()}
    assert trainable == {id(p) for p in theseus.model.parameters() if p.requires_grad}
    assert all(torch.equal(dict(theseus.model.named_parameters())[n], p) for n, p in frozen.items())
    assert all(torch.equal(model.state_dict()[n], p) for n, p in before.items())
    assert all(p.requires_grad for p in model.parameters())


def test_a_step_without_any_replaced_module_can_be_taken_and_moves_nothing():
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=NEVER)
    theseus.model.train()
    theseus.model(**tiny.batch()).loss.backward()
    assert all(parameter.grad is None for parameter in theseus.model.parameters())


def test_nothing_below_the_first_replaced_module_keeps_a_graph():
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=NEVER)
    theseus.model.train()
    theseus.gates = [False, True]
    theseus.model(**tiny.batch()).loss.backward()
    first, second = (module.successor for module in find_blocks(theseus.model).layers)
    assert all(p.grad is None for p in first.parameters())
    assert all(p.grad is not None for p in second.parameters())


def test_gates_may_be_assigned_until_the_next_step():
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=ALWAYS)
    theseus.gates = [False, True]
    assert theseus.gates == [False, True]
    theseus.step()
    assert theseus.gates == [True, True]
    with pytest.raises(TheseusError, match="3 gates for 2 modules"):
        theseus.gates = [True, True, True]


def test_a_new_object_is_ready_to_train():
    model = tiny.bert(layers=4, dropout=0.5)
    theseus = Theseus(model, layers=2, rate=NEVER)
    assert all(module.training for module in theseus.model.modules())
    assert not model.training
    inputs = tiny.batch()
    assert not torch.equal(theseus.model(**inputs).logits, theseus.model(**inputs).logits)  # dropout is on


def test_rate_moves_with_the_steps():
    theseus = Theseus(tiny.bert(layers=4), layers=2, rate=LinearRate(0.3, 0.1))
    assert theseus.rate == pytest.approx(0.3)
    theseus.step()
    assert theseus.rate == pytest.approx(0.4)


@pytest.mark.parametrize("layers", [0, -1, 4, 6, 7])
def test_depths_that_do_not_divide_are_refused(layers):
    with pytest.raises(TheseusError, match="6 layers cannot be split"):
        Theseus(tiny.bert(layers=6), layers, ALWAYS)


def test_models_without_a_stack_of_their_own_blocks_are_refused():
    albert = AlbertConfig(num_hidden_layers=6, **BERT_LIKE)
    with pytest.raises(TheseusError, match="ALBERT"):
        Theseus(AlbertForSequenceClassification(albert), 3, ALWAYS)
    with pytest.raises(TheseusError, match="no stack"):
        Theseus(nn.Linear(2, 2), 1, ALWAYS)
    shared = tiny.bert(layers=4)
    shared.bert.encoder.layer[3] = shared.bert.encoder.layer[2]
    with pytest.raises(TheseusError, match="share weights"):
        Theseus(shared, 2, ALWAYS)
    t5 = T5ForConditionalGeneration(T5Config(d_model=32, num_layers=2, num_heads=2, d_ff=64, d_kv=16, vocab_size=65))
    with pytest.raises(TheseusError, match="encoder and a decoder"):
        Theseus(t5, 1, ALWAYS)


def test_a_rate_out_of_bounds_is_refused_when_it_is_read():
    with pytest.raises(TheseusError, match="between 0 and 1"):
        Theseus(tiny.bert(layers=4), 2, rate=lambda step: 1.5)


def test_a_plan_without_successor_phase_warns():
    with pytest.warns(UserWarning, match="no successor phase"):
        Theseus(tiny.bert(layers=4), 2, ConstantRate(0.5, 100), steps=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Theseus(tiny.bert(layers=4), 2, ConstantRate(0.5, 100), steps=101)


def test_keep_layers_picks_and_refuses():
    model = tiny.bert(layers=4)
    top = keep_layers(model, [2, 3])
    assert top.config.num_hidden_layers == 2
    assert torch.equal(top.bert.encoder.layer[0].output.dense.weight, model.bert.encoder.layer[2].output.dense.weight)
    for wrong in ([], [4], [-1]):
        with pytest.raises(TheseusError, match="cannot keep layers"):
            keep_layers(model, wrong)
