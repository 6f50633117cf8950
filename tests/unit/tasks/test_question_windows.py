"""Question answering: the windows of a context and their labels, and which rows are refused."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from benchmarks.base.errors import SuiteError
from benchmarks.runs.tokens import WordHash
from benchmarks.tasks.tokens import Tokens
from tests import tiny
from tests.questions import KIND, TASK, rows, words


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny.save_encoder(tmp_path_factory.mktemp("encoder")))


def text_of(tokens: Tokens, example: int, context: str) -> str:
    """What the labels of an example cut out of its context; "" where they are on [CLS]."""
    part = slice(int(tokens.offsets[example]), int(tokens.offsets[example + 1]))
    labels, spans = tokens.labels[part], tokens.spans[part]
    (first,), (last,) = (labels & 1).nonzero().tolist()[0], (labels & 2).nonzero().tolist()[0]
    assert int((labels & 1).sum()) == 1
    assert int((labels & 2).sum()) == 2
    return context[spans[first, 0] : spans[last, 1]] if first else ""


def test_a_short_pair_is_one_window_with_its_answer(tokenizer):
    context = words(10, 18)
    tokens = KIND.encode(tokenizer, TASK, rows(("w1 w2", context, ["w12 w13"])), 32)
    assert tokens.ids.tolist() == tokenizer("w1 w2", context)["input_ids"]
    assert tokens.types.tolist() == tokenizer("w1 w2", context)["token_type_ids"]
    assert text_of(tokens, 0, context) == "w12 w13"
    assert tokens.spans[:4].tolist() == [[-1, -1]] * 4
    assert [context[start:end] for start, end in tokens.spans[4:-1].tolist()] == context.split()


def test_windows_cover_a_long_context_and_overlap(tokenizer):
    """20 tokens hold two of the question, three special ones and 15 of the context; windows begin 6 tokens apart."""
    context = words(0, 40)
    tokens = KIND.encode(tokenizer, TASK, rows(("w1 w2", context, []), ("w1", "w2", [])), 20)
    assert tokens.idx.tolist() == [100] * 6 + [101]
    assert tokens.lengths.tolist() == [20] * 5 + [15, 5]
    starts = [int(tokens.spans[start + 4, 0]) for start in tokens.offsets[:-2]]
    assert starts == [context.index(f"w{number}") for number in (0, 6, 12, 18, 24, 30)]
    assert tokens.spans[tokens.offsets[6] - 2].tolist() == [len(context) - 3, len(context)]


@pytest.mark.parametrize(
    ("answer", "window"),
    [("w3", 0), ("w13 w14", 0), ("w14 w15", 1), ("w38 w39", 5), (words(2, 22), None), (None, None)],
    ids=["inside", "at the border", "over the border", "at the end", "longer than a window", "unanswerable"],
)
def test_training_takes_one_window_that_holds_the_answer(tokenizer, answer, window):
    context = words(0, 40)
    given = rows(("w1 w2", context, [answer] if answer else []), ("w1", "w2 w3", ["w3"]))
    trained = KIND.encode(tokenizer, TASK, given, 20, train=True)
    assert trained.idx.tolist() == [100, 101]
    assert text_of(trained, 0, context) == (answer if window is not None else "")
    dev = KIND.encode(tokenizer, TASK, given, 20)
    chosen, first = dev.select(torch.tensor([window or 0])), trained.select(torch.tensor([0]))
    assert torch.equal(chosen.ids, first.ids)
    assert torch.equal(chosen.labels, first.labels)
    held = [text_of(dev, example, context) for example in range(6)]
    assert set(held) <= {answer or "", ""}
    assert (window is None) == (set(held) == {""})


def test_a_part_of_a_token_is_an_answer(tokenizer, tmp_path):
    """Offsets count characters, not bytes and not tokens: the answer here begins inside a token, after an umlaut."""
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "die", "katze", "##n"])
    )
    own = BertTokenizerFast(str(tmp_path / "vocab.txt"))
    context = "Öde: die Katzen"
    tokens = KIND.encode(own, TASK, rows(("die", context, ["atze"])), 32, train=True)
    assert text_of(tokens, 0, context) == "Katze"


def test_a_long_question_is_cut_and_its_windows_keep_room(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows((words(0, 30), words(30, 50), ["w40"])), 20, train=True)
    assert tokens.lengths.tolist() == [20]
    assert int((tokens.spans[:, 0] < 0).sum()) == 10 + 3
    with pytest.raises(SuiteError, match=r"qa: max_length = 4 leaves no room for a context: set task.qa.max_length"):
        KIND.encode(tokenizer, TASK, rows(("w1 w2", "w3", [])), 4)


def test_a_context_without_tokens_has_an_empty_answer(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows(("w1", " ", []), ("w1", "w2", ["w2"])), 16)
    values = np.ones((len(tokens.ids), 2), dtype=np.float32)
    assert KIND.predictions(TASK, values, tokens).prediction == ["", "w2"]


def test_a_slow_tokenizer_is_refused(tokenizer):
    with pytest.raises(SuiteError, match=r"qa: a slow tokenizer does not say where .* save the model with a fast one"):
        KIND.encode(SimpleNamespace(is_fast=False), TASK, rows(("w1", "w2", [])), 16)


def test_random_weights_have_words_and_their_places():
    context = words(3, 9)
    tokens = KIND.encode(WordHash(1000), TASK, rows(("w1 w2", context, ["w5  w6".replace("  ", " ")])), 32)
    assert text_of(tokens, 0, context) == "w5 w6"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (rows(("q", "a context", ["context"]), ("q", "a context", ["text"]), starts=[[2], [4]]),
         "here: row 1: at character 4 its context has 'ntex', not the answer 'text'"),
        (rows(("q", "Öl und Öl", ["Öl"]), starts=[[-2]]), "here: row 0: at character -2"),
        (rows(("q", "one two", ["one", "two"]), starts=[[0]]), "here: row 0 has 2 answers and 1 starts"),
        (rows(("q", "one two", ["one", ""])), "an empty answer: a question without an answer has an empty list"),
        (rows(("q", "one", ["one"])).remove_columns("start"), "here has no column 'start'"),
        (rows(("q", "one", ["one"])).map(lambda row: {"label": "one"}), "'label' is string, but the task needs a list"),
        (rows(("q", "one", ["one"]), starts=[["0"]]), "needs a list of whole numbers"),
        (rows(("q", "one", ["one"])).map(lambda row: {"context": 1}), "column 'context' is int64, not text"),
        (rows(("q", "one", ["one"]), ("q", "one", [None]), starts=[[0], [0]]), "'label' has missing values"),
    ],
)  # fmt: skip
def test_rows_of_another_kind_are_refused(given, message):
    with pytest.raises(SuiteError, match=re.escape(message)):
        KIND.check("here", TASK, given)


def test_good_rows_pass():
    KIND.check("here", TASK, rows(("q", "Öl, Öl", ["Öl", "l, Ö"]), ("q", "text", [])))
