"""Causal language models: next tokens as labels, perplexity, no length groups, and PKD on the last token."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertLMHeadModel, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from baselines.finetune import Finetune
from baselines.kd import KD
from baselines.method import LOGITS, Batch, Output
from baselines.parts.replacing_rate import RateOptions
from baselines.pkd import PKD
from baselines.theseus import TheseusMethod
from benchmarks.base.errors import SuiteError
from benchmarks.models.loading import load_finetuned, load_pretrained
from benchmarks.models.source import EncoderSource
from benchmarks.plans.checks import counts
from benchmarks.tasks import kinds
from benchmarks.tasks.table import AT_CHANCE, Task
from benchmarks.tasks.tokens import IGNORED, Tokens
from benchmarks.training.forward import LivePredecessor, logits, predecessor_outputs
from results.format.scores import score
from tests import tiny
from tests.unit.tasks.gradients import gradient
from tests.unit.tasks.language import fit_of, random_split, rows, trained

KIND = kinds.find("causal-lm")
TASK = Task("text", "Text", ("text",), "likelihood", 0, {"validation": 0}, kind="causal-lm")
REPLACED = TheseusMethod(rate=RateOptions(kind="constant", p=1.0))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny.save_encoder(tmp_path_factory.mktemp("encoder")))


def gpt2(layers: int = 2, seed: int = 0, dropout: float = 0.0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tiny.WORDS), n_embd=32, n_layer=layers, n_head=2, n_positions=64, initializer_range=0.3,
        resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def bert(layers: int = 2, seed: int = 0, dropout: float = 0.0) -> BertLMHeadModel:
    torch.manual_seed(seed)
    config = BertConfig(
        **tiny.SHAPE, num_hidden_layers=layers, max_position_embeddings=64, initializer_range=0.3, is_decoder=True,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return BertLMHeadModel(config).eval()


BOTH = pytest.mark.parametrize("model", [gpt2, bert], ids=["gpt2", "bert"])


def split() -> Tokens:
    return random_split("causal-lm", next_token=True)


def test_a_label_is_the_next_token_and_the_begin_token_is_read_only(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows(["w1 w2 w3", "w4"]), 16)
    w = tokenizer.convert_tokens_to_ids(["w1", "w2", "w3", "w4"])
    assert tokens.ids.tolist() == [2, *w[:3], 2, w[3]]
    assert tokens.labels.tolist() == [*w[:3], IGNORED, w[3], IGNORED]
    assert (tokens.offsets.tolist(), tokens.words.tolist()) == ([0, 4, 6], [3, 1])


def test_words_of_a_text_that_is_cut_count_in_proportion(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows(["w1 w2 w3 w4 w5 w6", "w1"]), 4)
    assert tokens.lengths.tolist() == [4, 2]
    assert tokens.words.tolist() == [3, 1]


def test_a_text_without_a_token_is_refused(tokenizer):
    with pytest.raises(SuiteError, match="text: the text with idx 7 has no token to predict"):
        KIND.encode(tokenizer, TASK, rows(["w1", " "], [3, 7]), 8)


@BOTH
def test_perplexity_is_that_of_an_independent_loop(model):
    """transformers' own loss shifts the labels itself; it is asked for one example at a time."""
    tokens, deep = split(), model()
    nats = count = 0.0
    for row in range(len(tokens)):
        ids = tokens.select(torch.tensor([row])).ids[None].long()
        with torch.no_grad():
            nats += float(deep(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    found = KIND.score(TASK, {"validation": logits(deep, tokens, tiny.CPU)}, {"validation": tokens})
    assert found.metrics == {
        "likelihood": pytest.approx(math.exp(-nats / count), rel=1e-4),
        "perplexity": pytest.approx(math.exp(nats / count), rel=1e-4),
        "word_perplexity": pytest.approx(math.exp(nats / (3 * len(tokens))), rel=1e-4),
    }
    assert found.score == pytest.approx(100 / found.metrics["perplexity"])


def test_what_is_stored_gives_the_score_again():
    tokens, found = split(), logits(gpt2(), split(), tiny.CPU)
    kept = vars(KIND.predictions(TASK, found, tokens))
    sums = np.stack(kept["sums"])[None]
    again = score("likelihood", {"validation": slice(0, len(tokens))}, np.zeros(len(tokens)), sums)
    assert 100 * float(again[0]) == pytest.approx(KIND.score(TASK, {"v": found}, {"v": tokens}).score)
    assert np.allclose([row.sum() for row in kept["logits"]], sums[0, :, 0])
    assert [len(row) for row in kept["label"]] == [0] * len(tokens)


def test_the_frequencies_of_the_tokens_are_chance():
    tokens = split()
    labels = tokens.labels[tokens.labels != IGNORED]
    shares = torch.bincount(labels) / len(labels)
    nats = torch.zeros(len(tokens.ids))
    nats[tokens.labels != IGNORED] = -shares[labels].log() + 1e-4
    found = torch.stack([nats, torch.arange(len(nats)).float()], dim=1).numpy()
    assert KIND.score(TASK, {"v": found}, {"v": tokens}).flags == [AT_CHANCE]
    found[:, 0] *= 0.9
    assert KIND.score(TASK, {"v": found}, {"v": tokens}).flags == []


def test_the_loss_is_the_mean_over_all_but_the_first_tokens():
    values, labels = torch.randn(2, 3, 6), torch.tensor([[4, 2, -100], [1, -100, -100]])
    batch = Batch({}, labels, {}, objective=KIND)
    chosen = torch.stack([values[0, 0], values[0, 1], values[1, 0]])
    expected = float(F.cross_entropy(chosen, torch.tensor([4, 2, 1])))
    assert float(batch.loss(SimpleNamespace(logits=values))) == pytest.approx(expected)


@BOTH
def test_a_later_token_changes_no_earlier_one(model):
    deep, ids = model(), torch.arange(5, 15)[None]
    other = ids.clone()
    other[0, -1] = 40
    with torch.no_grad():
        one, two = deep(input_ids=ids).logits, deep(input_ids=other).logits
    assert torch.allclose(one[:, :-1], two[:, :-1], atol=1e-5)
    assert not torch.allclose(one[:, -1], two[:, -1], atol=1e-2)


def test_a_model_whose_tokens_see_later_ones_is_refused():
    KIND.check_model(gpt2())
    KIND.check_model(bert())
    shape = {**tiny.SHAPE, "num_hidden_layers": 2, "initializer_range": 0.3}
    with pytest.raises(ValueError, match="its tokens see those after them"):
        KIND.check_model(BertLMHeadModel(BertConfig(**shape)).eval())


def test_a_model_that_has_no_head_for_the_kind_is_refused(tmp_path):
    gpt2(4).save_pretrained(tmp_path)
    encoder = EncoderSource("tiny", str(tmp_path), None, "tiny", 4)
    with pytest.raises(SuiteError, match="encoder tiny: transformers has no gpt2 model for a masked-lm task"):
        counts(Finetune(), encoder, encoder, ("masked-lm", 1), 2)


def test_models_of_the_bert_family_become_decoders(tmp_path):
    shape = tuple(sorted({**tiny.SHAPE, "num_hidden_layers": 2}.items()))
    found = load_pretrained(EncoderSource("r", "random", None, "random", 2, shape), TASK, 0, "eager")
    assert isinstance(found, BertLMHeadModel)
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        one, two = found(input_ids=ids).logits, found(input_ids=ids[:, :6]).logits
    assert torch.allclose(one[:, :6], two, atol=1e-5)


@BOTH
def test_pkd_follows_the_last_token(model):
    tokens, deep, wish = split(), model(4), Output("state", 2)
    inputs, labels = tokens.collate(torch.arange(len(tokens)), "cpu")
    batch = Batch(inputs, labels, {}, objective=KIND)
    live = LivePredecessor(deep, frozenset({wish, LOGITS}))(batch, tiny.CPU)
    with torch.no_grad():
        states = deep(**inputs, output_hidden_states=True).hidden_states[2]
    expected = torch.stack([states[row, length - 1] for row, length in enumerate(tokens.lengths.tolist())])
    assert torch.equal(batch.first_token(states), expected)
    assert torch.allclose(live[wish], expected, atol=1e-5)
    assert torch.allclose(predecessor_outputs(deep, tokens, {wish}, tiny.CPU)[wish], expected, atol=1e-5)


@BOTH
@pytest.mark.parametrize("method", [KD(), PKD(beta=50.0), REPLACED], ids=["kd", "pkd", "theseus"])
def test_micro_batches_leave_the_gradient_as_it_is(model, method):
    whole = gradient(fit_of(method, split(), model))
    other = gradient(fit_of(method, split(), model, micro_batches=3))
    assert torch.allclose(whole, other, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_a_causal_model_trains_without_length_groups():
    assert fit_of(Finetune(), split(), gpt2).length_groups == 1
    assert fit_of(Finetune(), random_split("masked-lm"), gpt2).length_groups == 8


@BOTH
def test_a_resumed_training_is_bit_equal(model):
    def fit():
        return fit_of(KD(), split(), lambda layers, seed: model(layers, seed, dropout=0.1), micro_batches=2)

    whole, resumed = trained(fit()), trained(fit(), 3, fit())
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(values, resumed[name]) for name, values in whole.items())


@BOTH
@pytest.mark.parametrize("method", [Finetune(), TheseusMethod()], ids=["finetune", "theseus"])
def test_a_successor_answers_as_before_when_it_is_loaded_again(model, method, tmp_path):
    fit = fit_of(method, split(), model)
    trained(fit)
    successor = fit.method.successor(fit.model)
    successor.save_pretrained(tmp_path)
    again = load_finetuned(tmp_path, "eager", "causal-lm")
    assert again.config.num_hidden_layers == 2
    assert np.allclose(logits(again, split(), tiny.CPU), logits(successor, split(), tiny.CPU), atol=1e-5)
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


def test_tied_embeddings_are_counted_once(tmp_path):
    gpt2(4).save_pretrained(tmp_path)
    encoder = EncoderSource("tiny", str(tmp_path), None, "tiny", 4)
    for method in (Finetune(), KD(), TheseusMethod(), TheseusMethod(trainable=["layers", "embeddings", "head"])):
        found, expected, _ = counts(method, encoder, encoder, ("causal-lm", 1), 2)
        assert found == expected
