"""Task data: read and fingerprinted, or refused with what is wrong and where."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset

from benchmarks.base.errors import SuiteError
from benchmarks.models.encoder import find_encoder
from benchmarks.models.settings import Encoder
from benchmarks.runs.tokens import tokenise
from benchmarks.tasks.data import find_source, load_splits
from benchmarks.tasks.settings import Data
from benchmarks.tasks.table import GLUE, find_task
from results.format import limits
from tests import tiny


def load(folder, name="rte"):
    return load_splits(find_source(find_task(name), Data(path=str(folder))))


@pytest.fixture
def glue(tmp_path):
    return tiny.save_glue(tmp_path / "glue", "rte")


def test_a_folder_in_glues_schema_loads(glue):
    splits = load(glue)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 2490, "validation": 277}


def test_the_fingerprint_follows_the_content(glue):
    before = find_source(find_task("rte"), Data(path=str(glue))).fingerprint
    assert find_source(find_task("rte"), Data(path=str(glue))).fingerprint == before
    tiny.rewrite(glue / "rte" / "validation.parquet", lambda table: table.take(list(reversed(range(277)))))
    assert find_source(find_task("rte"), Data(path=str(glue))).fingerprint != before


def relabel(names):
    def change(table: pa.Table) -> pa.Table:
        rows = Dataset(table)
        return rows.cast_column("label", ClassLabel(names=names)).data.table

    return change


def set_column(name, values):
    def change(table: pa.Table) -> pa.Table:
        plain = table.replace_schema_metadata(None)
        return plain.set_column(plain.column_names.index(name), name, pa.array(values(plain[name].to_pylist())))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.rename_columns(["premise", *t.column_names[1:]]).replace_schema_metadata(None),
            "no column 'sentence1'",
        ),
        (lambda t: t.slice(0, 100), "100 rows, the official split has 2,490"),
        (relabel(["not_entailment", "entailment"]), "reorder the file"),
        (set_column("label", lambda v: [2, *v[1:]]), "labels run from 0 to 2"),
        (set_column("label", lambda v: [-1] * len(v)), "hidden labels"),
        (set_column("label", lambda v: [None, *v[1:]]), "missing values"),
        (set_column("label", lambda v: [float(x) for x in v]), "integer class ids"),
        (set_column("label", lambda v: ["entailment"] * len(v)), "integer class ids"),
        (set_column("sentence2", lambda v: [None, *v[1:]]), "missing text"),
        (set_column("sentence2", lambda v: list(range(len(v)))), "not text"),
    ],
)
def test_data_that_is_not_the_tasks_is_refused(glue, change, message):
    tiny.rewrite(glue / "rte" / "train.parquet", change)
    with pytest.raises(SuiteError, match=message) as caught:
        load(glue)
    assert "rte: split train of" in str(caught.value)


def test_label_names_are_compared_without_case(glue):
    tiny.rewrite(glue / "rte" / "train.parquet", relabel(["ENTAILMENT", "Not_Entailment"]))
    assert len(load(glue)["train"]) == 2490


def test_more_rows_than_any_task_has_are_not_read(glue):
    """Fifty million equal rows take 700 KB in a file and 6 GB in memory."""
    path = glue / "rte" / "train.parquet"
    rows = pa.table({"label": pa.repeat(0, limits.DATA_ROWS // 4 + 1)})
    with pq.ParquetWriter(path, rows.schema) as file:
        for _ in range(4):
            file.write_table(rows)
    with pytest.raises(SuiteError, match="has 3,000,004 rows; the limit is 3,000,000"):
        load(glue)


def test_empty_text_is_data(glue):
    tiny.rewrite(glue / "rte" / "train.parquet", set_column("sentence2", lambda v: ["", *v[1:]]))
    assert load(glue)["train"]["sentence2"][0] == ""


def test_scores_that_are_not_finite_are_refused(tmp_path):
    folder = tiny.save_glue(tmp_path, "stsb")
    tiny.rewrite(folder / "stsb" / "train.parquet", set_column("label", lambda v: [float("nan"), *v[1:]]))
    with pytest.raises(SuiteError, match="not finite"):
        load(folder, "stsb")


def test_missing_folders_and_files_are_named(glue, tmp_path, monkeypatch):
    monkeypatch.delenv("GLUE_DIR", raising=False)
    with pytest.raises(SuiteError, match="does not exist: correct GLUE_DIR"):
        load(tmp_path / "nowhere")
    with pytest.raises(SuiteError, match=r"cola/train.parquet is missing"):
        load(glue, "cola")
    (glue / "rte" / "validation.parquet").write_bytes(b"not parquet")
    with pytest.raises(SuiteError, match="cannot be read"):
        load(glue)
    with pytest.raises(SuiteError, match="set GLUE_DIR"):
        find_source(find_task("rte"), Data())
    hub = find_source(find_task("rte"), Data(revision="a" * 40))
    assert hub.fingerprint == "nyu-mll/glue@" + "a" * 40


def test_all_nine_tasks_are_known_with_their_conventions():
    table = {task.name: task for task in GLUE}
    assert set(table) == {"cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli"}
    assert [name for name, task in table.items() if not task.in_macro] == ["wnli"]
    assert table["qnli"].max_length == 256
    assert list(table["mnli"].dev) == ["validation_matched", "validation_mismatched"]
    assert table["mnli"].labels == ("entailment", "neutral", "contradiction")
    assert table["stsb"].regression


def test_tokenising_truncates_and_marks_the_second_sentence(glue, tmp_path):
    folder = tiny.save_encoder(tmp_path / "encoder")
    encoder = find_encoder(Encoder(name="tiny", path=str(folder), layers=4, hidden_size=32))
    source = find_source(find_task("rte"), Data(path=str(glue)))
    whole, short = tokenise(encoder, source, 128), tokenise(encoder, source, 8)
    train = whole["train"]
    assert len(train) == 2490
    first = train.ids[: train.offsets[1]].tolist()
    assert first[0] == tiny.WORDS.index("[CLS]")
    assert first.count(tiny.WORDS.index("[SEP]")) == 2
    assert train.types[: train.offsets[1]].tolist() == [0] * 8 + [1] * 7
    assert int(short["train"].lengths.max()) == 8


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("idx", lambda old: [0, *old[:-1]], "column 'idx' has missing or repeated numbers"),
        ("idx", lambda old: [None, *old[1:]], "column 'idx' has missing or repeated numbers"),
        ("idx", lambda old: [str(value) for value in old], "column 'idx' is string"),
        ("idx", lambda old: [float(value) for value in old], "column 'idx' is double"),
    ],
)
def test_numbers_that_the_end_would_refuse_are_refused_at_the_plan(glue, name, values, message):
    tiny.rewrite(glue / "rte" / "validation.parquet", set_column(name, values))
    with pytest.raises(SuiteError, match=message):
        load(glue)


def test_scores_on_another_scale_are_refused(tmp_path):
    glue = tiny.save_glue(tmp_path / "glue", "stsb")
    tiny.rewrite(glue / "stsb" / "train.parquet", set_column("label", lambda old: [value / 5 for value in old]))
    with pytest.raises(SuiteError, match="is the scale 0 to 1"):
        load(glue, "stsb")
