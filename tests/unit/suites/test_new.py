"""`new` and `check-data`: a suite file from a data file and an encoder, and what is said about the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.base.errors import ROOT
from benchmarks.suites.new import Wanted, half_of, new_suite
from benchmarks.suites.suite import Suite, load_suite
from results.format.errors import UserError
from tests.command import cli

ENCODER = ROOT / "benchmarks" / "demo" / "encoder"


def csv(header: str, *columns: list[Any]) -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]) + "\n"


TEXTS = [f"text number {i}" for i in range(60)]
CLASSES = ["ham", "spam"] * 30
FILES = {
    "usual": csv("text,label", TEXTS, CLASSES),
    "pair": csv("id,premise,hypothesis,label", list(range(60)), TEXTS, TEXTS, CLASSES),
    "scores": csv("sentence1,sentence2,score", TEXTS, TEXTS, [i / 4 for i in range(60)]),
    "worded": csv("nr,utt,intent", list(range(60)), TEXTS, CLASSES),
    "two texts": csv("headline,body,label", TEXTS, TEXTS, CLASSES),
    "no label": csv("text,colour,size", TEXTS, CLASSES, CLASSES),
    "numbers": csv("text,label", TEXTS, list(range(60))),
}


def made(folder: Path, form: str, **wanted: Any) -> tuple[Suite, str]:
    data = folder / "data.csv"
    data.write_text(FILES[form], encoding="utf-8")
    said = new_suite(folder / "my.toml", Wanted(data, ENCODER, **wanted))
    return load_suite(str(folder / "my.toml")), said


@pytest.mark.parametrize(
    ("form", "wanted", "columns", "label", "kind"),
    [
        ("usual", {}, ["text"], "label", "classification"),
        ("pair", {}, ["premise", "hypothesis"], "label", "classification"),
        ("pair", {"text": ("premise",)}, ["premise"], "label", "classification"),
        ("scores", {}, ["sentence1", "sentence2"], "score", "regression"),
        ("worded", {}, ["utt"], "intent", "classification"),
        ("two texts", {"text": ("headline", "body")}, ["headline", "body"], "label", "classification"),
        ("no label", {"label": "size"}, ["text"], "size", "classification"),
        ("numbers", {"kind": "regression"}, ["text"], "label", "regression"),
    ],
)
def test_columns_and_labels_are_found_in_the_file(
    form: str, wanted: Any, columns: list[str], label: str, kind: str, tmp_path: Path
) -> None:
    suite, said = made(tmp_path, form, **wanted)
    own = suite.own("my")
    assert own is not None
    assert (own.columns, own.label, own.kind) == (columns, label, kind)
    assert own.labels == (["ham", "spam"] if kind == "classification" else None)
    assert f"label in {label!r}: {kind}, 54 rows to train and 6 of the same file held out as dev" in said


def test_the_file_plans_a_fair_comparison_and_explains_its_keys(tmp_path: Path) -> None:
    suite, _ = made(tmp_path, "usual")
    lines = (tmp_path / "my.toml").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    inside_an_arm = ("method", "title", "options", "comparable", "reason")
    assert [x for x in lines if " = " in x and " # " not in x and not x.startswith(inside_an_arm)] == []
    assert (suite.encoder.layers, suite.encoder.hidden_size, suite.successor_layers) == (12, 128, 6)
    assert list(suite.arms) == ["finetune", "theseus", "kd", "pkd"]
    assert len({suite.resolve("my", arm).training for arm in suite.arms}) == 1
    assert (suite.seeds, suite.held_out, suite.comparison.comparable) == ([1, 2, 3], 0.1, False)
    assert 'train = "data.csv"' in "\n".join(lines)


@pytest.mark.parametrize(("layers", "half"), [(2, 1), (7, 1), (6, 3), (9, 3), (24, 12)])
def test_the_successor_is_the_largest_divisor_up_to_half(layers: int, half: int) -> None:
    assert half_of(layers) == half


@pytest.mark.parametrize(
    ("form", "wanted", "message"),
    [
        ("two texts", {}, "has the columns headline, body, label: say which one is the text with --text"),
        ("no label", {}, "has the columns text, colour, size: say which one is the label with --label"),
        ("numbers", {}, "60 different whole numbers, which may be classes or scores"),
        ("usual", {"kind": "spans"}, "--kind spans: there are: causal-lm, classification"),
        ("usual", {"text": ("body",)}, "has no column 'body'"),
        ("usual", {"label": "klass"}, "has no column 'klass'"),
        ("usual", {"text": ("text", "label", "x")}, "has no column 'x'"),
        ("usual", {"text": ("label",)}, "must be different columns"),
        ("usual", {"dev": Path("nowhere.csv")}, "is missing or not a plain file"),
    ],
)
def test_what_is_not_clear_is_asked_for(form: str, wanted: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        made(tmp_path, form, **wanted)
    assert message in str(caught.value)
    assert not list(tmp_path.glob("*.toml")) + list(tmp_path.glob(".*.toml"))


def test_nothing_is_written_over_and_no_encoder_is_no_suite(tmp_path: Path) -> None:
    made(tmp_path, "usual")
    with pytest.raises(UserError, match="is there already"):
        made(tmp_path, "usual")
    data = tmp_path / "data.csv"
    for name, encoder, message in (
        ("other.toml", tmp_path, "model.safetensors is missing"),
        ("other.toml", tmp_path / "nowhere", "is not a folder"),
        ("other.txt", ENCODER, "ends in .toml"),
        ("nowhere/other.toml", ENCODER, "there is no folder"),
    ):
        with pytest.raises(UserError, match=message):
            new_suite(tmp_path / name, Wanted(data, encoder))
    assert [path.name for path in tmp_path.glob("*.toml")] == ["my.toml"]


def test_a_name_of_ours_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(FILES["usual"], encoding="utf-8")
    new_suite(tmp_path / "RTE.toml", Wanted(tmp_path / "data.csv", ENCODER))
    suite = load_suite(str(tmp_path / "RTE.toml"))
    assert (suite.name, suite.tasks) == ("rte-own", ["rte-own"])


def test_check_data_says_a_line_for_each_task_or_refuses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "usual")
    suite = tmp_path / "my.toml"
    assert cli("check-data", suite) == 0
    assert capfd.readouterr().out == (
        "my: train 54 rows (ham 26, spam 28); validation 6 rows (ham 4, spam 2); 0 texts of validation are in train "
        f"too; 0 empty texts; from {tmp_path / 'data.csv'}\n"
    )
    assert cli("check-data", suite, "--set", 'tasks=["syn-stsb"]') == 0
    assert "syn-stsb: train 1,424 rows (scores 0" in capfd.readouterr().out
    (tmp_path / "data.csv").write_text(FILES["usual"] + ",ham\n", encoding="utf-8")
    assert cli("check-data", suite) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert error.startswith("error: my: data.csv: line 62: column 'text' is empty")
    assert len(error.splitlines()) == 1


def test_the_command_says_what_it_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.jsonl").write_text(
        "\n".join(json.dumps({"question": text, "topic": label}) for text, label in zip(TEXTS, CLASSES, strict=True)),
        encoding="utf-8",
    )
    given = ("--data", tmp_path / "data.jsonl", "--encoder", ENCODER)
    assert cli("new", tmp_path / "my.toml", *given) == 0
    out, error = capfd.readouterr()
    assert out == f"{tmp_path / 'my.toml'}\n"
    assert "text in 'question', label in 'topic': classification" in error
    assert cli("new", tmp_path / "my.toml", *given) == 2
