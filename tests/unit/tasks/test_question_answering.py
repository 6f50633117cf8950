"""Question answering: the losses of a span, the answer from several windows, the score, what is stored."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerFast

from baselines.kd import KD
from baselines.method import LOGITS, Batch, Given, Method
from baselines.parts.replacing_rate import RateOptions
from baselines.pkd import PKD
from baselines.theseus import TheseusMethod
from benchmarks.runs.kept import answers_of, check_answers
from benchmarks.tasks.spans import exact_match, f1
from benchmarks.tasks.table import AT_CHANCE, CONSTANT
from benchmarks.tasks.tokens import IGNORED, Tokens
from benchmarks.training.dropout import MaskStream
from benchmarks.training.fit import Fit
from benchmarks.training.forward import logits, predecessor_outputs
from benchmarks.training.length_groups import LengthGroups
from benchmarks.training.settings import Training
from benchmarks.training.step import backward
from results.format.scores import score
from tests import tiny
from tests.questions import KIND, TASK, rows
from tests.unit.tasks.gradients import gradient

BOTH = 3  # the label of [CLS] in a window without the answer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny.save_encoder(tmp_path_factory.mktemp("encoder")))


def two_examples() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Free logits of an example of three tokens and one of four, their mask and their labels."""
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    labels = torch.tensor([[0, 1, 2, IGNORED], [3, 0, 0, 0]], dtype=torch.int32)
    return torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(1)), mask, labels


def output(values: torch.Tensor) -> SimpleNamespace:
    return SimpleNamespace(start_logits=values[..., 0], end_logits=values[..., 1])


def test_the_loss_is_that_of_start_and_end_over_an_examples_own_tokens():
    values, _, labels = two_examples()
    batch = Batch({}, labels, {}, objective=KIND)
    first = -(values[0, :3, 0].log_softmax(0)[1] + values[0, :3, 1].log_softmax(0)[2]) / 2
    second = -(values[1, :, 0].log_softmax(0)[0] + values[1, :, 1].log_softmax(0)[0]) / 2
    assert float(batch.loss(output(values))) == pytest.approx(float(first + second) / 2)


def test_distillation_compares_start_and_end_over_an_examples_own_tokens():
    """The predecessor's rows come without padding."""
    values, mask, labels = two_examples()
    teacher = torch.randn(7, 2, generator=torch.Generator().manual_seed(2))
    batch = Batch({"attention_mask": mask}, labels, {LOGITS: teacher}, objective=KIND)
    kl = 0.0
    for own, deep in ((values[0, :3], teacher[:3]), (values[1], teacher[3:])):
        for side in (0, 1):
            student, target = (found[:, side].div(2).log_softmax(0) for found in (own, deep))
            kl += float((target.exp() * (target - student)).sum()) * 4
    assert float(batch.distance(output(values), 2.0)) == pytest.approx(kl / 4, rel=1e-5)


def test_padding_has_no_gradient():
    values, mask, labels = two_examples()
    values.requires_grad_()
    batch = Batch({"attention_mask": mask}, labels, {LOGITS: torch.randn(7, 2)}, objective=KIND)
    (batch.loss(output(values)) + batch.distance(output(values), 2.0)).backward()
    assert torch.isfinite(values.grad).all()
    assert values.grad[0, 3].tolist() == [0, 0]
    assert (values.grad[1].abs() > 0).all()


