"""The plan's check is the run's: what a run would fail on, or get wrong without a word, is said before it begins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DebertaConfig,
    DebertaModel,
    DebertaV2Config,
    DebertaV2Model,
    GPT2Config,
    GPT2Model,
)

from benchmarks.models.loading import load_pretrained, load_tokenizer
from benchmarks.plans.planner import make_plan
from benchmarks.preflight import token_facts
from benchmarks.preflight.step_probe import _batch
from benchmarks.preflight.token_facts import facts_of
from benchmarks.runs import execute as executing
from benchmarks.runs.execute import execute
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from benchmarks.tasks import kinds
from benchmarks.tasks.data import load_splits
from tests import tiny
from tests.command import cli

BODY = {**tiny.SHAPE, "num_hidden_layers": 4}


def edited(path: Path, **changes: Any) -> None:
    """A JSON file with these keys; None takes a key away."""
    found = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}), encoding="utf-8")


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_glue(tmp_path_factory.mktemp("glue"), "rte", "sst2", "stsb")


@pytest.fixture
def suite(tmp_path: Path, glue: Path) -> Path:
    return tiny.save_suite(tmp_path, tiny.save_encoder(tmp_path / "encoder"), glue)


def refused(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of the error, the last that the command says."""
    capfd.readouterr()
    assert cli(*arguments) == 2
    error = capfd.readouterr().err.strip().splitlines()
    assert [line for line in error if line.startswith("error: ")] == error[-1:]
    assert "Traceback" not in "".join(error)
    return error[-1]


def test_what_the_tokenizer_does_is_one_line_a_task(suite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli("plan", suite, "--set", "task.rte.max_length=9") == 0
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("rte: ")]
    assert said == [
        "rte: [CLS] A [SEP] B [SEP], case kept, segment ids, 0.0% of words unknown, longest example 15 tokens "
        "(cut at 9; the model has 64 positions)"
    ]


