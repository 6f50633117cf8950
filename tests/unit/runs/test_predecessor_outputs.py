"""Cached outputs of a predecessor: of these weights, this data and these settings, or computed again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

from baselines.method import LOGITS, Output
from benchmarks.plans.planner import make_plan
from benchmarks.runs import predecessor_outputs, tensor_cache
from benchmarks.runs.predecessor_outputs import cache_key, kept_outputs, weights_hash
from benchmarks.suites.suite import load_suite
from tests import tiny

WISHES = frozenset({LOGITS, Output("state", 2), Output("state", 3, "all")})
NAMES = sorted(output.name for output in WISHES)


def kept(folder, split, device=tiny.CPU, seed=1):
    return kept_outputs(folder, {"key": 1}, WISHES, split, device, lambda: tiny.bert(4, seed=seed))


@pytest.fixture
def another_process(monkeypatch):
    return lambda: monkeypatch.setattr(tensor_cache, "_verified", {})


@pytest.mark.parametrize("device", [tiny.CPU, tiny.CPU.model_copy(update={"precision": "bfloat16"})], ids=str)
def test_an_honest_cache_passes_in_every_process(tmp_path, another_process, device):
    split = tiny.tokens(200)
    made = kept(tmp_path, split, device)
    for _ in range(10):
        another_process()
        found = kept(tmp_path, split, device)
        assert (found.seconds, found.rebuilt) == (0.0, None)
        assert all(torch.equal(found.arrays[name], made.arrays[name]) for name in NAMES)


@pytest.mark.parametrize("device", [tiny.CPU, tiny.CPU.model_copy(update={"precision": "bfloat16"})], ids=str)
def test_outputs_of_other_weights_or_other_sentences_are_computed_again(tmp_path, another_process, device):
    for folder, before in (("weights", (tiny.tokens(200), 2)), ("sentences", (tiny.tokens(200, seed=9), 1))):
        kept(tmp_path / folder, before[0], device, seed=before[1])
        another_process()
        found = kept(tmp_path / folder, tiny.tokens(200), device)
        assert "differs from the predecessor's own" in found.rebuilt
        fresh = kept(tmp_path / f"{folder}-fresh", tiny.tokens(200), device)
        assert all(torch.equal(found.arrays[name], fresh.arrays[name]) for name in NAMES)


def test_an_honest_cache_of_outputs_per_token_passes_too(tmp_path, another_process):
    """Rows of logits are tokens there: compared by example, a second worker makes the cache again under the first."""
    whole = tiny.tokens(200)
    split = replace(whole, labels=torch.zeros(len(whole.ids), dtype=torch.int64), kind="token-classification")
    torch.manual_seed(1)
    config = BertConfig(**tiny.SHAPE, num_hidden_layers=4, num_labels=3, max_position_embeddings=64)
    tagger = BertForTokenClassification(config).eval()
    for turn in range(6):
        found = kept_outputs(tmp_path, {"key": 1}, WISHES, split, tiny.CPU, lambda: tagger)
        assert found.rebuilt is None
        assert (found.seconds == 0.0) == (turn > 0)
        another_process()


def test_only_what_another_process_left_is_compared(tmp_path, monkeypatch):
    kept(tmp_path, tiny.tokens(40))
    monkeypatch.setattr(predecessor_outputs, "_disagreement", lambda *_: pytest.fail("compared"))
    kept(tmp_path, tiny.tokens(40))


def test_values_that_are_not_finite_or_of_another_width_never_pass():
    split, live = tiny.tokens(40), tiny.bert(4, seed=1)
    nan = {"logits": torch.full((40, 2), float("nan"))}
    wide, logits = {"logits": torch.zeros(40, 3)}, frozenset({LOGITS})
    assert "logits of training example" in predecessor_outputs._disagreement(nan, live, logits, split, tiny.CPU)
    assert "shape [3]" in predecessor_outputs._disagreement(wide, live, logits, split, tiny.CPU)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    suite = tiny.save_suite(folder, tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte"))
    for seed in (1, 2):
        tiny.bert(4, seed=seed).save_pretrained(folder / f"weights-{seed}")
    return suite


def test_the_key_follows_all_that_the_outputs_depend_on(inputs, tmp_path, monkeypatch):
    """Weights, tokens, share held out, device and precision, code, packages: another value is another cache."""
    folder = inputs.parent

    def key(*overrides, weights=1):
        runs = make_plan(load_suite(str(inputs), overrides)).runs
        return cache_key(next(run for run in runs if run.arm == "kd"), folder / f"weights-{weights}")

    base = key()
    shutil.copytree(folder / "glue", tmp_path / "glue")
    tiny.rewrite(tmp_path / "glue" / "rte" / "train.parquet", lambda table: table.take(list(reversed(range(2490)))))
    others = {
        "weights": key(weights=2),
        "tokens": key(f"data.path={tmp_path / 'glue'}"),
        "predecessor": key("predecessor.training.learning_rate=0.5"),
        "held_out": key("held_out=0.1"),
        "device": key("device.precision=bfloat16"),
    }
    monkeypatch.setattr(predecessor_outputs, "hash_of", lambda *modules: "other code")
    monkeypatch.setattr(predecessor_outputs, "packages", lambda names: {"torch": "other"})
    others |= {"code": key(), "packages": key()}
    assert set(others) == set(base), "every field has its case"
    for field, other in others.items():
        assert json.dumps(other[field]) != json.dumps(base[field]), field


def test_replaced_weights_are_seen_by_a_process_that_knew_the_old_ones(inputs, tmp_path):
    shutil.copytree(inputs.parent / "weights-1", tmp_path / "model")
    before = weights_hash(tmp_path / "model")
    assert before == weights_hash(inputs.parent / "weights-1")
    shutil.copy(inputs.parent / "weights-2" / "model.safetensors", tmp_path / "model")
    assert weights_hash(tmp_path / "model") == weights_hash(inputs.parent / "weights-2") != before
