"""A user's sentences with a label a word: what is read, found and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from benchmarks.base.errors import SuiteError
from benchmarks.suites.file import read_suite
from benchmarks.tasks.data import TRAIN, load_splits
from benchmarks.tasks.own.source import own_source
from benchmarks.tasks.own.summary import summary
from benchmarks.tasks.settings import OwnData
from results.format import layout, limits
from tests import tiny

Rows = list[dict[str, Any]]
SENTENCES: Rows = [
    {"tokens": ["Ada", "Lovelace", "lived", "in", "London"], "tags": ["B-per", "I-per", "O", "O", "B-loc"]},
    {"tokens": ["Nobody", "came"], "tags": ["O", "O"]},
] * 3


def written(folder: Path, rows: Rows, name: str = "train.jsonl") -> OwnData:
    (folder / name).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return OwnData(
        kind="token-classification", train=str(folder / name), columns=["tokens"], label="tags", dev_share=0.4
    )


def test_tags_of_entities_are_scored_as_entities_and_o_comes_first(tmp_path: Path) -> None:
    source = own_source("ner", written(tmp_path, SENTENCES))
    assert source.task.labels == ("O", "B-loc", "B-per", "I-per")
    assert (source.task.score, source.task.kind) == ("entity_f1", "token-classification")
    train = load_splits(source)[TRAIN]
    assert train.data["tokens"].to_pylist()[0] == SENTENCES[0]["tokens"]
    assert train.data["label"].to_pylist()[0] == [2, 3, 0, 0, 1]
    assert source.facts is not None
    assert source.facts.rows == {"train": 4, "validation": 2}
    assert "O 8" in summary(source)


def test_other_tags_are_scored_word_by_word(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b"], "tags": ["DET", "NOUN"]}] * 6
    assert own_source("pos", written(tmp_path, rows)).task.score == "token_accuracy"


def test_ids_need_the_names_of_their_classes(tmp_path: Path) -> None:
    rows = [{"tokens": ["a", "b"], "tags": [0, 1]}, {"tokens": ["c"], "tags": [1]}] * 3
    own = written(tmp_path, rows).model_copy(update={"labels": ["O", "B-x"]})
    source = own_source("ner", own)
    assert source.task.labels == ("O", "B-x")
    assert sorted(map(len, load_splits(source)[TRAIN].data["label"].to_pylist())) in (
        [1, 1, 2, 2],
        [1, 2, 2, 2],
        [1, 1, 1, 2],
    )


def test_parquet_lists_are_read(tmp_path: Path) -> None:
    table = pa.table({key: [row[key] for row in SENTENCES] for key in ("tokens", "tags")})
    pq.write_table(table, tmp_path / "train.parquet")
    own = written(tmp_path, SENTENCES).model_copy(update={"train": str(tmp_path / "train.parquet")})
    assert own_source("ner", own).task.labels == own_source("ner", written(tmp_path, SENTENCES)).task.labels


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": "Ada lived", "tags": ["O", "O"]}, "line 3: column 'tokens' has 'Ada lived', not a list: write"),
        ({"tokens": ["Ada"], "tags": "O"}, "line 3: column 'tags' has 'O', not a list"),
        ({"tokens": ["Ada", "lived"], "tags": ["O"]}, "line 3: 2 words in 'tokens' and 1 labels"),
        ({"tokens": [], "tags": []}, "line 3: column 'tags' is an empty list: remove the row"),
        ({"tokens": ["Ada", None], "tags": ["O", "O"]}, "line 3: column 'tokens' has '', which is not text"),
        ({"tokens": ["Ada", 3], "tags": ["O", "O"]}, "line 3: column 'tokens' has '3', which is not text"),
        ({"tokens": ["Ada"]}, "line 3: column 'tags' has '', not a list"),
    ],
)  # fmt: skip
def test_what_is_not_words_with_labels_is_one_line_that_says_where(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(SuiteError, match="ner: ") as caught:
        own_source("ner", written(tmp_path, [*SENTENCES[:2], row, *SENTENCES]))
    assert message in str(caught.value)


def test_a_label_that_the_suite_does_not_name_is_refused(tmp_path: Path) -> None:
    own = written(tmp_path, SENTENCES).model_copy(update={"labels": ["O", "B-per", "I-per"]})
    with pytest.raises(SuiteError, match="line 1: label 'B-loc' is not one of O, B-per, I-per"):
        own_source("ner", own)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score": "accuracy"}, "score = accuracy is not of words: take entity_f1 or token_accuracy"),
        ({"columns": ["tokens", "more"]}, "takes one column with the list of words"),
        ({"scale": [0, 1]}, "no scale"),
    ],
)
def test_settings_of_another_kind_are_refused(settings: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"kind": "token-classification", "train": "t.jsonl", "columns": ["tokens"], **settings}
    with pytest.raises(ValidationError, match=message):
        OwnData(**given)


def test_a_path_may_begin_with_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = tiny.save_suite(tmp_path, tmp_path, tmp_path)
    table = '[tasks.ner]\nkind = "token-classification"\ntrain = "$MY_DATA/train.jsonl"\ncolumns = ["tokens"]\n'
    suite.write_text(suite.read_text().replace('tasks = ["rte"]\n', "").replace("[comparison]", f"{table}[comparison]"))
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    assert read_suite(suite)["task"]["ner"]["own"]["train"] == str(tmp_path / "train.jsonl")
    monkeypatch.delenv("MY_DATA")
    own = OwnData(**read_suite(suite)["task"]["ner"]["own"])
    with pytest.raises(SuiteError, match=r"ner: \$MY_DATA/train.jsonl: set MY_DATA to the folder that holds it"):
        own_source("ner", own)


@pytest.mark.parametrize("tag", [None, True, 0.5, "", "\ud83d"])
def test_a_label_that_is_missing_or_not_a_name_is_not_a_class(tmp_path: Path, tag: Any) -> None:
    rows = [*SENTENCES, {"tokens": ["Ada", "lived"], "tags": ["O", tag]}]
    with pytest.raises(SuiteError, match=r"line 7: column 'tags' has .*, but a label is text or a whole number"):
        own_source("ner", written(tmp_path, rows))


def test_half_of_a_surrogate_pair_is_not_a_word(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"line 7: column 'tokens' has .*, which is not text"):
        own_source("ner", written(tmp_path, [*SENTENCES, {"tokens": ["\ud83d"], "tags": ["O"]}]))


def test_a_dev_split_whose_predictions_no_report_would_read_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(limits.FILES, layout.PREDICTIONS, 300)
    with pytest.raises(SuiteError, match=r"a model gives about .* numbers for the 3 rows of dev, and 20 is the limit"):
        own_source("ner", written(tmp_path, [*SENTENCES, {"tokens": ["another", "conversion"], "tags": ["O", "O"]}]))