def test_a_tokenizer_that_loses_the_segments_of_pairs_is_refused(
    suite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    edited(tmp_path / "encoder" / "tokenizer_config.json", model_input_names=None)
    said = refused(capfd, "plan", suite)
    assert "gives both texts of a pair the same segment" in said
    assert '"token_type_ids" to model_input_names' in said


@pytest.mark.slow
def test_segments_are_not_asked_of_single_sentences_or_of_models_without_them(
    tmp_path: Path, glue: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder = tiny.save_encoder(tmp_path / "encoder")
    edited(encoder / "tokenizer_config.json", model_input_names=None)
    assert cli("plan", tiny.save_suite(tmp_path, encoder, glue, tasks='["sst2"]')) == 0
    BertModel(BertConfig(**BODY, max_position_embeddings=64, type_vocab_size=1)).save_pretrained(encoder)
    assert cli("plan", tiny.save_suite(tmp_path, encoder, glue)) == 0
    assert "no segment ids" in capfd.readouterr().err


def _regex(tokenizer: dict[str, Any]) -> None:
    pattern = {"Regex": "(w+)+$|(.+)+x$"}  # 7 ms for a pair of six words
    tokenizer["pre_tokenizer"] = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def _empty(tokenizer: dict[str, Any]) -> None:
    tokenizer["model"]["vocab"] = {}


def _template(tokenizer: dict[str, Any]) -> None:
    tokenizer["post_processor"]["pair"] += [{"SpecialToken": {"id": "[SEP]", "type_id": 0}}] * 100_000


HOSTILE = [
    (_regex, "stopped after 3 s"),
    (_empty, "Missing [UNK]"),
    (_template, "100,003 special tokens"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "message"), HOSTILE)
def test_a_hostile_tokenizer_is_one_line(
    change: Callable[[dict[str, Any]], None],
    message: str,
    suite: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_facts, "SECONDS", 3 if change is _regex else 60)
    path = tmp_path / "encoder" / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    change(tokenizer)
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    for command in ("plan", "status"):
        said = refused(capfd, command, suite)
        assert "the tokenizer of encoder tiny" in said
        assert message in said


def test_the_first_step_takes_one_batch_of_the_longest_example_and_not_the_split(suite: Path) -> None:
    """A selection of a data set's rows has the table of all rows behind it."""
    run = make_plan(load_suite(str(suite))).runs[0]
    facts = facts_of([run], run.device)[run.task.name, run.tokenizer.hash]
    tokens = _batch(run, facts, run.tokenizer)
    assert len(tokens) == run.training.batch_size < len(load_splits(run.source)[facts.split])
    assert set(tokens.lengths[:-1].tolist()) == {facts.longest}


@pytest.mark.slow
def test_a_model_without_sdpa_is_refused_with_the_setting_that_helps(
    suite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    DebertaModel(DebertaConfig(**BODY, max_position_embeddings=64, type_vocab_size=2)).save_pretrained(
        tmp_path / "encoder"
    )
    said = refused(capfd, "run", suite, "--results", tmp_path / "results")
    assert "rte: the first step of arm predecessor fails" in said
    assert said.endswith('set device.attention = "eager"')
    eager = ("--set", 'device.attention="eager"', "--seeds", "1", "--methods", "theseus", "--workers", "1")
    assert cli("run", suite, "--results", tmp_path / "results", *eager) == 0


@pytest.mark.slow
def test_examples_longer_than_the_model_are_said_and_then_refused_once_and_for_all(
    suite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    BertModel(BertConfig(**BODY, max_position_embeddings=12)).save_pretrained(tmp_path / "encoder")
    assert cli("plan", suite) == 0
    said = capfd.readouterr().err
    assert "warning: rte: " in said
    assert "the first steps of 5 kinds of run were not tried here" in said
    assert "set task.rte.max_length = 12" in refused(capfd, "plan", suite, "--check")
    assert cli("plan", suite, "--check", "--set", "task.rte.max_length=12") == 0
    capfd.readouterr()
    assert cli("plan", suite, "--set", "task.rte.max_length=12") == 0
    assert "not tried here" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_tokenizer_without_a_padding_token_pads_with_its_end_token(
    suite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder = tmp_path / "encoder"
    ids = {"bos_token_id": 4, "eos_token_id": 4}
    GPT2Model(GPT2Config(n_embd=32, n_layer=4, n_head=2, vocab_size=65, n_positions=64, **ids)).save_pretrained(encoder)
    edited(encoder / "tokenizer_config.json", pad_token=None, mask_token=None, eos_token="[MASK]")
    arguments = ("--results", tmp_path / "results", "--seeds", "1", "--methods", "theseus", "--workers", "1")
    assert cli("run", suite, *arguments) == 0
    assert "padded with the end token [MASK]" in capfd.readouterr().err
    (result,) = (tmp_path / "results").glob("rte/theseus/*/result.json")
    assert json.loads(result.read_text())["status"] == "done"
    source = make_plan(load_suite(str(suite))).encoder
    assert load_tokenizer(source).pad_token_id == 4


@pytest.mark.slow
def test_a_model_that_computes_between_its_layers_is_refused_before_anything_trains(
    suite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = DebertaV2Config(**BODY, max_position_embeddings=66, conv_kernel_size=3, conv_act="gelu")
    DebertaV2Model(config).save_pretrained(tmp_path / "encoder")
    settings = ("--set", 'device.attention="eager"', "--set", "keep_successors=true", "--methods", "theseus")
    said = refused(capfd, "run", suite, "--results", tmp_path / "results", *settings)
    assert "does more between its layers than calling one after the other (conv)" in said
    assert not list((tmp_path / "results").glob("rte/*/*/result.json"))


def trained_on_a_fifth(suite: Path, folder: Path) -> Path:
    """A predecessor for STS-B whose head answers the labels divided by five."""
    run = next(run for run in make_plan(load_suite(str(suite), ['tasks=["stsb"]'])).runs)
    rows = load_splits(run.source)["train"]
    tokens = kinds.find(run.task.kind).encode(load_tokenizer(run.encoder), run.task, rows, 64)
    model = load_pretrained(run.encoder, run.task, 0, "sdpa").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for rows in torch.randperm(len(tokens), generator=torch.Generator().manual_seed(0)).split(32):
        inputs, labels = tokens.collate(rows, "cpu")
        torch.nn.functional.mse_loss(model(**inputs).logits[:, 0], labels / 5).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_a_regression_predecessor_on_another_scale_is_refused(
    suite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = trained_on_a_fifth(suite, tmp_path / "given")
    settings = ("--set", 'tasks=["stsb"]', "--set", f"predecessor.paths.stsb={given}", "--seeds", "1")
    said = refused(capfd, "run", suite, "--results", tmp_path / "results", *settings)
    assert f"the predecessor in {given} fails" in said
    assert "lie on another scale" in said
    model = BertForSequenceClassification.from_pretrained(given)
    with torch.no_grad():
        model.classifier.weight.mul_(5)
        model.classifier.bias.mul_(5)
    model.save_pretrained(given)
    assert cli("plan", suite, "--check", *settings) == 0


def test_a_kept_successor_that_answers_otherwise_is_not_done(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_plan(load_suite(str(suite), ["seeds=[1]"])).runs[0]
    Store(tmp_path / "results").open()
    write = executing._write

    def then_another(run: Any, folder: Path, *rest: Any) -> None:
        write(run, folder, *rest)
        tiny.bert(seed=7).save_pretrained(folder / "successor")

    monkeypatch.setattr(executing, "_write", then_another)
    outcome = execute(run, tmp_path / "results")
    assert outcome.status == "failed"
    assert "answers otherwise when it is loaded again" in str(outcome.reason)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "results" / run.folder)
    assert execute(run, tmp_path / "results").status == "done"
