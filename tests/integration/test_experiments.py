"""Experiments beyond the plain comparison: searches, held-out shares, transfer, compressed checkpoints, submissions."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoTokenizer,
)

from baselines import find
from benchmarks.models.loading import load_finetuned, load_tokenizer
from benchmarks.plans.planner import make_plan
from benchmarks.plans.run import Plan, Run
from benchmarks.runs.execute import execute
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.table import find_task
from benchmarks.training.held_out import split_rows
from benchmarks.training.loop import Point
from benchmarks.training.protocols import Evaluations
from tests import tiny
from tests.command import cli
from tests.compare import equal

TEST_ROWS = {"wnli": 146, "rte": 3_000}  # of GLUE's test sets


CHILD = """
extends = "tiny"
name = "experiments"
tasks = ["wnli", "rte"]
seeds = [1]
held_out = 0.1
unequal_budget = true
keep_successors = true
[training]
max_steps = 4
evaluate_every = 2
[arms.searched]
method = "finetune"
title = "Fine-tuning, searched"
grid = {{ "training.learning_rate" = [1e-3, 1e-2] }}
[arms.own]
method = "pretrained"
title = "A checkpoint of its own"
encoder = {{ name = "three layers", path = "{own}", layers = 3, hidden_size = 32 }}
[arms.layerdrop]
method = "layerdrop"
title = "LayerDrop"
[arms.code]
preset = "theseus-code"
options = {{ rate = {{ reach = 2 }} }}
[arms.moved]
preset = "theseus-curriculum"
title = "Compressed on RTE"
intermediate = {{ task = "rte", training = {{ learning_rate = 1e-30 }} }}
"""


def save_test(folder: Path, task: str) -> None:
    """A test split with the official row count and hidden labels."""
    rows = TEST_ROWS[task]
    column = [f"w{row % 9} w{row % 17} w{row % 23}" for row in range(rows)]
    table = {name: column for name in find_task(task).columns}
    pq.write_table(pa.table({**table, "label": [-1] * rows, "idx": list(range(rows))}), folder / task / "test.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two encoders of different depths, the data of two tasks, and two suites."""
    made = tmp_path_factory.mktemp("inputs")
    encoder, own = tiny.save_encoder(made / "encoder"), tiny.save_encoder(made / "own", layers=3)
    glue = tiny.save_glue(made / "glue", "wnli", "rte")
    for task in TEST_ROWS:
        save_test(glue, task)
    tiny.save_suite(made, encoder, glue)
    (made / "experiments.toml").write_text(CHILD.format(own=own), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def suite(folder: Path) -> Path:
    return folder / "experiments.toml"


@pytest.fixture(scope="module")
def plan(suite: Path) -> Plan:
    return make_plan(load_suite(str(suite)))


@pytest.fixture(scope="module")
def finished(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with every run of the suite."""
    results = tmp_path_factory.mktemp("results") / "experiments"
    assert cli("run", suite, "--results", results, "--workers", "2") == 0
    return results


def run_of(plan: Plan, task: str, arm: str, trial: int = 0) -> Run:
    (run,) = (run for run in plan.runs if (run.task.name, run.arm, run.trial) == (task, arm, trial))
    return run


def result_of(results: Path, run: Run) -> dict[str, Any]:
    return json.loads((results / run.folder / "result.json").read_text(encoding="utf-8"))


def config_of(results: Path, run: Run) -> dict[str, Any]:
    return json.loads((results / run.folder / "config.json").read_text(encoding="utf-8"))


def weights_of(results: Path, run: Run) -> dict[str, torch.Tensor]:
    return load_file(results / run.folder / "successor" / "model.safetensors")


def weights_in(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in weights.items() if name.startswith(prefix)}


# a suite with a search, a held-out share, a checkpoint of its own, LayerDrop, a preset and a transfer


def test_every_kind_of_run_is_done(plan: Plan, finished: Path) -> None:
    assert len(plan.runs) == 2 * (1 + 2 + 4)  # tasks x (predecessor + two trials + four arms)
    depths = {"predecessor": 4, "own": 3, "layerdrop": 2, "searched": 2, "code": 2, "moved": 2}
    for run in plan.runs:
        result = result_of(finished, run)
        assert result["status"] == "done", (run.folder, result)
        assert result["layers"] == depths[run.arm]
        saved = json.loads((finished / run.folder / "successor" / "config.json").read_text(encoding="utf-8"))
        assert saved["num_hidden_layers"] == depths[run.arm]


def test_every_result_has_three_checkpoints_with_their_held_out_scores(plan: Plan, finished: Path) -> None:
    for run in plan.runs:
        result = result_of(finished, run)
        lines = [json.loads(line) for line in (finished / run.folder / "metrics.jsonl").open(encoding="utf-8")]
        assert [line["step"] for line in lines] == [2, 4]
        by_step = {line["step"]: line for line in lines}
        for protocol in ("last", "selected", "held_out"):
            kept = result[protocol]
            assert 0.0 <= kept["held_out_score"] <= 100.0
            assert kept["held_out_score"] == by_step[kept["step"]]["held_out_score"]
            assert kept["score"] == by_step[kept["step"]]["score"]
        assert result["last"]["step"] == 4
        assert result["selected"]["score"] == max(line["score"] for line in lines)
        assert result["held_out"]["held_out_score"] == max(line["held_out_score"] for line in lines)


def test_the_predictions_hold_all_three_checkpoints(plan: Plan, finished: Path) -> None:
    for run in plan.runs:
        stored = pd.read_parquet(finished / run.folder / "predictions.parquet")
        assert set(stored.checkpoint) == {"last", "selected", "held_out"}
        assert len(stored) == 3 * {"wnli": 71, "rte": 277}[run.task.name]
        result = result_of(finished, run)
        for protocol, rows in stored.groupby("checkpoint"):
            assert result[protocol]["score"] == pytest.approx(100 * (rows.label == rows.prediction).mean())


def test_the_held_out_score_is_that_of_the_held_out_training_rows(folder: Path, plan: Plan, finished: Path) -> None:
    """Read again from the parquet file with the saved weights, by transformers alone."""
    run = run_of(plan, "wnli", "layerdrop")
    _, rows = split_rows(635, 0.1)
    assert len(rows) == 64  # of 635
    table = pq.read_table(folder / "glue" / "wnli" / "train.parquet").take(rows.tolist())
    tokenizer = AutoTokenizer.from_pretrained(folder / "encoder")
    model = load_finetuned(finished / run.folder / "successor", "sdpa")
    inputs = tokenizer(
        table["sentence1"].to_pylist(), table["sentence2"].to_pylist(), padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        predicted = model(**inputs).logits.argmax(dim=1).numpy()
    expected = 100 * (predicted == np.asarray(table["label"].to_pylist())).mean()
    assert result_of(finished, run)["last"]["held_out_score"] == pytest.approx(expected, abs=100 / 64 + 1e-9)


def test_what_is_held_out_is_not_trained_on(plan: Plan, finished: Path) -> None:
    run = run_of(plan, "wnli", "own")
    assert run.steps == 4
    assert config_of(finished, run)["data"]["held_out"] == 0.1
    assert result_of(finished, run)["epochs"] == pytest.approx(4 / math.ceil((635 - 64) / 32))


def test_each_trial_of_a_search_has_its_own_folder_and_learning_rate(plan: Plan, finished: Path) -> None:
    trials = [run_of(plan, "rte", "searched", trial) for trial in (0, 1)]
    rates = [config_of(finished, run)["training"]["learning_rate"] for run in trials]
    assert rates == [1e-3, 1e-2]
    first, second = (weights_of(finished, run) for run in trials)
    assert not equal(first, second)
    listed = json.loads((finished / "suite.json").read_text(encoding="utf-8"))
    shown = {one["run_id"]: one["trial"] for one in listed["runs"]}
    assert [shown[run.id] for run in trials] == [0, 1]
    assert listed["held_out"] == 0.1
    assert listed["unequal_budget"]


def test_an_arm_with_a_checkpoint_of_its_own_starts_from_it(plan: Plan, finished: Path) -> None:
    run = run_of(plan, "rte", "own")
    config = config_of(finished, run)
    assert config["encoder"]["name"] == "three layers"
    assert config["encoder"]["hash"] != config_of(finished, run_of(plan, "rte", "predecessor"))["encoder"]["hash"]
    assert config["predecessor"] is None
    saved = weights_of(finished, run)
    whole = sum(value.numel() for value in saved.values())
    result = result_of(finished, run)
    assert (result["parameters"], result["trainable_parameters"]) == (whole, whole)


def test_the_preset_of_the_released_code_runs_with_all_its_switches(plan: Plan, finished: Path) -> None:
    run = run_of(plan, "rte", "code")
    options = config_of(finished, run)["options"]
    assert (options["clip"], options["undrawn"], options["draw"]) == ("all", "momentum", "forward")
    assert (options["rate"]["base"], options["rate"]["reach"]) == (0.3, 2)
    predecessor = weights_of(finished, run_of(plan, "rte", "predecessor"))
    mine = weights_of(finished, run)
    for prefix in ("bert.embeddings.", "bert.pooler.", "classifier."):
        assert equal(weights_in(mine, prefix), weights_in(predecessor, prefix))  # frozen, though it has gradients
    assert not equal(weights_in(mine, "bert.encoder.layer.0."), weights_in(predecessor, "bert.encoder.layer.0."))
    layer = sum(value.numel() for value in weights_in(predecessor, "bert.encoder.layer.0.").values())
    assert result_of(finished, run)["trainable_parameters"] == 2 * layer


def test_a_transfer_run_starts_from_the_other_tasks_successor(plan: Plan, finished: Path) -> None:
    """At a learning rate of 1e-30 nothing moves: the body is still the successor's of RTE, under a head of its own."""
    compressed, moved = run_of(plan, "rte", "moved"), run_of(plan, "wnli", "moved")
    config = config_of(finished, moved)
    assert config["start"] == compressed.id
    assert (config["method"], config["predecessor"]) == ("pretrained", None)
    assert config_of(finished, compressed)["start"] is None
    assert config_of(finished, compressed)["method"] == "theseus"
    first, second = weights_of(finished, compressed), weights_of(finished, moved)
    assert equal(weights_in(first, "bert."), weights_in(second, "bert."))
    assert not equal(weights_in(first, "classifier."), weights_in(second, "classifier."))
    assert result_of(finished, moved)["trainable_parameters"] == result_of(finished, moved)["parameters"]


def test_the_search_and_the_checkpoints_are_in_the_report_and_the_export(finished: Path, tmp_path: Path) -> None:
    assert cli("report", finished, "--output", tmp_path / "report") == 0
    assert cli("export", finished, "--output", tmp_path / "table.csv") == 0
    table = pd.read_csv(tmp_path / "table.csv")
    assert set(table.protocol) == {"last", "selected", "held_out"}
    assert len(table) == 14 * 3  # runs x protocols, one metric each


# test predictions


def lines_of(archive: Path, name: str) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        return opened.read(name).decode("ascii").split("\n")


@pytest.mark.parametrize("arm", ["own", "code"])
def test_submit_writes_the_zip_with_the_kept_successors_predictions(
    folder: Path, suite: Path, plan: Plan, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], arm: str
) -> None:
    archive = tmp_path / "submission.zip"
    assert cli("submit", suite, "--results", finished, "--methods", arm, "--seeds", "1", "--output", archive) == 0
    said = capfd.readouterr()
    assert said.out.strip() == str(archive)
    with zipfile.ZipFile(archive) as opened:
        names = set(opened.namelist())
    assert len(names) == 11
    filled = {line.partition(":")[0] for line in said.err.splitlines() if "filled with" in line}
    assert filled == names - {"WNLI.tsv", "RTE.tsv"}
    words = {"wnli": ("0", "1"), "rte": ("entailment", "not_entailment")}
    for task, rows in TEST_ROWS.items():
        lines = lines_of(archive, {"wnli": "WNLI.tsv", "rte": "RTE.tsv"}[task])
        assert lines[0] == "index\tprediction"
        assert len(lines) == rows + 2  # a header before and an end of line behind
        model = load_finetuned(finished / run_of(plan, task, arm).folder / "successor", "sdpa")
        tokenizer = AutoTokenizer.from_pretrained(folder / "encoder")
        texts = pq.read_table(folder / "glue" / task / "test.parquet")
        pairs = [texts[column].to_pylist()[:100] for column in find_task(task).columns]
        with torch.inference_mode():
            predicted = model(**tokenizer(*pairs, padding=True, return_tensors="pt")).logits.argmax(dim=1)
        assert lines[1:101] == [f"{row}\t{words[task][int(kind)]}" for row, kind in enumerate(predicted)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "searched"), "has 2 runs of that arm and seed: a search is submitted one trial at a time"),
        (("--methods", "predecessor", "--seeds", "2"), "no seed '2'"),
        (("--methods", "none"), "no method 'none'"),
    ],
)
def test_submit_refuses_what_is_not_one_successor_per_task(
    suite: Path, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...],
    message: str,
) -> None:  # fmt: skip
    assert cli("submit", suite, "--results", finished, "--output", tmp_path / "no.zip", *arguments) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "no.zip").exists()