def model(layers: int = 2, seed: int = 0) -> BertForQuestionAnswering:
    torch.manual_seed(seed)
    config = BertConfig(
        **tiny.SHAPE, num_hidden_layers=layers, num_labels=2, max_position_embeddings=64, initializer_range=0.3,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertForQuestionAnswering(config).eval()


def split(tokenizer: PreTrainedTokenizerFast, examples: int = 9, train: bool = True, length: int = 24) -> Tokens:
    """Random questions on contexts of 3 to 40 words; every third has no answer, the others have two."""
    source, given = random.Random(3), []
    for number in range(examples):
        context = source.choices(tiny.WORDS[5:], k=source.randint(3, 40))
        places = [source.randrange(len(context)) for _ in range(2)] if number % 3 else []
        answers = [" ".join(context[place : place + source.randint(1, 4)]) for place in places]
        given.append((" ".join(source.choices(tiny.WORDS[5:], k=3)), " ".join(context), answers))
    return KIND.encode(tokenizer, TASK, rows(*given), length, train=train)


def pupil(tokens: Tokens, method: Method, parts: int) -> Fit:
    outputs = predecessor_outputs(model(4, seed=1), tokens, method.needs(4, 2), tiny.CPU)
    return Fit(method, model(), tokens, outputs, Training(micro_batches=parts), 1, tiny.CPU)


@pytest.mark.parametrize("method", [KD(), PKD(beta=50.0)], ids=["kd", "pkd"])
@pytest.mark.parametrize(("parts", "groups"), [(3, 1), (1, 4), (2, 3)])
def test_micro_batches_and_length_groups_leave_the_gradient_as_it_is(tokenizer, method, parts, groups):
    tokens = split(tokenizer)
    whole, other = gradient(pupil(tokens, method, 1)), gradient(pupil(tokens, method, parts), groups)
    assert torch.allclose(whole, other, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_theseus_trains_layers_below_the_predecessors_head(tokenizer):
    tokens, method = split(tokenizer), TheseusMethod(rate=RateOptions(kind="constant", p=0.5))
    built = method.build(Given(lambda: model(4, seed=1), lambda: model(4, seed=1), 2, 5, 12)).train()
    fit = Fit(method, built, tokens, {}, Training(), 1, tiny.CPU)
    laid = LengthGroups(built, method.stack(built), 1, MaskStream(), tokens.objective)
    backward(fit, torch.arange(len(tokens)), laid)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters(built) if p.grad is not None)
    successor = method.successor(built)
    assert isinstance(successor, BertForQuestionAnswering)
    assert torch.equal(successor.qa_outputs.weight, model(4, seed=1).qa_outputs.weight)


def test_made_up_labels_have_one_start_and_one_end_in_order():
    lengths = torch.randint(1, 9, (200,), generator=torch.Generator().manual_seed(0))
    labels = KIND.made_up_labels(lengths, torch.Generator().manual_seed(1))
    assert KIND.units(labels) == 200
    for part in labels.split(lengths.tolist()):
        (first,), (last,) = (part & 1).nonzero(), (part & 2).nonzero()
        assert first <= last


def answered(start: list[float], end: list[float], empty: tuple[float, float], second: bool = False) -> str:
    """The answer from the context "w0 ... w9" in windows of five tokens around it: w0, w1 and (`second`) w2, w3."""
    context = "w0 w1 w2 w3"
    spans = torch.tensor([[-1, -1], [0, 2], [3, 5], [-1, -1], [6, 8], [9, 11]], dtype=torch.int32)
    count = 6 if second else 3
    values = np.zeros((count, 2), dtype=np.float32)
    values[[0, 3] if second else [0]] = [[value / 2] * 2 for value in empty][: 2 if second else 1]
    places = [1, 2, 4, 5] if second else [1, 2]
    values[places] = np.stack((start, end), 1)
    data = rows(("q", context, ["w1"]), ("q", context, []))
    labels = torch.tensor([BOTH, 0, 0] * (2 if second else 1), dtype=torch.int32)
    offsets = torch.tensor([0, 3, 6] if second else [0, 3])
    idx = torch.full((len(offsets) - 1,), 100)
    tokens = Tokens(torch.zeros(count), None, offsets, labels, idx, 0, TASK.kind, spans[:count], data)
    assert answered.__doc__
    (found,) = KIND.predictions(TASK, values, tokens).prediction
    return str(found)


def test_a_question_is_answered_from_its_best_window_or_not_at_all():
    assert answered([1, 0], [0, 2], (2, 0)) == "w0 w1"
    assert answered([1, 0], [0, 2], (3, 0)) == "w0 w1"  # equal scores: an answer
    assert answered([1, 0], [0, 2], (3.5, 0)) == ""
    assert answered([1, 0, 5, 0], [0, 2, 1, 0], (9, 1), second=True) == "w2"  # the lowest [CLS] of the windows counts
    assert answered([1, 0, 5, 0], [0, 2, 1, 0], (9, 7), second=True) == ""


def test_where_every_question_has_an_answer_one_is_always_given(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows(("w1", "w2 w3", ["w2"])), 16)
    values = np.zeros((len(tokens.ids), 2), dtype=np.float32)
    values[0] = 100
    assert KIND.predictions(TASK, values, tokens).prediction == ["w2"]


def values_of(tokens: Tokens, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(len(tokens.ids), 2)).astype(np.float32)


def test_the_score_is_the_mean_over_questions_with_exact_match_beside_it(tokenizer):
    tokens = split(tokenizer, 30, train=False)
    assert len(tokens) > 30
    values = values_of(tokens)
    values[tokens.offsets[:-1].numpy()[::2]] += 4  # some answers are empty
    columns = vars(KIND.predictions(TASK, values, tokens))
    pairs = list(zip(columns["label"], columns["prediction"], strict=True))
    assert len(pairs) == 30
    assert 0 < sum(not given for _, given in pairs) < 30
    em, mean_f1 = np.mean([(exact_match(true, given), f1(true, given)) for true, given in pairs], axis=0)
    scored = KIND.score(TASK, {"validation": values}, {"validation": tokens})
    assert scored.metrics == {"span_f1": pytest.approx(mean_f1), "exact_match": pytest.approx(em)}
    assert scored.score == pytest.approx(100 * mean_f1)


def test_two_splits_count_alike(tokenizer):
    splits = {"validation": split(tokenizer, 4), "validation_b": split(tokenizer, 12)}
    found = {name: values_of(tokens) for name, tokens in splits.items()}
    scored = KIND.score(TASK, found, splits)
    assert set(scored.metrics) == {"span_f1", "exact_match", "span_f1_b", "exact_match_b"}
    assert scored.score == pytest.approx(50 * (scored.metrics["span_f1"] + scored.metrics["span_f1_b"]))


def test_no_answer_to_any_question_is_flagged(tokenizer):
    tokens = split(tokenizer, 9)
    values = np.zeros((len(tokens.ids), 2), dtype=np.float32)
    values[tokens.offsets[:-1].numpy()] = 5
    scored = KIND.score(TASK, {"validation": values}, {"validation": tokens})
    assert scored.flags == [f"{CONSTANT} on validation", AT_CHANCE]
    assert scored.score == pytest.approx(100 / 3) == KIND.constant(TASK, {"validation": tokens})
    with pytest.raises(ValueError, match="must be finite"):
        KIND.score(TASK, {"validation": values * np.nan}, {"validation": tokens})


def test_some_questions_are_scored_alone(tokenizer):
    """A held-out share, or a sample, is scored by the rows that it names, in whatever order."""
    tokens = split(tokenizer, 12)
    values, chosen = values_of(tokens), torch.tensor([7, 2, 10])
    whole, some = vars(KIND.predictions(TASK, values, tokens)), tokens.select(chosen)
    alone = vars(KIND.predictions(TASK, values[tokens.places(chosen).numpy()], some))
    for name in ("label", "prediction"):
        assert alone[name] == [whole[name][row] for row in chosen.tolist()]


def test_what_is_stored_gives_the_score_again(tokenizer, tmp_path: Path):
    tokens = split(tokenizer, 20, train=False)
    values = values_of(tokens, 1)
    pd.DataFrame(vars(KIND.predictions(TASK, values, tokens))).to_parquet(tmp_path / "predictions.parquet")
    read = pd.read_parquet(tmp_path / "predictions.parquet")
    sums = np.stack(read.sums.to_list())
    expected = KIND.score(TASK, {"validation": values}, {"validation": tokens}).score
    assert 100 * score("span_f1", {"validation": slice(0, 20)}, np.zeros(20), sums[None])[0] == pytest.approx(expected)
    assert np.array_equal(np.concatenate(read.logits.to_list()), values.ravel())
    assert sums[:, 0].tolist() == [f1(list(a), b) for a, b in zip(read.label, read.prediction, strict=True)]


def test_a_saved_successor_that_answers_otherwise_is_found(tokenizer, tmp_path: Path):
    tokens, own = split(tokenizer, 6, train=False), model()
    own.save_pretrained(tmp_path)
    expected = answers_of(own, TASK, tokens, tiny.CPU)
    assert len(expected) == 2 * len(tokens.ids)
    check_answers(tmp_path, TASK, tokens, expected, tiny.CPU)
    model(seed=7).save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="answers otherwise when it is loaded again"):
        check_answers(tmp_path, TASK, tokens, expected, tiny.CPU)


def test_logits_of_a_split_are_start_and_end_of_each_token(tokenizer):
    tokens, deep = split(tokenizer), model()
    found = logits(deep, tokens, tiny.CPU)
    alone = tokens.select(torch.tensor([5]))
    with torch.no_grad():
        expected = deep(input_ids=alone.ids[None].long(), token_type_ids=alone.types[None].long())
    part = found[tokens.offsets[5] : tokens.offsets[6]]
    assert np.allclose(part[:, 0], expected.start_logits[0], atol=1e-5)
    assert np.allclose(part[:, 1], expected.end_logits[0], atol=1e-5)
