"""From a user's CSV to a report: `new`, then what any suite takes. The encoder is the demo's."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.base.errors import ROOT
from benchmarks.plans.planner import make_plan
from benchmarks.runs.execute import execute
from benchmarks.suites.suite import load_suite
from reports import load_results
from tests.command import cli

ENCODER = ROOT / "benchmarks" / "demo" / "encoder"
LABELS = ["complaint", "praise", "question"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV with quotes and text labels, 300 rows."""
    draw = random.Random(3)
    words = [f"word{i}" for i in range(50)]
    rows = [(f'He said "{" ".join(draw.choices(words, k=6))}", {i}', draw.choice(LABELS)) for i in range(300)]
    pd.DataFrame(rows, columns=["message", "intent"]).to_csv(tmp_path / "mail.csv", index=False)
    return tmp_path / "mail.csv"


@pytest.fixture
def suite(data: Path, tmp_path: Path) -> Path:
    assert cli("new", tmp_path / "mail.toml", "--data", data, "--encoder", ENCODER) == 0
    return tmp_path / "mail.toml"


SMALL = ("--set", "training.max_steps=4", "--set", "predecessor.at_chance=allow", "--set", "seeds=[1, 2]")


def test_a_csv_is_planned_in_two_commands(suite: Path, data: Path, tmp_path: Path, capfd) -> None:
    results = tmp_path / "results"

    def planned(*more: object) -> dict:
        capfd.readouterr()
        assert cli("plan", suite, "--results", results, "--json", *more) == 0
        return json.loads(capfd.readouterr().out)

    plan = planned()
    assert len(plan["runs"]) == 1 + 4 * 3
    assert plan["own_data"]["mail"]["labels"] == LABELS
    assert plan["own_data"]["mail"]["rows"] == {"train": 270, "validation": 30}
    ids = [run["run_id"] for run in plan["runs"]]
    data.rename(tmp_path / "moved.csv")
    assert [run["run_id"] for run in planned("--set", "tasks.mail.train=moved.csv")["runs"]] == ids
    assert cli("plan", suite) == 2
    assert "mail.csv is missing" in capfd.readouterr().err
    text = (tmp_path / "moved.csv").read_text(encoding="utf-8")
    data.write_text(text.replace("word7", "word8"), encoding="utf-8")
    assert not set(ids) & {run["run_id"] for run in planned()["runs"]}


def test_data_that_changes_after_the_plan_is_not_trained_on(suite: Path, tmp_path: Path) -> None:
    (run, *_) = make_plan(load_suite(str(suite))).runs
    assert run.source.folder is not None
    (Path(run.source.folder) / "mail" / "train.parquet").write_bytes(b"another file")
    outcome = execute(run, tmp_path / "results")
    assert outcome.status == "failed"
    assert "the data of mail was changed after this run was planned" in str(outcome.reason)


@pytest.mark.slow
def test_a_csv_becomes_a_report(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert cli("reproduce", suite, "--results", results, *SMALL) == 0
    document = json.loads((results / "suite.json").read_text(encoding="utf-8"))
    own = document["resolved"]["task"]["mail"]["own"]
    assert (own["labels"], own["score"], "train" in own) == (LABELS, "accuracy", False)
    assert document["comparable"] is False
    page = (results / "report" / "report.html").read_text(encoding="utf-8")
    assert "Fine-tuning" in page
    assert "dev is a part of the training data" in page
    scores = load_results(results)
    assert set(scores["arm"]) == {"predecessor", "finetune", "theseus", "kd", "pkd"}
    assert set(scores["status"]) == {"done"}


@pytest.mark.slow
def test_scores_of_pairs_become_a_report(tmp_path: Path) -> None:
    draw = random.Random(5)
    pairs = [[f"one {draw.random()}", f"other {draw.random()}", round(draw.uniform(1, 5), 2)] for _ in range(200)]
    for name, rows in (("train", pairs[:150]), ("dev", pairs[150:])):
        pd.DataFrame(rows, columns=["sentence1", "sentence2", "score"]).to_csv(tmp_path / f"{name}.tsv", sep="\t")
    given = ("--data", tmp_path / "train.tsv", "--dev", tmp_path / "dev.tsv", "--encoder", ENCODER)
    assert cli("new", tmp_path / "pairs.toml", *given) == 0
    results = tmp_path / "results"
    assert cli("run", tmp_path / "pairs.toml", "--results", results, *SMALL) == 0
    assert cli("report", results) == 0
    assert set(load_results(results)["status"]) == {"done"}