def test_submit_asks_for_successors_that_were_not_kept(
    suite: Path, plan: Plan, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "results"
    shutil.copytree(finished, copied)
    shutil.rmtree(copied / run_of(plan, "rte", "own").folder / "successor")
    assert cli("submit", suite, "--results", copied, "--methods", "own", "--output", tmp_path / "no.zip") == 2
    assert "has no successor: run it with --set keep_successors=true" in capfd.readouterr().err


# a predecessor that has learned nothing


AT_CHANCE = (
    'predecessor={training={learning_rate=1e-12}, at_chance="stop"}',
    "arms={finetune={method='finetune',title='a'}, kd={method='kd',title='b'}, theseus={method='theseus',title='c'}}",
    "seeds=[1]",
    "training.max_steps=2",
)


@pytest.fixture(scope="module")
def stopped(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, Path]:
    """Exit code, messages and results of a run whose predecessor stays as untrained as it was."""
    results = tmp_path_factory.mktemp("chance")
    settings = [part for override in AT_CHANCE for part in ("--set", override)]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = cli("run", folder / "tiny.toml", "--results", results, "--workers", "2", *settings)
    return code, said.getvalue(), results


def test_a_predecessor_at_chance_stops_what_depends_on_it_and_nothing_else(stopped: tuple[int, str, Path]) -> None:
    code, said, results = stopped
    assert code == 1
    (result,) = (json.loads(path.read_text()) for path in results.glob("rte/predecessor/*/result.json"))
    assert result["status"] == "done"
    assert "no better than a constant answer" in result["last"]["flags"]
    assert {path.name for path in (results / "rte").iterdir()} == {"predecessor", "finetune"}
    for arm in ("theseus", "kd"):
        (line,) = (line for line in said.splitlines() if f"rte {arm} seed 1" in line)
        assert "not started" in line
        assert f"scores {result['last']['score']:.1f} on dev, no better than a constant answer" in line
        assert 'predecessor.at_chance = "allow"' in line


def test_the_next_run_says_the_same_and_a_suite_may_allow_it(folder: Path, stopped: tuple[int, str, Path]) -> None:
    _, _, results = stopped
    strict = make_plan(load_suite(str(folder / "tiny.toml"), AT_CHANCE))
    allowing = make_plan(load_suite(str(folder / "tiny.toml"), [*AT_CHANCE, "predecessor.at_chance=allow"]))
    assert [run.id for run in strict.runs] == [run.id for run in allowing.runs]  # it changes no number
    store = Store(results)
    for run in strict.runs:
        reason = store.cannot_start(run)
        assert (reason is not None) == (run.arm in ("theseus", "kd")), run.arm
        assert store.settled(run) == (reason is None)
    assert all(store.cannot_start(run) is None for run in allowing.runs)


# which checkpoint the held-out share chooses


def constant_model(word: int) -> nn.Module:
    """Answers `word` whatever it is asked."""
    model = tiny.bert(layers=2)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([1.0, 0.0] if word == 0 else [0.0, 1.0]))
    return model


