"""Sentence embeddings: pairs to rows, each text read alone, the cosine and its losses, and what a run saves."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy import stats
from transformers import AutoModel, BertConfig, BertModel, DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

from baselines.finetune import Finetune
from baselines.kd import KD
from baselines.layerdrop import LayerDrop
from baselines.method import LOGITS, Batch, Given, Method, Output
from baselines.pkd import PKD
from baselines.theseus import TheseusMethod
from benchmarks.base.errors import SuiteError
from benchmarks.models import contents
from benchmarks.models.checks import check_predecessor
from benchmarks.models.contents import own_files
from benchmarks.models.loading import load_finetuned, load_pretrained
from benchmarks.models.source import EncoderSource
from benchmarks.plans.checks import counts
from benchmarks.runs.predecessor_outputs import weights_hash
from benchmarks.tasks import kinds
from benchmarks.tasks.bi_encoder import POOLINGS, BiEncoder
from benchmarks.tasks.pooling import check_parts, pooling_of
from benchmarks.tasks.table import AT_CHANCE, CONSTANT, ONE_CLASS, Task
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.fit import Fit
from benchmarks.training.forward import logits, predecessor_outputs
from benchmarks.training.settings import Training
from benchmarks.training.step import stepping
from results.format.layout import MODULES
from results.format.scores import score
from tests import tiny
from tests.unit.tasks.gradients import gradient
from theseus import parameters_by_part

KIND = kinds.find("sentence-embeddings")
TASK = Task("sts", "STS", ("one", "other"), "cosine_spearman", 0, {"validation": 0}, kind="sentence-embeddings",
            scale=(0.0, 5.0))  # fmt: skip
PAIRS = [("w1 w2", "w3"), ("w4", "w5 w6 w7 w8 w9"), ("w1 w9 w3", "w2 w2"), ("w7", "w7"), ("w5 w4 w3 w2", "w1")]
SCORES = [0.0, 5.0, 2.5, 4.0, 1.25]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny.save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def tokenizer(folder) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(folder)


def rows(pairs: list[tuple[str, str]] = PAIRS, scores: Any = SCORES) -> Dataset:
    one, other = zip(*pairs, strict=True)
    return Dataset.from_dict({"one": one, "other": other, "label": scores, "idx": list(range(len(pairs)))})


def model(layers: int = 2, seed: int = 0, pooling: str = "mean") -> BiEncoder:
    torch.manual_seed(seed)
    config = BertConfig(
        **tiny.SHAPE, num_hidden_layers=layers, max_position_embeddings=64, initializer_range=0.3,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BiEncoder(BertModel(config).eval(), pooling)


def given() -> Given:
    return Given(lambda: model(4, seed=1), lambda: model(4, seed=2), 2, 5, 12)


def alone(encoder: Any, tokenizer: Any, text: str) -> torch.Tensor:
    """The states of one text (tokens, hidden) from the plain encoder."""
    with torch.no_grad():
        states: torch.Tensor = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    return states


def written(folder: Path, settings: dict[str, Any]) -> Path:
    """The folder with these settings of its pooling."""
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    return folder


# rows and tokens


def test_the_texts_of_a_pair_lie_one_after_the_other_each_with_its_special_tokens(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows(PAIRS[:2], SCORES[:2]), 16)
    one, two, three = tokenizer.convert_tokens_to_ids(["w1", "w2", "w3"])
    assert tokens.ids[:7].tolist() == [2, one, two, 3, 2, three, 3]
    assert tokens.types is not None
    assert tokens.types.tolist() == [0] * 4 + [1] * 3 + [0] * 3 + [1] * 7
    assert (tokens.offsets.tolist(), tokens.labels.tolist()) == ([0, 7, 17], [0.0, 1.0])


def test_each_text_is_cut_by_itself(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows([("w1 w2 w3 w4", "w5 w6 w7")], [1.0]), 4)
    assert tokens.types is not None
    assert tokens.types.tolist() == [0] * 4 + [1] * 4


def test_scores_are_scaled_to_0_to_1(tokenizer):
    task = Task("sick", "SICK", TASK.columns, TASK.score, 0, {}, kind=TASK.kind, scale=(1.0, 5.0))
    tokens = KIND.encode(tokenizer, task, rows(PAIRS[:3], [1.0, 2.0, 5.0]), 16)
    assert tokens.labels.tolist() == [0.0, 0.25, 1.0]
    stored = vars(KIND.predictions(task, np.ones((3, 1), dtype=np.float32), tokens))
    assert stored["label"].tolist() == [1.0, 2.0, 5.0]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (rows(PAIRS, [0, 1, 2, 3, 4]), "column 'label' is int64, but the task needs float scores"),
        (rows(PAIRS, [0.0, 1.0, 2.0, 3.0, 5.5]), "scores run from 0 to 5.5, but the task's from 0 to 5"),
        (rows(PAIRS, [0.0, 1.0, 2.0, 3.0, None]), "scores that are missing or not finite"),
        (rows(PAIRS, [0.0, 1.0, 2.0, 3.0, float("nan")]), "scores that are missing or not finite"),
        (rows([(1, "w1")], [0.0]), "column 'one' is int64, not text"),
    ],
)
def test_rows_of_another_kind_are_refused(made, message):
    with pytest.raises(SuiteError, match=message):
        KIND.check("here", TASK, made)


def test_a_task_without_a_scale_or_without_two_texts_is_refused():
    with pytest.raises(SuiteError, match="needs a scale, its lowest and its highest score"):
        KIND.check("here", Task("sts", "STS", TASK.columns, TASK.score, 0, {}, kind=TASK.kind), rows())
    with pytest.raises(SuiteError, match="the task has 1 text columns, but it compares two texts"):
        KIND.check("here", Task("sts", "STS", ("one",), TASK.score, 0, {}, kind=TASK.kind, scale=(0, 1)), rows())


# the model


def test_poolings_by_hand():
    states = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[1.0, 1.0], [2.0, 2.0], [6.0, 0.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    found = {name: pool(states, mask).tolist() for name, pool in POOLINGS.items()}
    assert found["mean"] == [[2.0, 4.0], [3.0, 1.0]]
    assert found["cls"] == [[1.0, 2.0], [1.0, 1.0]]
    assert found["lasttoken"] == [[3.0, 6.0], [6.0, 0.0]]


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_each_text_is_read_as_if_it_were_alone(tokenizer, pooling):
    """Neither the other text, nor the other pairs, nor padding change a vector."""
    whole, tokens = model(pooling=pooling), KIND.encode(tokenizer, TASK, rows(), 16)
    found = logits(whole, tokens, tiny.CPU)
    for pair, vectors in zip(PAIRS, found, strict=True):
        expected = []
        for text in pair:
            states = alone(whole.encoder, tokenizer, text)
            expected.append(POOLINGS[pooling](states[None], torch.ones(1, len(states), dtype=torch.int64))[0])
        assert np.allclose(vectors, torch.cat(expected).numpy(), atol=1e-5)


def test_the_output_is_the_cosine_of_the_two_vectors(tokenizer):
    whole, tokens = model(), KIND.encode(tokenizer, TASK, rows(), 16)
    inputs, _ = tokens.collate(torch.arange(5), "cpu")
    with torch.no_grad():
        output = whole(**inputs)
    one, other = output.embeddings[:, 0].double().numpy(), output.embeddings[:, 1].double().numpy()
    expected = (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1))
    assert np.allclose(output.logits[:, 0].numpy(), expected, atol=1e-6)
    assert output.logits[3, 0] == pytest.approx(1.0)  # the two texts of this pair are the same
    stored = vars(KIND.predictions(TASK, KIND.logits(output).numpy(), tokens))
    assert np.allclose(stored["prediction"], expected, atol=1e-6)
    assert np.allclose(np.stack(stored["logits"])[:, 0], stored["prediction"])


def test_a_row_without_types_is_divided_in_the_middle():
    ids, mask = torch.tensor([[2, 9, 9, 2, 9, 0]]), torch.tensor([[1, 1, 1, 1, 1, 0]])
    types = torch.tensor([[0, 0, 0, 1, 1, 0]])
    with torch.no_grad():
        assert torch.equal(model()(ids, mask).embeddings, model()(ids, mask, types).embeddings)


def test_states_lie_where_the_tokens_of_the_pairs_lie(tokenizer):
    whole, tokens = model(3), KIND.encode(tokenizer, TASK, rows(), 16)
    first, every = Output("state", 2), Output("state", 2, "all")
    found = predecessor_outputs(whole, tokens, {first, every}, tiny.CPU)
    assert found[first].shape == (5, 2, 32)
    for row, pair in enumerate(PAIRS):
        with torch.no_grad():
            states = [whole.encoder(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
                      .hidden_states[2][0] for text in pair]  # fmt: skip
        assert torch.allclose(found[first][row], torch.stack([part[0] for part in states]), atol=1e-5)
        own = found[every][tokens.offsets[row] : tokens.offsets[row + 1]]
        assert torch.allclose(own, torch.cat(states), atol=1e-5)


# losses


def test_the_loss_is_the_squared_error_of_the_cosine():
    output = SimpleNamespace(logits=torch.tensor([[0.5], [-1.0]]))
    assert float(Batch({}, torch.tensor([1.0, 0.0]), {}, objective=KIND).loss(output)) == pytest.approx(0.625)


def test_distillation_compares_the_vectors():
    output = SimpleNamespace(embeddings=torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    batch = Batch({}, torch.zeros(1), {LOGITS: torch.tensor([[1.0, 0.0, 3.0, 6.0]])}, objective=KIND)
    assert float(batch.distance(output, 10.0)) == pytest.approx((4 + 4) / 4)


def fit(method: Method, tokens: Tokens, parts: int = 1) -> Fit:
    wishes = method.needs(4, 2)
    outputs = predecessor_outputs(model(4, seed=1), tokens, wishes, tiny.CPU) if wishes else {}
    return Fit(method, method.build(given()).train(), tokens, outputs, Training(micro_batches=parts), 1, tiny.CPU, 12)


USUAL = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]


@pytest.mark.parametrize(
    ("parts", "odd"),
    [
        (USUAL, None),
        (USUAL[:2], None),
        ([*USUAL, ("3_Dense", "Dense")], "Dense"),
        ([USUAL[0], ("pool", "Pooling")], "Pooling"),
        ("text", "what is not a list of parts"),
    ],
)  # fmt: skip
def test_parts_of_a_sentence_encoder_that_are_not_known_are_refused_and_hashed(tmp_path, parts, odd):
    """Without its dense layer an encoder's vectors would be another model's."""
    listed = [{"path": path, "type": f"any.{name}"} for path, name in parts] if isinstance(parts, list) else parts
    (tmp_path / MODULES).write_text(json.dumps(listed))
    assert (MODULES in own_files(tmp_path)) == (odd is not None)
    if odd is None:
        return check_parts(tmp_path)
    with pytest.raises(SuiteError, match=f"lists {odd}, and only a transformer"):
        check_parts(tmp_path)
    return None


@pytest.mark.parametrize("method", [Finetune(), KD(), PKD(beta=50.0)], ids=["finetune", "kd", "pkd"])
def test_micro_batches_leave_the_gradient_as_it_is(tokenizer, method):
    tokens = KIND.encode(tokenizer, TASK, rows(), 16)
    whole, other = (  # the model's rows are texts, not examples
        gradient(fit(method, tokens, parts), 4, fits=False) for parts in (1, 3)
    )
    assert torch.allclose(whole, other, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize(
    "method", [Finetune(), KD(), PKD(), LayerDrop(), TheseusMethod()], ids=lambda m: type(m).__name__
)
def test_every_method_trains_it_and_leaves_a_plain_encoder(tokenizer, method, tmp_path):
    tokens = KIND.encode(tokenizer, TASK, rows(), 16)
    made = fit(method, tokens)
    losses = []
    with stepping(made) as step:
        for index in range(12):
            losses.append(float(step(index, torch.arange(len(tokens))).loss))
    successor = made.method.successor(made.model)
    successor.save_pretrained(str(tmp_path))  # as the first step of a plan does
    assert AutoModel.from_pretrained(tmp_path).config.num_hidden_layers == 2
    assert np.isfinite(losses).all()
    again = load_finetuned(tmp_path, "sdpa", TASK.kind)
    assert np.allclose(logits(again, tokens, tiny.CPU), logits(successor, tokens, tiny.CPU), atol=1e-6)


def test_theseus_with_everything_replaced_is_its_successor(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows(), 16)
    method = TheseusMethod(rate={"kind": "constant", "p": 1.0})
    made = method.build(given())
    inputs, _ = tokens.collate(torch.arange(5), "cpu")
    with torch.no_grad():
        assert torch.equal(made.train()(**inputs).embeddings, method.successor(made)(**inputs).embeddings)


# the score


def scored(values: Any, labels: Any) -> Any:
    tokens = Tokens(torch.zeros(0), None, torch.arange(len(labels) + 1), torch.tensor(labels), torch.arange(9), 0,
                    TASK.kind)  # fmt: skip
    return KIND.score(TASK, {"validation": np.array(values, dtype=np.float32)[:, None]}, {"validation": tokens})


@pytest.mark.parametrize("decimals", [0, 1, 6], ids=["many ties", "ties", "no ties"])
def test_the_score_is_spearmans_correlation(decimals):
    source = np.random.default_rng(3)
    labels, given = np.round(source.uniform(0, 1, 50), decimals), np.round(source.uniform(-1, 1, (4, 50)), decimals)
    expected = [stats.spearmanr(row, labels).statistic for row in given]
    found = [scored(row, labels).score for row in given]
    assert found == pytest.approx([100 * value for value in expected])
    assert score("cosine_spearman", {"validation": slice(0, 50)}, labels, given) == pytest.approx(expected)


def test_degenerate_answers_score_0_and_are_flagged():
    same = scored([0.5] * 4, [0.0, 0.2, 0.4, 1.0])
    assert (same.score, same.flags) == (0.0, [f"{CONSTANT} on validation", AT_CHANCE])
    assert f"{ONE_CLASS} of validation" in scored([0.1, 0.2], [0.5, 0.5]).flags
    with pytest.raises(ValueError, match="must be finite"):
        scored([float("nan"), 0.0], [0.0, 1.0])
    assert score("cosine_spearman", {"a": slice(0, 3)}, np.array([1.0, 2.0, 3.0]), np.ones((1, 3))).tolist() == [0.0]


def test_vectors_and_their_cosines_score_alike(tokenizer):
    tokens = KIND.encode(tokenizer, TASK, rows(), 16)
    vectors = logits(model(), tokens, tiny.CPU)
    stored = np.stack(KIND.predictions(TASK, vectors, tokens).logits)
    both = [KIND.score(TASK, {"validation": values}, {"validation": tokens}).score for values in (vectors, stored)]
    assert both[0] == both[1]


# files


def test_sentence_transformers_reads_what_a_run_saves(tokenizer, tmp_path):
    from sentence_transformers import SentenceTransformer  # takes seconds to import

    for pooling in POOLINGS:
        made, place = model(pooling=pooling), tmp_path / pooling
        made.save_pretrained(place)
        tokenizer.save_pretrained(place)
        theirs = SentenceTransformer(str(place), device="cpu")
        tokens = KIND.encode(tokenizer, TASK, rows(), 16)
        expected = np.concatenate([theirs.encode(list(side)) for side in zip(*PAIRS, strict=True)], axis=1)
        again = load_finetuned(place, "sdpa", TASK.kind)
        assert again.pooling == pooling
        assert np.allclose(logits(again, tokens, tiny.CPU), expected, atol=1e-5)


def test_the_pooling_is_that_of_the_folder(tmp_path, folder):
    assert pooling_of(folder) == "mean"
    old = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 32}
    assert pooling_of(written(tmp_path / "old", old)) == "cls"
    assert pooling_of(written(tmp_path / "new", {"pooling_mode": "lasttoken"})) == "lasttoken"
    both = written(tmp_path / "both", {"pooling_mode": ["cls", "mean"]})
    assert pooling_of(both) == "cls+mean"
    with pytest.raises(SuiteError, match="pools its tokens by cls\\+mean, and only mean, cls, lasttoken are known"):
        KIND.wrap(model().encoder, both)


def test_another_pooling_is_another_encoder_and_the_usual_one_is_not(tmp_path, folder):
    before = contents.hash_of(folder, "0" * 64)
    other = tiny.save_encoder(tmp_path / "encoder")
    (other / "config.json").write_bytes((folder / "config.json").read_bytes())
    written(other, {"pooling_mode_mean_tokens": True})
    assert contents.hash_of(other, "0" * 64) == before
    (other / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert "1_Pooling/config.json" in contents.names(other)
    assert contents.hash_of(other, "0" * 64) != before


def test_a_sentence_encoder_may_be_the_predecessor_and_its_pooling_identifies_it(tmp_path, folder):
    source = EncoderSource("tiny", str(folder), None, "0", 4)
    hashes = {}
    for pooling in POOLINGS:
        made = BiEncoder(AutoModel.from_pretrained(folder), pooling)
        made.save_pretrained(tmp_path / pooling)
        hashes[pooling] = check_predecessor(str(tmp_path / pooling), TASK, source)
    assert len({*hashes.values()}) == 3
    assert weights_hash(tmp_path / "cls") != weights_hash(tmp_path / "mean")


def test_a_loaded_encoder_is_wrapped_and_has_the_counts_of_its_parts(tmp_path, folder):
    source = EncoderSource("tiny", str(folder), None, "0", 4)
    loaded = load_pretrained(source, TASK, 0, "sdpa")
    assert isinstance(loaded, BiEncoder)
    plain = AutoModel.from_pretrained(folder)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded.parameters(), plain.parameters(), strict=True))
    shallow = sum(p.numel() for p in Finetune().build(given()).parameters())
    pooler = sum(p.numel() for p in plain.pooler.parameters())
    assert counts(Finetune(), source, source, (TASK.kind, TASK.outputs), 2) == [shallow, shallow, pooler]


def test_an_encoder_without_a_pooler_has_an_empty_head(tokenizer):

    config = DistilBertConfig(vocab_size=len(tiny.WORDS), dim=32, n_heads=2, hidden_dim=64, n_layers=2)
    assert parameters_by_part(BiEncoder(DistilBertModel(config).eval(), "mean"))["head"] == []
