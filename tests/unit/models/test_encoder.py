"""Weights are what the file says, or the folder is refused: transformers would make up what it does not find."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForQuestionAnswering, BertModel

from benchmarks.base.errors import SuiteError
from benchmarks.models.checks import check_predecessor
from benchmarks.models.encoder import find_encoder
from benchmarks.models.loading import load_finetuned, load_pretrained
from benchmarks.models.settings import Encoder
from benchmarks.tasks.table import find_task
from tests import tiny


def source(folder: Path):
    return find_encoder(Encoder(name="tiny", path=str(folder), layers=4, hidden_size=32))


def renamed(folder: Path, change) -> Path:
    path = folder / "model.safetensors"
    save_file({change(name): value for name, value in load_file(path).items()}, path, {"format": "pt"})
    return folder


def test_an_encoder_under_foreign_names_is_refused_before_anything_runs(tmp_path):
    folder = renamed(tiny.save_encoder(tmp_path / "encoder"), lambda name: f"0.auto_model.{name}")
    with pytest.raises(SuiteError, match=r"lacks \d+ of the model's weights"):
        source(folder)


def test_an_encoder_that_lacks_one_tensor_is_refused(tmp_path):
    folder = tiny.save_encoder(tmp_path / "encoder")
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.layer.2.output.dense.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(SuiteError, match=r"lacks 1 of .*encoder\.layer\.2\.output\.dense\.weight"):
        source(folder)


def test_a_missing_pooler_belongs_to_the_head_and_is_made_by_the_seed(tmp_path):
    torch.manual_seed(0)
    folder = tiny.save_encoder(tmp_path / "encoder")
    path = folder / "model.safetensors"
    save_file({n: v for n, v in load_file(path).items() if not n.startswith("pooler.")}, path, {"format": "pt"})
    one, two, other = (load_pretrained(source(folder), find_task("rte"), seed, "eager") for seed in (1, 1, 2))
    assert torch.equal(one.bert.pooler.dense.weight, two.bert.pooler.dense.weight)
    assert not torch.equal(one.bert.pooler.dense.weight, other.bert.pooler.dense.weight)


@pytest.mark.parametrize("registered", ["XLMRoberta", "Camembert"])
def test_a_model_that_registers_its_classifier_first_is_an_encoder_too(registered, tmp_path):
    folder = tiny.save_encoder(tmp_path / "encoder")
    config = getattr(transformers, f"{registered}Config")(
        **tiny.SHAPE, num_hidden_layers=4, max_position_embeddings=64, pad_token_id=0
    )
    saved = getattr(transformers, f"{registered}ForSequenceClassification")(config)
    assert next(iter(saved.named_children()))[0] == "classifier"
    saved.save_pretrained(folder)
    loaded = load_pretrained(source(folder), find_task("rte"), 7, "eager")
    assert torch.equal(
        loaded.roberta.encoder.layer[3].output.dense.weight, saved.roberta.encoder.layer[3].output.dense.weight
    )
    assert not torch.equal(loaded.classifier.dense.weight, saved.classifier.dense.weight)


def test_a_head_saved_with_the_encoder_is_left_behind_even_where_it_fits(tmp_path):
    folder = tiny.save_encoder(tmp_path / "encoder")
    headless = load_pretrained(source(folder), find_task("rte"), 7, "eager")
    headless.save_pretrained(tmp_path / "saved")
    with torch.no_grad():
        headless.classifier.weight.zero_()
    headless.save_pretrained(folder)
    again = load_pretrained(source(folder), find_task("rte"), 7, "eager")
    assert again.classifier.weight.abs().sum() > 0
    assert torch.equal(again.bert.embeddings.word_embeddings.weight, headless.bert.embeddings.word_embeddings.weight)


@pytest.mark.parametrize("kind", [BertForQuestionAnswering, BertModel])
def test_a_predecessor_saved_without_a_classifier_is_refused(tmp_path, kind):
    """The public QNLI model that was compressed from a SQuAD checkpoint had such a head (docs/fidelity.md, trap 13)."""
    encoder = source(tiny.save_encoder(tmp_path / "encoder"))
    kind(BertConfig(**tiny.SHAPE, num_hidden_layers=4, max_position_embeddings=64)).save_pretrained(tmp_path / "given")
    with pytest.raises(SuiteError, match="give a fine-tuned classifier"):
        check_predecessor(str(tmp_path / "given"), find_task("rte"), encoder)


def test_a_predecessors_label_names_are_compared_without_case(tmp_path):
    encoder = source(tiny.save_encoder(tmp_path / "encoder"))
    model = tiny.bert(4, 2)
    model.config.id2label = {0: "ENTAILMENT", 1: "Not_Entailment"}
    model.save_pretrained(tmp_path / "given")
    assert len(check_predecessor(str(tmp_path / "given"), find_task("rte"), encoder)) == 64


def test_a_predecessor_whose_classifier_is_not_in_the_file_is_refused(tmp_path):
    encoder = source(tiny.save_encoder(tmp_path / "encoder"))
    tiny.bert(4, 2).save_pretrained(tmp_path / "given")
    path = tmp_path / "given" / "model.safetensors"
    save_file({n: v for n, v in load_file(path).items() if not n.startswith("classifier.")}, path, {"format": "pt"})
    with pytest.raises(SuiteError, match=re.escape("lacks 2 of the model's weights")):
        check_predecessor(str(tmp_path / "given"), find_task("rte"), encoder)
    with pytest.raises(SuiteError, match=r"classifier\.bias"):
        load_finetuned(tmp_path / "given", "eager")


@pytest.mark.parametrize("name", ["pooler.dense.weight", "encoder.layer.1.output.dense.weight"])
def test_a_weight_of_another_shape_is_refused_wherever_it_is(name, tmp_path):
    """A pooler may be missing; one that is there is meant to be used."""
    folder = tiny.save_encoder(tmp_path / "encoder")
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file(weights | {name: weights[name][:-1].contiguous()}, path, {"format": "pt"})
    with pytest.raises(SuiteError, match=f"lacks 1 of .*another shape .*{re.escape(name)}"):
        source(folder)