def evaluations(task: str) -> Evaluations:
    dev = {"validation": tiny.tokens(40)}
    return Evaluations(find_task(task), tiny.CPU, find("finetune")(), dev, tiny.tokens(40, seed=1))


def held_out_score(model: nn.Module) -> float:
    made = evaluations("cola")
    made.add(model, Point(1, 1.0, None, 0.0, None))
    return float(made.reported()[2].held_out_score)


def test_of_equal_checkpoints_the_held_out_share_chooses_the_first_and_never_a_worse_one(folder: Path) -> None:
    """CoLA's Matthews correlation is 0 for a constant answer, and below 0 for a model that is worse than that."""
    worse = next(
        model for model in (tiny.bert(layers=2, seed=seed) for seed in range(50))
        if held_out_score(model) < 0
    )  # fmt: skip
    for second in (constant_model(1), worse):
        made = evaluations("cola")
        made.add(constant_model(0), Point(1, 1.0, None, 0.0, None))
        made.add(second, Point(2, 2.0, None, 0.0, None))
        last, selected, held_out = made.reported()
        assert (held_out.step, held_out.held_out_score) == (1, 0.0)
        assert selected.step in (1, 2)
        assert last.step == 2


def test_a_suite_that_reports_the_held_out_checkpoint_hands_it_on(folder: Path, tmp_path: Path) -> None:
    """Executed here, at a learning rate that gets worse: the saved weights predict what was stored as `held_out`."""
    overrides = ["held_out=0.1", "protocol=held_out", "training.max_steps=24", "training.learning_rate=0.02"]
    overrides += ["tasks=['wnli']", "training.evaluate_every=2"]
    plan = make_plan(load_suite(str(folder / "tiny.toml"), overrides))
    run = plan.runs[0]
    store = Store(tmp_path)
    store.open()
    result = execute(run, tmp_path)
    assert result.status == "done"
    assert result.held_out.step < result.last.step, "the test needs a run that gets worse"
    stored = pd.read_parquet(tmp_path / run.folder / "predictions.parquet")
    stored = stored[stored.checkpoint == "held_out"]
    texts = pq.read_table(folder / "glue" / "wnli" / "validation.parquet")
    tokenizer = load_tokenizer(run.tokenizer)
    inputs = tokenizer(*(texts[name].to_pylist() for name in run.task.columns), padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = load_finetuned(tmp_path / run.folder / "successor", "sdpa")(**inputs).logits
    assert torch.allclose(logits, torch.tensor(np.stack(stored.logits.to_list())), atol=1e-4)
