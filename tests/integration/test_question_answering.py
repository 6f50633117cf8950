"""A suite of questions from its rows to its bundle: every step of a run for examples that are windows of a row."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.tasks.table import TASKS
from tests import tiny
from tests.command import cli
from tests.questions import TASK, rows

pytestmark = pytest.mark.slow
COUNTS = {"train": 60, "validation": 25}


def write(folder: Path) -> None:
    """Questions whose first word is that of the answer; a fourth has none."""
    source = random.Random(1)
    for split, count in COUNTS.items():
        given = []
        for number in range(count):
            words = source.choices(tiny.WORDS[5:], k=source.randint(3, 60))
            at = source.randrange(len(words))
            given.append((f"{words[at]} w1", " ".join(words), [" ".join(words[at : at + 2])] if number % 4 else []))
        rows(*given).to_parquet(folder / f"{split}.parquet")


@pytest.fixture
def suite(tmp_path, monkeypatch) -> Path:
    dev = {"validation": COUNTS["validation"]}
    monkeypatch.setitem(TASKS, "qa", replace(TASK, train_rows=COUNTS["train"], dev=dev, max_length=32))
    (tmp_path / "data" / "qa").mkdir(parents=True)
    write(tmp_path / "data" / "qa")
    path = tiny.save_suite(tmp_path, tiny.save_encoder(tmp_path / "encoder"), tmp_path / "data", '["qa"]')
    extra = "keep_successors = true\nheld_out = 0.2\nseeds = [1, 2]"
    path.write_text(path.read_text().replace("seeds = [1, 2]", extra))
    return path


def test_questions_run_and_their_predecessor_can_be_given(suite, tmp_path, capsys):
    results = tmp_path / "results"
    arms = ("--methods", "predecessor,kd,pkd,theseus", "--seeds", "1")
    assert cli("run", suite, "--results", results, "--workers", "1", *arms) == 0
    outcomes = [json.loads(path.read_text()) for path in results.rglob("result.json")]
    assert [outcome["status"] for outcome in outcomes] == ["done"] * 4
    assert all(set(outcome["last"]["metrics"]) == {"span_f1", "exact_match"} for outcome in outcomes)
    for path in results.rglob("predictions.parquet"):
        assert pd.read_parquet(path).groupby("checkpoint").idx.nunique().to_list() == [COUNTS["validation"]] * 3
    assert cli("bundle", results, "--output", tmp_path / "bundle.zip") == 0  # its files agree with each other
    assert cli("export", results, "--output", tmp_path / "table.csv") == 0
    assert set(pd.read_csv(tmp_path / "table.csv").metric) == {"span_f1", "exact_match"}
    assert cli("report", results, "--output", tmp_path / "report") == 0
    timed = 'speed={batch_sizes=[2], lengths=[8, "dev"], min_rounds=5, max_rounds=6, variants=["eager", "onnx"]}'
    assert cli("speed", suite, "--results", results, "--set", timed) == 0
    speed = json.loads((results / "speed.json").read_text())
    assert (len(speed["conditions"]), speed["refused"]) == (4, [])
    (given,) = results.glob("qa/predecessor/*/successor")
    for folder, code in ((given, 0), (tmp_path / "encoder", 2)):
        paths = f'predecessor={{at_chance="allow", paths={{qa="{folder}"}}}}'
        assert cli("plan", suite, "--check", "--set", "held_out=0", "--set", paths) == code
    assert "was saved as BertModel: give a fine-tuned model of class ...ForQuestionAnswering" in capsys.readouterr().err
