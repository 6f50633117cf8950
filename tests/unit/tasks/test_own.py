"""A user's own files: what is read, what becomes of the labels, which rows are dev, and what is refused where."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from benchmarks.base.errors import SuiteError
from benchmarks.tasks.data import Source, check_splits, load_splits
from benchmarks.tasks.own.source import own_source
from benchmarks.tasks.own.summary import summary
from benchmarks.tasks.settings import OwnData
from results.format.errors import UserError

ROWS = [(f"a text, number {i}", ("spam", "ham", "eggs")[i % 3]) for i in range(40)]


def csv(rows: list[tuple[str, Any]], header: str = "text,label") -> str:
    return "\n".join([header, *(f'"{text}",{label}' for text, label in rows)]) + "\n"


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., Source]:
    """The source of a training file with that content, and of a dev file if one is given."""

    def source(
        train: str | bytes, dev: str | bytes | None = None, suffix: str = ".csv", name: str = "own", **settings: Any
    ) -> Source:
        places = {}
        for split, content in (("train", train), ("dev", dev)):
            if content is not None:
                path = tmp_path / f"{split}{suffix}"
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
                places[split] = str(path)
        return own_source(name, OwnData(**{"columns": ["text"], **places, **settings}))

    return source


def rows_of(source: Source, split: str) -> list[tuple[str, float]]:
    rows = load_splits(source)[split].data
    return list(zip(rows[source.task.columns[0]].to_pylist(), rows["label"].to_pylist(), strict=True))


def as_parquet(table: pa.Table, folder: Path) -> bytes:
    pq.write_table(table, folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


# What is read


def forms(folder: Path) -> dict[str, tuple[str, bytes]]:
    texts, labels = zip(*ROWS, strict=True)
    table = pa.table({"text": pa.array(texts), "label": pa.array(labels)})
    lines = "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS)
    coded = table.set_column(1, "label", table["label"].dictionary_encode())
    plain = csv(ROWS)
    return {
        "csv": (".csv", plain.encode()),
        "BOM and CRLF": (".CSV", b"\xef\xbb\xbf" + plain.replace("\n", "\r\n").encode()),
        "tsv": (".tsv", "\n".join(["text\tlabel", *(f"{text}\t{label}" for text, label in ROWS)]).encode()),
        "jsonl": (".jsonl", lines.encode()),
        "json": (".json", f"{lines}\n\n".encode()),
        "parquet": (".parquet", as_parquet(table, folder)),
        "dictionary": (".parquet", as_parquet(coded, folder)),
    }


@pytest.mark.parametrize("form", ["csv", "BOM and CRLF", "tsv", "jsonl", "json", "parquet", "dictionary"])
def test_every_format_gives_the_same_data(form: str, tmp_path: Path, found: Callable[..., Source]) -> None:
    suffix, content = forms(tmp_path)[form]
    plain, other = found(csv(ROWS)), found(content, suffix=suffix)
    assert other.fingerprint == plain.fingerprint
    assert other.task == plain.task
    assert sorted(rows_of(other, "train") + rows_of(other, "validation")) == sorted(
        (text, ("eggs", "ham", "spam").index(label)) for text, label in ROWS
    )


def test_quotes_line_breaks_and_long_fields_are_text(found: Callable[..., Source]) -> None:
    odd = ['"He said ""no"", twice"', '"two\nlines"', f'"{"long " * 40_000}"', "NA", "null", "\u2028x"]
    plain = [text for text, _ in ROWS[:10]]
    content = "\n".join(
        ["text,label", *(f'"{text}",{i % 2}' for i, text in enumerate(plain)), *(f"{t},1" for t in odd)]
    )
    source = found(content, csv([("x", 0), ("y", 1)]))
    texts = [text for text, _ in rows_of(source, "train")]
    assert texts == [*plain, 'He said "no", twice', "two\nlines", "long " * 40_000, "NA", "null", "\u2028x"]


def test_names_of_classes_in_a_parquet_file_keep_their_order(tmp_path: Path, found: Callable[..., Source]) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["zero", "one", "aaa"])})
    rows = Dataset.from_dict({"text": [t for t, _ in ROWS], "label": [i % 3 for i in range(40)]}, features=features)
    rows.to_parquet(tmp_path / "x.parquet")
    assert found((tmp_path / "x.parquet").read_bytes(), suffix=".parquet").task.labels == ("zero", "one", "aaa")


# Labels


@pytest.mark.parametrize(
    ("labels", "settings", "kind", "names", "score"),
    [
        (["b", "a"], {}, "classification", ("a", "b"), "accuracy"),
        ([10, 9, 2], {}, "classification", ("2", "9", "10"), "accuracy"),
        (["1.0", "0.0"], {}, "classification", ("0.0", "1.0"), "accuracy"),
        ([0, 1], {"labels": ["no", "yes"]}, "classification", ("no", "yes"), "accuracy"),
        (["yes", "no"], {"labels": ["yes", "no"]}, "classification", ("yes", "no"), "accuracy"),
        (["b", "a"], {"score": "f1_accuracy"}, "classification", ("a", "b"), "f1_accuracy"),
        ([0.5, 1], {}, "regression", (), "pearson_spearman"),
        (range(40), {"kind": "regression"}, "regression", (), "pearson_spearman"),
        (range(40), {"kind": "classification"}, "classification", tuple(map(str, range(40))), "accuracy"),
        ([1, 5], {"scale": [0, 5]}, "regression", (), "pearson_spearman"),
    ],
)  # fmt: skip
def test_the_kind_and_the_classes_are_found(
    labels: Any, settings: Any, kind: str, names: tuple[str, ...], score: str, found: Callable[..., Source]
) -> None:
    given = list(labels)
    source = found(csv([(f"text {i}", given[i % len(given)]) for i in range(80)]), **settings)
    assert source.facts is not None
    assert (source.facts.kind, source.task.labels, source.task.score) == (kind, names, score)
    assert source.task.regression == (kind == "regression")


def test_true_and_false_are_classes(found: Callable[..., Source]) -> None:
    lines = "\n".join(json.dumps({"text": f"t {i}", "label": i % 2 == 0}) for i in range(20))
    assert found(lines, suffix=".jsonl").task.labels == ("false", "true")


def test_the_scale_is_that_of_the_training_data_and_what_lies_outside_is_said(found: Callable[..., Source]) -> None:
    source = found(csv([(f"t {i}", i / 10) for i in range(20)]), csv([("x", 0.3), ("y", 7.5)]))
    assert source.facts is not None
    assert source.facts.scale == (0.0, 1.9)
    assert check_splits(source) == ["own: 1 dev scores lie outside those of the training data"]


# Dev


def test_the_held_out_rows_are_the_same_on_every_machine_and_in_one_split_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Callable[..., Source]
) -> None:
    source = found(csv(ROWS), dev_share=0.25)
    first = [set(rows_of(source, split)) for split in ("train", "validation")]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine's"))
    assert [set(rows_of(found(csv(ROWS), dev_share=0.25), split)) for split in ("train", "validation")] == first
    assert (len(first[0]), len(first[1]), first[0] & first[1]) == (30, 10, set())
    assert source.task.dev == {"validation": 10}


def test_rows_of_a_group_stay_together(found: Callable[..., Source]) -> None:
    people = [f"person {i // 4}" for i in range(40)]
    lines = [f"a text by {person} {i},{i % 2},{person}" for i, person in enumerate(people)]
    source = found("\n".join(["text,label,author", *lines]), group="author", dev_share=0.3)
    authors = {split: {text.split()[4] for text, _ in rows_of(source, split)} for split in ("train", "validation")}
    assert not authors["train"] & authors["validation"]
    assert source.task.dev == {"validation": 12}


def test_a_class_of_one_row_stays_in_train(found: Callable[..., Source]) -> None:
    rows = [(f"t {i}", f"rare-{i}" if i < 15 else "common") for i in range(30)]
    source = found(csv(rows), dev_share=0.5)
    assert {label for _, label in rows_of(source, "train")} == set(range(16))


def test_texts_in_both_splits_are_counted(found: Callable[..., Source]) -> None:
    source = found(csv(ROWS), csv([*ROWS[:2], ("new", "ham")]))
    assert check_splits(source) == ["own: 2 of 3 dev rows have a text that is in the training data"]
    assert "2 texts of validation are in train too; 0 empty texts" in summary(source)


def test_a_dev_of_one_class_is_said(found: Callable[..., Source]) -> None:
    source = found(csv(ROWS), csv([("new", "ham"), ("newer", "ham")]))
    assert [line.partition(":")[2] for line in check_splits(source)] == [
        " every dev row has the same label: correlations and Matthews are 0 by definition"
    ]


# Identity


def test_the_fingerprint_is_of_the_rows_and_not_of_the_file(tmp_path: Path, found: Callable[..., Source]) -> None:
    base = found(csv(ROWS))
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(tmp_path / "train.csv", tmp_path / "elsewhere" / "other.csv"))
    assert own_source("own", OwnData(train=str(moved), columns=["text"])).fingerprint == base.fingerprint
    assert found(csv([*ROWS[:-1], ("another", "ham")])).fingerprint != base.fingerprint
    assert found(csv(ROWS), dev_share=0.3).fingerprint != base.fingerprint


def test_a_converted_file_that_was_changed_is_converted_again(found: Callable[..., Source]) -> None:
    source = found(csv(ROWS))
    assert source.folder is not None
    (Path(source.folder) / "own" / "train.parquet").write_bytes(b"not this")
    assert found(csv(ROWS)).fingerprint == source.fingerprint


# What is refused: content, settings, and the message


def one(text: str, label: Any = "ham") -> str:
    return csv(ROWS) + f"{text},{label}\n"


def json_lines(**changed: Any) -> str:
    rows: list[dict[str, Any]] = [{"text": text, "label": label} for text, label in ROWS]
    return "\n".join(json.dumps(row) for row in [*rows, rows[0] | changed])


SCORES = csv([(f"t {i}", i / 8) for i in range(40)])
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "column": ({"train": csv(ROWS, "texts,label")}, "train.csv has no column 'text': did you mean 'texts'?"),
    "label column": ({"train": csv(ROWS), "label": "y"}, "train.csv has no column 'y': there are: text, label"),
    "empty file": ({"train": ""}, "train.csv has no rows"),
    "header only": ({"train": "text,label\n"}, "train.csv has no rows"),
    "one row": ({"train": csv(ROWS[:1])}, "every row has the label 'spam'"),
    "two rows": ({"train": csv(ROWS[:2])}, "of its 2 rows 0 can be held out as dev"),
    "dev of one row": ({"train": csv(ROWS), "dev": csv(ROWS[:1])}, "dev.csv: it has 1 row"),
    "one class": ({"train": csv([(t, "a") for t, _ in ROWS])}, "every row has the label 'a'"),
    "one score": ({"train": csv([(t, 0.5) for t, _ in ROWS])}, "every score in column 'label' is 0.5"),
    "empty text": ({"train": one("")}, "train.csv: line 42: column 'text' is empty"),
    "blank text": ({"train": one("  ")}, "train.csv: line 42: column 'text' is empty"),
    "missing text": ({"train": json_lines(text=None), "suffix": ".jsonl"}, "line 41: column 'text' is empty"),
    "no text": ({"train": json_lines(text=3), "suffix": ".jsonl"}, "line 41: column 'text' has '3', which is not text"),
    "surrogate": ({"train": json_lines(text="\ud800"), "suffix": ".jsonl"}, "line 41: column 'text' has half of"),
    "list label": ({"train": json_lines(label=[1]), "suffix": ".jsonl"}, "line 41: column 'label' has '[1]', but"),
    "empty label": ({"train": one("x", "")}, "train.csv: line 42: column 'label' is empty"),
    "after a line break": ({"train": one('"a\nb"') + "x,\n"}, "train.csv: line 44: column 'label' is empty"),
    "label outside": (
        {"train": one("x", "cheese"), "labels": ["ham", "spam", "eggs"]},
        "line 42: label 'cheese' is not one of the classes (ham, spam, eggs)",
    ),
    "id outside": (
        {"train": csv([(t, i % 4) for i, (t, _) in enumerate(ROWS)]), "labels": ["a", "b"]},
        "line 4: label '2' is not one of the ids 0 to 1",
    ),
    "dev class": ({"train": csv(ROWS), "dev": csv([*ROWS[:3], ("x", "new")])}, "dev.csv: line 5: label 'new' is"),
    "named dev class": (
        {"train": csv(ROWS[:2] * 9), "dev": csv(ROWS[:3]), "labels": ["spam", "ham", "eggs"]},
        "dev.csv: line 4: class 'eggs' has no row in the training data",
    ),
    "ids in dev": ({"train": csv(ROWS), "dev": csv([("x", 0), ("y", 1)])}, "line 2: label '0' looks like the id"),
    "names in dev": (
        {"train": csv([(t, i % 2) for i, (t, _) in enumerate(ROWS)]), "dev": csv(ROWS[:3]), "labels": ["spam", "ham"]},
        "dev.csv: line 2: label 'spam' is the name of a class",
    ),
    "text for a score": ({"train": SCORES + "x,high\n", "kind": "regression"}, "line 42: column 'label' has 'high'"),
    "infinite": ({"train": SCORES + "x,inf\n"}, "line 42: column 'label' has inf, but a score is a finite number"),
    "beyond float32": ({"train": SCORES + "x,1e39\n"}, "line 42: column 'label' has 1e+39, but a score"),
    "outside the scale": ({"train": SCORES, "scale": [0, 4.5]}, "line 39: score 4.625 is outside scale = [0, 4.5]"),
    "many whole numbers": ({"train": csv([(t, i) for i, (t, _) in enumerate(ROWS)])}, "40 different whole numbers"),
    "too many classes": ({"train": csv([(f"t {i}", f"c{i}") for i in range(1025)])}, "1,025 different labels"),
    "long class": ({"train": csv([(t, "x" * (201 + i % 2)) for i, (t, _) in enumerate(ROWS)])}, "longer than 200"),
    "three classes": ({"train": csv(ROWS), "score": "f1_accuracy"}, "f1_accuracy is for two classes, and there are 3"),
    "ragged": ({"train": one("x,y", "z")}, "train.csv: line 42 has 3 fields, but the header has 2"),
    "open quote": ({"train": one('"never closed')}, "line 42: unexpected end of data: a quotation mark"),
    "quote inside": ({"train": one('"a" b')}, "line 42: ',' expected after '\"'"),
    "twice": ({"train": csv(ROWS, "text,text")}, "line 1 names the column 'text' twice"),
    "latin-1": ({"train": one("caf\xe9").encode("latin-1")}, "train.csv: line 42 is not UTF-8 text"),
    "utf-16": ({"train": csv(ROWS).encode("utf-16")}, "train.csv is UTF-16 text: save it as UTF-8"),
    "no object": ({"train": json_lines() + "\n[1]", "suffix": ".jsonl"}, "line 42 is not a JSON object"),
    "torn": ({"train": json_lines() + '\n{"text": ', "suffix": ".jsonl"}, "line 42 is not JSON"),
    "no parquet": ({"train": b"PAR1", "suffix": ".parquet"}, "train.parquet cannot be read as Parquet"),
    "format": ({"train": csv(ROWS), "suffix": ".xlsx"}, "data is read from .csv, .tsv, .jsonl, .json, .parquet files"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_trained_on_is_one_line_that_says_where(case: str, found: Callable[..., Source]) -> None:
    given, message = BAD[case]
    with pytest.raises(UserError) as caught:
        found(**given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("own: ")


def test_one_group_cannot_be_split(found: Callable[..., Source]) -> None:
    content = "\n".join(["text,label,author", *(f"t {i},{i % 2},same" for i in range(20))])
    with pytest.raises(SuiteError, match="of its 20 rows 0 can be held out as dev, because rows of one author stay"):
        found(content, group="author")
    with pytest.raises(SuiteError, match="line 22: column 'author' is empty"):
        found(f"{content}\nx,0,\n", group="author")


def test_a_row_of_a_parquet_file_has_a_number(tmp_path: Path, found: Callable[..., Source]) -> None:
    frame = pd.DataFrame({"text": ["a", "b", None], "label": [0, 1, 1]})
    with pytest.raises(SuiteError, match=r"train.parquet: row 3: column 'text' is empty"):
        found(as_parquet(pa.Table.from_pandas(frame), tmp_path), suffix=".parquet")


@pytest.mark.parametrize("missing", ["nowhere.csv", "."])
def test_a_file_that_is_not_there_is_named(missing: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing or not a plain file"):
        own_source("own", OwnData(train=str(tmp_path / missing), columns=["text"]))


def test_a_data_set_that_cannot_be_downloaded_is_one_line() -> None:
    own = OwnData(dataset="me/mine", revision="a" * 40, columns=["text"])
    with pytest.raises(SuiteError, match=r"own: me/mine@a{40} split train is not cached here whole") as caught:
        own_source("own", own)
    assert "\n" not in str(caught.value)
