"""Token classification: words to tokens, the losses, the counts of entities, and what reports read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from sklearn.metrics import accuracy_score
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

from baselines.kd import KD
from baselines.method import LOGITS, Batch, Method
from baselines.pkd import PKD
from benchmarks.base.errors import SuiteError
from benchmarks.tasks import kinds
from benchmarks.tasks.kinds.token_classification import entities
from benchmarks.tasks.table import AT_CHANCE, CONSTANT, Task
from benchmarks.tasks.tokens import IGNORED, Tokens
from benchmarks.training.batches import micro_batches
from benchmarks.training.fit import Fit
from benchmarks.training.forward import logits, predecessor_outputs
from benchmarks.training.settings import Training
from results.format.scores import SUMMED, Kind, score
from tests import tiny
from tests.unit.tasks.gradients import gradient

KIND = kinds.find("token-classification")
TAGS = ("O", "B-per", "I-per", "B-loc", "I-loc")
NER = Task("ner", "NER", ("tokens",), "entity_f1", 0, {"validation": 0}, TAGS, kind="token-classification")
POS = Task("pos", "POS", ("tokens",), "token_accuracy", 0, {"validation": 0}, ("a", "b", "c"), kind=NER.kind)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> PreTrainedTokenizerFast:
    folder = tiny.save_encoder(tmp_path_factory.mktemp("encoder"))
    return PreTrainedTokenizerFast.from_pretrained(folder)


def rows(sentences: list[list[str]], labels: list[list[int]]) -> Dataset:
    return Dataset.from_dict({"tokens": sentences, "label": labels, "idx": list(range(len(sentences)))})


def model(layers: int = 2, seed: int = 0, labels: int = 3) -> BertForTokenClassification:
    torch.manual_seed(seed)
    config = BertConfig(
        **tiny.SHAPE, num_hidden_layers=layers, num_labels=labels, max_position_embeddings=64, initializer_range=0.3,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertForTokenClassification(config).eval()


def split(examples: int = 9, classes: int = 3) -> Tokens:
    """Random sentences; between one and all of a sentence's tokens have a label."""
    generator = torch.Generator().manual_seed(4)
    lengths = torch.randint(4, 21, (examples,), generator=generator)
    count = int(lengths.sum())
    labels = torch.randint(0, classes, (count,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    hidden = torch.rand(count, generator=generator) < 0.4
    hidden[offsets[:-1] + 1] = False
    ids = torch.randint(5, len(tiny.WORDS), (count,), generator=generator)
    return Tokens(ids, None, offsets, labels.masked_fill(hidden, IGNORED), torch.arange(examples), 0, NER.kind)


def test_a_words_label_is_at_its_first_token_and_special_tokens_have_none(tokenizer):
    tokens = KIND.encode(tokenizer, NER, rows([["w1", "w2"], ["w3"]], [[1, 2], [0]]), 16)
    assert tokens.ids.tolist() == [2, *tokenizer.convert_tokens_to_ids(["w1", "w2"]), 3, 2, tokens.ids[5], 3]
    assert tokens.labels.tolist() == [IGNORED, 1, 2, IGNORED, IGNORED, 0, IGNORED]
    assert (len(tokens), tokens.offsets.tolist()) == (2, [0, 4, 7])


def test_a_word_that_the_tokenizer_removes_still_counts(tokenizer):
    """A word of white space has no token; it becomes the unknown word, so that no label is lost."""
    tokens = KIND.encode(tokenizer, NER, rows([["w1", " ", "w2"]], [[1, 0, 3]]), 16)
    assert tokens.labels.tolist() == [IGNORED, 1, 0, 3, IGNORED]
    assert tokens.ids[2] == tokenizer.unk_token_id


def test_a_sentence_that_would_be_cut_is_refused(tokenizer):
    with pytest.raises(SuiteError, match=r"ner: row 1 has 7 tokens, and max_length = 6 would cut off words .* = 7"):
        KIND.encode(tokenizer, NER, rows([["w1"], ["w1"] * 5], [[1], [1] * 5]), 6)


@pytest.mark.parametrize(
    ("sentences", "labels", "message"),
    [
        (["w1 w2"], [[0, 1]], "column 'tokens' is string, but the task needs a list for each sentence"),
        ([["w1", "w2"]], [0], "column 'label' is int64, but the task needs a list"),
        ([["w1"], ["w1", "w2"]], [[0], [0]], "row 1 has 2 words and 1 labels"),
        ([["w1"], []], [[0], []], "a sentence has no words"),
        ([["w1", None]], [[0, 1]], "column 'tokens' has missing values"),
        ([["w1"]], [[5]], "labels run from 5 to 5, but the task's run from 0 to 4"),
        ([["w1"]], [["O"]], "lists of words and of integer class ids"),
    ],
)  # fmt: skip
def test_rows_of_another_kind_are_refused(sentences, labels, message):
    with pytest.raises(SuiteError, match=message):
        KIND.check("here", NER, rows(sentences, labels))


def test_labels_that_are_not_tags_have_no_entities():
    task = Task("ner", "NER", ("tokens",), "entity_f1", 0, {}, ("O", "person"), kind=NER.kind)
    with pytest.raises(SuiteError, match="'person' is not a tag of entities"):
        KIND.check("here", task, rows([["w1"]], [[1]]))


def told_apart(tags: list[str]) -> set[tuple[str, int, int]]:
    """Entities by conlleval's two questions at every border between words, written from its published description: does
    a chunk end before this word, does one start at it?"""

    def parts(tag: str) -> tuple[str, str]:
        return (tag[0], tag[2:]) if tag != "O" else ("O", "")

    found, start = set(), None
    for place, tag in enumerate([*tags, "O"]):
        (p, old), (t, new) = parts(tags[place - 1] if place else "O"), parts(tag)
        ends = p in "ES" or (p in "BI" and t in "BSO") or (p != "O" and old != new)
        starts = t in "BS" or (p in "ESO" and t in "EI") or (t != "O" and old != new)
        if ends and start is not None:
            found.add((old, start, place - 1))
            start = None
        if starts:
            start = place
    return found


def tagged(source: random.Random) -> Iterator[list[str]]:
    for prefixes in (["B", "I"], ["I"], ["B", "I", "E", "S"]):
        tags = ["O", "O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("per", "org-x"))]
        for _ in range(300):
            yield [source.choice(tags) for _ in range(source.choice([1, 1, 2, 5, 9]))]


def test_entities_are_those_of_conlleval():
    for tags in tagged(random.Random(1)):
        assert set(entities(tags)) == told_apart(tags), tags


def test_entity_f1_by_hand():
    """True: per 0-1, loc 3; given: per 0-1, loc 3-4, per 5. One is right of three and of two: P 1/3, R 1/2, F1 0.4."""
    true, given = ["B-per", "I-per", "O", "B-loc", "O", "O"], ["B-per", "I-per", "O", "B-loc", "I-loc", "B-per"]
    labels = torch.tensor([IGNORED, *map(TAGS.index, true), IGNORED])
    tokens = Tokens(torch.zeros(8), None, torch.tensor([0, 8]), labels, torch.tensor([7]), 0, NER.kind)
    values = np.eye(5, dtype=np.float32)[[0, *map(TAGS.index, given), 0]]
    assert KIND.sums(NER, values, tokens).tolist() == [[1, 3, 2]]
    scored = KIND.score(NER, {"validation": values}, {"validation": tokens})
    assert (scored.metrics, scored.score) == ({"entity_f1": pytest.approx(0.4)}, pytest.approx(40))
    assert KIND.predictions(NER, values, tokens).prediction[0].tolist() == [*map(TAGS.index, given)]


def test_token_accuracy_is_that_of_all_words():
    tokens, values = split(), np.random.default_rng(0).normal(size=(len(split().ids), 3)).astype(np.float32)
    kept = (tokens.labels != IGNORED).numpy()
    expected = accuracy_score(tokens.labels.numpy()[kept], values.argmax(1)[kept])
    assert KIND.score(POS, {"validation": values}, {"validation": tokens}).score == pytest.approx(100 * expected)


def test_degenerate_answers_are_flagged():
    tokens = split()
    scored = KIND.score(POS, {"validation": np.ones((len(tokens.ids), 1)) * [1, 0, 0]}, {"validation": tokens})
    assert f"{CONSTANT} on validation" in scored.flags
    best = torch.bincount(tokens.labels[tokens.labels >= 0]).argmax()
    given = np.zeros((len(tokens.ids), 3))
    given[:, best] = 1
    assert AT_CHANCE in KIND.score(POS, {"validation": given}, {"validation": tokens}).flags
    with pytest.raises(ValueError, match="must be finite"):
        KIND.score(POS, {"validation": given * np.nan}, {"validation": tokens})


def test_the_loss_is_the_mean_over_words():
    """Two sentences of one and two words; their logits are free."""
    values = torch.randn(2, 4, 3)
    labels = torch.tensor([[IGNORED, 2, IGNORED, IGNORED], [IGNORED, 0, 1, IGNORED]])
    batch = Batch({}, labels, {}, objective=KIND)
    rows_of = [values[0, 1], values[1, 1], values[1, 2]]
    expected = -sum(row.log_softmax(0)[label] for row, label in zip(rows_of, [2, 0, 1], strict=True)) / 3
    assert float(batch.loss(SimpleNamespace(logits=values))) == pytest.approx(float(expected))


def test_distillation_compares_the_words_only():
    """The predecessor's rows come without padding; rows of tokens without a label change nothing."""
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    labels = torch.tensor([[IGNORED, 2, IGNORED, IGNORED], [IGNORED, 0, 1, IGNORED]])
    values, teacher = torch.randn(2, 4, 3), torch.randn(7, 3)
    batch = Batch({"attention_mask": mask}, labels, {LOGITS: teacher}, objective=KIND)
    pairs = [(values[0, 1], teacher[1]), (values[1, 1], teacher[4]), (values[1, 2], teacher[5])]
    kl = [(t.div(2).softmax(0) * (t.div(2).log_softmax(0) - s.div(2).log_softmax(0))).sum() * 4 for s, t in pairs]
    assert float(batch.distance(SimpleNamespace(logits=values), 2.0)) == pytest.approx(float(sum(kl) / 3), rel=1e-5)


def pupil(method: Method, parts: int) -> Fit:
    outputs = predecessor_outputs(model(4, seed=1), split(), method.needs(4, 2), tiny.CPU)
    return Fit(method, model(), split(), outputs, Training(micro_batches=parts), 1, tiny.CPU)


@pytest.mark.parametrize("method", [KD(), PKD(beta=50.0)], ids=["kd", "pkd"])
@pytest.mark.parametrize(("parts", "groups"), [(3, 1), (1, 4), (2, 3)])
def test_micro_batches_and_length_groups_leave_the_gradient_as_it_is(method, parts, groups):
    whole, other = gradient(pupil(method, 1)), gradient(pupil(method, parts), groups)
    assert torch.allclose(whole, other, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_weights_of_micro_batches_follow_their_words():
    tokens = split()
    batches = [batch for batch, _ in micro_batches(tokens, torch.arange(len(tokens)), 3, "cpu", {})]
    words = [int((batch.labels != IGNORED).sum()) for batch in batches]
    assert [batch.weight for batch in batches] == pytest.approx([count / sum(words) for count in words])
    assert sum(batch.share for batch in batches) == pytest.approx(1)


def test_logits_of_a_split_are_a_row_a_token():
    tokens, deep = split(), model()
    found = logits(deep, tokens, tiny.CPU)
    alone = tokens.select(torch.tensor([5]))
    start, end = tokens.offsets[5], tokens.offsets[6]
    with torch.no_grad():
        expected = deep(input_ids=alone.ids[None].long()).logits[0].numpy()
    assert np.allclose(found[start:end], expected, atol=1e-5)


@pytest.mark.parametrize("name", sorted(SUMMED))
def test_scores_from_sums_of_nothing_are_zero(name: Kind):
    nothing = np.zeros((1, 4, len(SUMMED[name])))
    assert score(name, {"validation": slice(0, 4)}, np.zeros(4), nothing).tolist() == [0]


def test_what_is_stored_gives_the_score_again(tmp_path: Path):
    tokens, values = split(), np.random.default_rng(1).normal(size=(len(split().ids), 3)).astype(np.float32)
    frame = pd.DataFrame(vars(KIND.predictions(POS, values, tokens)))
    frame.to_parquet(tmp_path / "predictions.parquet")
    read = pd.read_parquet(tmp_path / "predictions.parquet")
    right = sum(int((a == b).sum()) for a, b in zip(read.label, read.prediction, strict=True))
    words = sum(map(len, read.label))
    assert KIND.score(POS, {"validation": values}, {"validation": tokens}).score == pytest.approx(100 * right / words)
    assert np.stack(read.sums.to_list()).sum(0).tolist() == [right, words]
    assert [len(row) for row in read.logits] == [3 * len(row) for row in read.label]
