"""A user's questions with answers, and pairs with scores: what is read, found and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from benchmarks.base.errors import SuiteError
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.data import TRAIN, load_splits
from benchmarks.tasks.own.files import read_file
from benchmarks.tasks.own.source import own_source
from benchmarks.tasks.settings import OwnData
from tests import tiny

CONTEXT = "Ada lived in London."
ASKED: list[tuple[str, Any]] = [
    ("Where?", [{"text": "London", "answer_start": 13}]),
    ("Who?", [{"text": "Ada", "answer_start": 0}, {"text": "Ada", "answer_start": 0}]),
    ("When?", []),
    ("Who lived?", [{"text": "Ada", "answer_start": 0}]),
]
SQUAD = {
    "version": "x",
    "data": [
        {"title": "t", "paragraphs": [{"context": CONTEXT, "qas": [{"id": str(i), "question": q, "answers": a}]}]}
        for i, (q, a) in enumerate(ASKED)
    ],
}


def own(path: Path, **settings: Any) -> OwnData:
    wanted: dict[str, Any] = {"columns": ["question", "context"], "label": "answers", "dev_share": 0.5}
    return OwnData(kind="question-answering", train=str(path), **{**wanted, **settings})


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("mark", ["", "\ufeff", "  "])
def test_a_file_of_squads_form_is_read_however_it_is_written(tmp_path: Path, indent: int | None, mark: str) -> None:
    path = tmp_path / "squad.json"
    path.write_text(mark + json.dumps(SQUAD, indent=indent), encoding="utf-8")
    rows = read_file(path, path.name)
    assert rows.columns["question"] == [q for q, _ in ASKED]
    assert rows.at(1) == "squad.json: question 2"
    source = own_source("qa", own(path))
    found = {
        row["question"]: (row["label"], row["start"])
        for split in load_splits(source).values()
        for row in split.to_list()
    }
    assert found["Who?"] == (["Ada", "Ada"], [0, 0])
    assert found["When?"] == ([], [])
    assert (source.task.score, source.task.kind) == ("span_f1", "question-answering")


def test_json_lines_with_the_hubs_answers_are_the_same_data(tmp_path: Path) -> None:
    (tmp_path / "squad.json").write_text(json.dumps(SQUAD), encoding="utf-8")
    lines = [
        {"paragraphs": 3, "question": q, "context": CONTEXT,
         "answers": {"text": [one["text"] for one in a], "answer_start": [one["answer_start"] for one in a]}}
        for q, a in ASKED
    ]  # fmt: skip
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    one, other = (own_source("qa", own(tmp_path / name)) for name in ("squad.json", "lines.json"))
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([{"text": "Paris", "answer_start": 13}], "at character 13 its context has 'Londo', not the answer 'Paris'"),
        ([{"text": "London", "answer_start": "13"}], "column 'answers' has .*, not answers: write"),
        ([{"text": "London"}], "not answers: write"),
        ("London", "column 'answers' has 'London', not answers"),
        ([{"text": " ", "answer_start": 3}], "has an empty answer"),
    ],
)
def test_what_is_not_an_answer_is_one_line_that_says_where(tmp_path: Path, answers: Any, message: str) -> None:
    rows = [{"question": "Where?", "context": CONTEXT, "answers": found} for found in ([], answers, [], [])]
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(SuiteError, match=r"qa: qa.jsonl: line 2") as caught:
        own_source("qa", own(tmp_path / "qa.jsonl"))
    assert caught.match(message)


@pytest.mark.parametrize("settings", [{"columns": ["context"]}, {"score": "accuracy"}, {"labels": ["a", "b"]}])
def test_settings_of_another_kind_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        own(Path("qa.json"), **settings)


@pytest.mark.parametrize("more", ['kind = "question-answering"', 'kind = "classification"\ngroup = "context"'])
def test_rows_that_cannot_be_held_out_as_dev_is_are_refused(tmp_path: Path, more: str) -> None:
    suite = tiny.save_suite(tmp_path, tmp_path, tmp_path)
    table = f'[tasks.qa]\n{more}\ntrain = "qa.json"\ncolumns = ["question", "context"]\nlabel = "answers"\n'
    text = suite.read_text().replace('tasks = ["rte"]\n', "").replace("[comparison]", f"{table}[comparison]")
    suite.write_text(text)
    load_suite(str(suite))
    with pytest.raises(SuiteError, match="set held_out = 0"):
        load_suite(str(suite), ["held_out=0.1"])


def pairs(path: Path, scores: list[float], **settings: Any) -> OwnData:
    rows = [{"a": f"w{i}", "b": "w1", "score": score} for i, score in enumerate(scores)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    wanted: dict[str, Any] = {"columns": ["a", "b"], "label": "score"}
    return OwnData(kind="sentence-embeddings", train=str(path), **{**wanted, **settings})


def test_scores_that_single_precision_rounds_fit_their_own_scale(tmp_path: Path) -> None:
    source = own_source("sts", pairs(tmp_path / "p.jsonl", [0.2, 0.7, 4.8, 1.0, 2.0, 3.0, 4.1, 0.9]))
    assert source.task.scale == (0.2, 4.8)
    assert len(load_splits(source)[TRAIN]) == 6


def test_a_dev_score_outside_those_of_training_asks_for_the_scale(tmp_path: Path) -> None:
    dev = pairs(tmp_path / "dev.jsonl", [1.0, 5.0])
    train = pairs(tmp_path / "p.jsonl", [0.0, 4.0, 2.0], dev=dev.train)
    with pytest.raises(SuiteError, match=r"sts: dev.jsonl: line 2: score 5 lies outside .*, 0 to 4: set scale"):
        own_source("sts", train)
    assert own_source("sts", train.model_copy(update={"scale": [0, 5]})).task.scale == (0, 5)
