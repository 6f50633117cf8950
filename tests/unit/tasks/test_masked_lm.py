"""Masked language models: fixed masks, the losses, the reduced evaluation, and the predecessor that runs in a step."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.nn import functional as F
from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from baselines.finetune import Finetune
from baselines.kd import KD
from baselines.method import LOGITS, Batch, Output
from baselines.parts.replacing_rate import RateOptions
from baselines.pkd import PKD
from baselines.theseus import TheseusMethod
from benchmarks.base.errors import SuiteError
from benchmarks.models.checks import check_predecessor
from benchmarks.models.loading import load_finetuned, under_a_new_head
from benchmarks.models.source import EncoderSource
from benchmarks.plans.checks import check_wishes, counts, new_head
from benchmarks.tasks import kinds
from benchmarks.tasks.data import load_splits
from benchmarks.tasks.own.files import Rows
from benchmarks.tasks.own.source import own_source
from benchmarks.tasks.settings import OwnData
from benchmarks.tasks.table import AT_CHANCE, CONSTANT, Task
from benchmarks.tasks.tokens import IGNORED, Tokens
from benchmarks.training.forward import LivePredecessor, logits, predecessor_outputs
from tests import tiny
from tests.unit.tasks.gradients import gradient
from tests.unit.tasks.language import fit_of, random_split, rows, trained

KIND = kinds.find("masked-lm")
TASK = Task("text", "Text", ("text",), "masked_accuracy", 0, {"validation": 0}, kind="masked-lm")

REPLACED = TheseusMethod(rate=RateOptions(kind="constant", p=1.0))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny.save_encoder(tmp_path_factory.mktemp("encoder")))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    source = np.random.default_rng(1)
    return [" ".join(source.choice(tiny.WORDS[5:], size=source.integers(1, 40))) for _ in range(400)]


def model(layers: int = 2, seed: int = 0, dropout: float = 0.0) -> BertForMaskedLM:
    torch.manual_seed(seed)
    config = BertConfig(
        **tiny.SHAPE, num_hidden_layers=layers, max_position_embeddings=64, initializer_range=0.3,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return BertForMaskedLM(config).eval()


def split() -> Tokens:
    return random_split("masked-lm")


def test_masks_are_fixed_and_of_the_right_shares(tokenizer, texts):
    tokens = KIND.encode(tokenizer, TASK, rows(texts), 64)
    scored = tokens.labels != IGNORED
    plain = torch.tensor([i for ids in tokenizer(texts)["input_ids"] for i in ids])
    assert torch.equal(tokens.labels[scored], plain[scored])
    assert torch.equal(tokens.ids[~scored].long(), plain[~scored])
    words = int((plain > 4).sum())
    assert int(scored.sum()) / words == pytest.approx(0.15, abs=0.02)
    assert not (scored & (plain < 5)).any()
    masked, same = tokens.ids[scored] == tokenizer.mask_token_id, tokens.ids[scored] == plain[scored]
    assert float(masked.float().mean()) == pytest.approx(0.8, abs=0.04)
    assert float(same.float().mean()) == pytest.approx(0.1, abs=0.04)
    assert set(tokens.ids[scored][~masked].tolist()) <= set(range(5, len(tiny.WORDS)))
    again = KIND.encode(tokenizer, TASK, rows(texts), 64)
    assert torch.equal(again.ids, tokens.ids)
    assert torch.equal(again.labels, tokens.labels)
    assert KIND.sums(TASK, np.zeros((len(tokens.ids), 2)), tokens)[:, 1].min() >= 1


def test_a_mask_depends_on_the_examples_number_and_not_on_its_row(tokenizer, texts):
    whole = KIND.encode(tokenizer, TASK, rows(texts), 64)
    some = KIND.encode(tokenizer, TASK, rows([texts[7], texts[3]], [7, 3]), 64)
    expected = whole.select(torch.tensor([7, 3]))
    assert torch.equal(some.ids, expected.ids)
    assert torch.equal(some.labels, expected.labels)


def test_an_example_is_cut_and_an_empty_one_is_refused(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows(["w1 " * 30, "w2"]), 8)
    assert tokens.lengths.tolist() == [8, 3]
    with pytest.raises(SuiteError, match="text: the text with idx 1 has no token to predict"):
        KIND.encode(tokenizer, TASK, rows(["w1", " "]), 8)


def test_the_losses_are_means_over_the_masked_tokens():
    values, labels = torch.randn(2, 4, 6), torch.tensor([[-100, 2, -100, -100], [-100, 0, 5, -100]])
    teacher = torch.randn(3, 6)
    batch = Batch({}, labels, {LOGITS: teacher}, objective=KIND)
    chosen, output = torch.stack([values[0, 1], values[1, 1], values[1, 2]]), SimpleNamespace(logits=values)
    assert float(batch.loss(output)) == pytest.approx(float(F.cross_entropy(chosen, torch.tensor([2, 0, 5]))))
    kl = [(t.softmax(0) * (t.log_softmax(0) - s.log_softmax(0))).sum() for s, t in zip(chosen, teacher, strict=True)]
    assert float(batch.distance(output, 1.0)) == pytest.approx(float(sum(kl)) / 3, rel=1e-5)


def test_the_reduced_evaluation_equals_the_whole_one():
    tokens, deep = split(), model()
    found = logits(deep, tokens, tiny.CPU)
    assert found.shape == (len(tokens.ids), 2)
    whole = predecessor_outputs(deep, tokens, {LOGITS}, tiny.CPU)[LOGITS]
    scored = tokens.labels != IGNORED
    nats = F.cross_entropy(whole[scored], tokens.labels[scored], reduction="none")
    right = whole[scored].argmax(1) == tokens.labels[scored]
    result = KIND.score(TASK, {"validation": found}, {"validation": tokens})
    assert result.metrics == {
        "masked_accuracy": pytest.approx(float(right.float().mean())),
        "perplexity": pytest.approx(float(nats.mean().exp()), rel=1e-5),
    }
    assert result.score == pytest.approx(100 * result.metrics["masked_accuracy"])
    kept = vars(KIND.predictions(TASK, found, tokens))
    assert np.allclose(np.concatenate(kept["logits"]), nats, atol=1e-5)
    assert np.sum(kept["sums"], axis=0).tolist() == [int(right.sum()), int(scored.sum())]
    assert [len(row) for row in kept["logits"]] == [int(own[1]) for own in kept["sums"]]


def test_degenerate_answers_are_flagged():
    tokens = split()
    most = torch.bincount(tokens.labels[tokens.labels >= 0]).argmax()
    same = np.tile([3.0, float(most)], (len(tokens.ids), 1))
    flags = KIND.score(TASK, {"validation": same}, {"validation": tokens}).flags
    assert flags == [f"{CONSTANT} on validation", AT_CHANCE]
    perfect = np.stack([np.zeros(len(tokens.ids)), tokens.labels.numpy()], axis=1)
    assert KIND.score(TASK, {"validation": perfect}, {"validation": tokens}).flags == []


@pytest.mark.parametrize("method", [KD(), PKD(beta=50.0)], ids=["kd", "pkd"])
def test_a_live_predecessor_gives_what_its_kept_outputs_would(method):
    tokens, deep = split(), model(4, seed=1)
    wishes = method.needs(4, 2)
    inputs, labels = tokens.collate(torch.arange(len(tokens)), "cpu")
    batch = Batch(inputs, labels, {}, objective=KIND)
    live = LivePredecessor(deep, wishes)(batch, tiny.CPU)
    kept = predecessor_outputs(deep, tokens, wishes, tiny.CPU)
    assert torch.allclose(live[LOGITS], kept[LOGITS][tokens.labels != IGNORED], atol=1e-4)
    assert all(torch.allclose(live[wish], kept[wish], atol=1e-5) for wish in wishes if wish != LOGITS)
    assert not any(values.requires_grad for values in live.values())


@pytest.mark.parametrize("method", [KD(), PKD(beta=50.0), REPLACED], ids=["kd", "pkd", "theseus"])
@pytest.mark.parametrize(("parts", "groups"), [(3, 1), (1, 4), (2, 3)])
def test_micro_batches_and_length_groups_leave_the_gradient_as_it_is(method, parts, groups):
    whole = gradient(fit_of(method, split(), model))
    other = gradient(fit_of(method, split(), model, micro_batches=parts), groups)
    assert torch.allclose(whole, other, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_a_resumed_training_with_a_live_predecessor_is_bit_equal():
    def fit():
        return fit_of(PKD(beta=50.0), split(), lambda layers, seed: model(layers, seed, dropout=0.1), micro_batches=2)

    whole, resumed = trained(fit()), trained(fit(), 3, fit())
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(values, resumed[name]) for name, values in whole.items())


def test_the_live_predecessor_stays_as_it_is():
    fit = fit_of(KD(), split(), lambda layers, seed: model(layers, seed, dropout=0.1))
    before = {name: values.clone() for name, values in fit.live.model.state_dict().items()}
    trained(fit)
    assert all(torch.equal(values, before[name]) for name, values in fit.live.model.state_dict().items())
    assert fit_of(Finetune(), split(), model).live is None


def test_outputs_of_an_arm_with_a_tokenizer_of_its_own_are_refused():
    encoder = EncoderSource("deep", "nowhere", None, "hash", 4)
    check_wishes("kd", KD(), 2, encoder, own_words=False, kind="masked-lm")
    with pytest.raises(SuiteError, match=r"arm kd wants the predecessor's logits on a masked-lm task, but may cut"):
        check_wishes("kd", KD(), 2, encoder, own_words=True, kind="masked-lm")
    check_wishes("kd", KD(), 2, encoder, own_words=True)


def test_a_saved_head_is_kept_and_a_missing_one_is_new(tmp_path):
    whole = model(4)
    whole.save_pretrained(tmp_path / "whole")
    again = under_a_new_head(tmp_path / "whole", TASK, "eager")
    assert all(torch.equal(values, again.state_dict()[name]) for name, values in whole.state_dict().items())
    BertModel(whole.config).save_pretrained(tmp_path / "encoder")
    fresh = under_a_new_head(tmp_path / "encoder", TASK, "eager")
    assert fresh.cls.predictions.decoder.weight is fresh.bert.embeddings.word_embeddings.weight
    assert new_head(EncoderSource("whole", str(tmp_path / "whole"), None, "one", 4), TASK) is None
    assert new_head(EncoderSource("plain", str(tmp_path / "encoder"), None, "two", 4), TASK) == (
        "encoder plain has no head for masked-lm (cls.predictions.bias, ...): every run starts from a new one"
    )


def test_a_given_predecessor_must_have_the_head(tmp_path):
    whole = model(4)
    whole.save_pretrained(tmp_path / "whole")
    source = EncoderSource("tiny", str(tmp_path / "whole"), None, "hash", 4)
    assert check_predecessor(str(tmp_path / "whole"), TASK, source)
    tiny.bert(4).save_pretrained(tmp_path / "classifier")
    with pytest.raises(
        SuiteError, match="BertForSequenceClassification: give a model that was fine-tuned on masked-lm"
    ):
        check_predecessor(str(tmp_path / "classifier"), TASK, source)


def test_tied_embeddings_are_counted_once_and_survive_saving(tmp_path):
    shape = tuple(sorted({**tiny.SHAPE, "num_hidden_layers": 4}.items()))
    encoder = EncoderSource("tiny", "random", None, "random", 4, shape)
    for method in (Finetune(), KD(), TheseusMethod(), TheseusMethod(trainable=["layers", "embeddings", "head"])):
        found, expected, _ = counts(method, encoder, encoder, ("masked-lm", 1), 2)
        assert found == expected
    fit = fit_of(TheseusMethod(), split(), model)
    trained(fit)
    successor = fit.method.successor(fit.model)
    successor.save_pretrained(tmp_path)
    again = load_finetuned(tmp_path, "eager", "masked-lm")
    assert np.allclose(logits(again, split(), tiny.CPU), logits(successor, split(), tiny.CPU), atol=1e-5)
    assert again.cls.predictions.decoder.weight is again.bert.embeddings.word_embeddings.weight


def test_a_users_text_is_cut_into_chunks_of_words():
    own = OwnData(kind="masked-lm", train="a.jsonl", columns=["text"], words=4)
    given = Rows("a.jsonl", {"text": ["a  b c\nd e f g h i", " ", "j"], "book": ["x", "y", "z"]}, [1, 2, 5])
    chunks = KIND.unfolded(own, given)
    assert chunks.columns == {"text": ["a b c", "d e f", "g h i", "j"], "book": ["x", "x", "x", "z"]}
    assert chunks.at(3) == "a.jsonl: line 5"
    columns = KIND.converted(own, KIND.find_labels(own, chunks), chunks)
    assert (columns["text"].to_pylist(), columns["label"].to_pylist()) == (chunks.columns["text"], [0] * 4)
    with pytest.raises(SuiteError, match=r"line 1: column 'text' has '3', which is not text"):
        KIND.converted(own, KIND.find_labels(own, given), KIND.unfolded(own, Rows("a", {"text": [3]}, [1])))
    with pytest.raises(SuiteError, match="column 'text' has no words"):
        KIND.unfolded(own, Rows("a", {"text": [" "]}, [1]))


def test_a_books_rows_are_chunks_and_the_chunks_of_a_group_stay_together(tmp_path):
    books = {"text": [" ".join(f"{name}{i}" for i in range(100)) for name in "abcdef"], "book": list("abcdef")}
    Dataset.from_dict(books).to_parquet(tmp_path / "books.parquet")
    own = {"kind": "masked-lm", "train": str(tmp_path / "books.parquet"), "columns": ["text"], "group": "book"}
    source = own_source("books", OwnData(**own, words=20, dev_share=0.2))
    assert (source.task.train_rows, source.task.dev) == (25, {"validation": 5})
    splits = load_splits(source)
    names = [{text[0] for text in rows.data["text"].to_pylist()} for rows in splits.values()]
    assert not names[0] & names[1]
    rows = [
        own_source("books", OwnData(**own, max_length=length, dev_share=0.2)).task.train_rows for length in (29, 57)
    ]
    assert rows == [25, 15]  # chunks of 20 and of 34 words


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "masked-lm", "columns": ["a", "b"]}, "takes one column with the text"),
        ({"kind": "masked-lm", "columns": ["a"], "score": "accuracy"}, "score = accuracy is not of language models"),
        ({"columns": ["a"], "words": 5}, "words = 5 is for language models"),
    ],
)
def test_settings_of_another_kind_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OwnData(train="a.csv", **settings)


def test_needs_names_every_output_that_a_live_predecessor_computes():
    everything = frozenset({LOGITS, Output("state", 2), Output("state", 3, "all")})
    tokens = split()
    inputs, labels = tokens.collate(torch.arange(3), "cpu")
    found = LivePredecessor(model(4), everything)(Batch(inputs, labels, {}, objective=KIND), tiny.CPU)
    assert found.keys() == everything
    assert found[Output("state", 3, "all")].shape == (int(tokens.lengths[:3].sum()), 32)
