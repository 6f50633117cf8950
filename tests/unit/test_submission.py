"""The GLUE server's zip: names, words and order as the server reads them, or one line that says what is wrong."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer, BertForSequenceClassification

from benchmarks.base.errors import SuiteError
from benchmarks.machine.settings import Device
from benchmarks.submission import SERVER_FILES, find_file, load_test, predict_test, write_submission
from benchmarks.tasks.data import Source
from benchmarks.tasks.table import GLUE, find_task
from tests import tiny

DEVICE = Device(device="cpu")


def table(name: str, label: float = -1) -> pa.Table:
    """A test split with the official row count, in the schema of nyu-mll/glue."""
    file = find_file(name)
    task = find_task(file.task)
    words = random.Random(name)
    columns = {
        column: [" ".join(words.choices(tiny.WORDS[5:], k=words.randint(2, 9))) for _ in range(file.rows)]
        for column in task.columns
    }
    labels = pa.array([label] * file.rows, pa.float32() if task.regression else pa.int64())
    return pa.table({**columns, "label": labels, "idx": pa.array(range(file.rows), pa.int32())})


def save_test(folder: Path, *names: str) -> Path:
    for name in names:
        file = find_file(name)
        (folder / file.config).mkdir(parents=True, exist_ok=True)
        pq.write_table(table(name), folder / file.config / f"{file.split}.parquet")
    return folder


def save_model(folder: Path, name: str, **changes: object) -> Path:
    task = find_task(name)
    model = tiny.bert(layers=2, labels=task.outputs)
    if task.labels:
        model.config.id2label = dict(enumerate(task.labels))
        model.config.label2id = {label: i for i, label in enumerate(task.labels)}
    for key, value in changes.items():
        setattr(model.config, key, value)
    model.save_pretrained(folder)
    return folder


def source(folder: Path | None, name: str = "rte") -> Source:
    if folder is None:
        return Source(find_task(name), None, "nyu-mll/glue", "a" * 40, "")
    return Source(find_task(name), str(folder), "nyu-mll/glue", None, "")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(tiny.save_encoder(tmp_path_factory.mktemp("encoder"), layers=1))


def read(path: Path) -> dict[str, list[str]]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode("ascii").split("\n") for name in archive.namelist()}


def words(lines: list[str]) -> list[str]:
    return [line.split("\t")[1] for line in lines[1:-1]]


def test_the_servers_files_fit_the_tasks() -> None:
    assert {name: file.rows for name, file in SERVER_FILES.items()} == {
        "CoLA.tsv": 1063,
        "SST-2.tsv": 1821,
        "MRPC.tsv": 1725,
        "QQP.tsv": 390965,
        "STS-B.tsv": 1379,
        "MNLI-m.tsv": 9796,
        "MNLI-mm.tsv": 9847,
        "QNLI.tsv": 5463,
        "RTE.tsv": 3000,
        "WNLI.tsv": 146,
        "AX.tsv": 1104,
    }
    assert {file.task for file in SERVER_FILES.values()} == {task.name for task in GLUE}
    for file in SERVER_FILES.values():
        task = find_task(file.task)
        assert file.words in (task.labels, ("0", "1")), file
        assert len(file.words) == len(task.labels)
    spelt = {name for name, file in SERVER_FILES.items() if "entailment" in file.words}
    assert spelt == {"MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv", "QNLI.tsv", "RTE.tsv"}


def test_a_zip_holds_all_eleven_files_at_its_top_and_says_which_it_filled(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "submission.zip"
    ids = [row % 2 for row in range(3000)]
    lines = write_submission(path, {"RTE.tsv": ids})
    files = read(path)
    assert set(files) == set(SERVER_FILES)
    assert list(files) == sorted(files)
    for name, text in files.items():
        assert text[0] == "index\tprediction"
        assert text[-1] == ""
        assert [line.split("\t")[0] for line in text[1:-1]] == [str(i) for i in range(SERVER_FILES[name].rows)]
    assert words(files["RTE.tsv"]) == ["entailment", "not_entailment"] * 1500
    assert set(words(files["STS-B.tsv"])) == {"0.000"}
    assert set(words(files["QQP.tsv"])) == {"0"}
    assert set(words(files["AX.tsv"])) == {"entailment"}
    assert len(lines) == 10
    assert {line.partition(":")[0] for line in lines} == set(SERVER_FILES) - {"RTE.tsv"}
    assert next(line for line in lines if line.startswith("WNLI")).startswith(
        "WNLI.tsv: no predictions, filled with 0 in all 146 rows"
    )
    assert [file.name for file in path.parent.iterdir()] == ["submission.zip"]


def test_nothing_is_said_when_nothing_was_filled(tmp_path: Path) -> None:
    everything = {name: [0] * file.rows for name, file in SERVER_FILES.items()}
    assert write_submission(tmp_path / "submission.zip", everything) == []


@pytest.mark.parametrize("name", [name for name, file in SERVER_FILES.items() if file.words and file.rows < 4000])
def test_class_ids_come_back_from_the_zip(tmp_path: Path, name: str) -> None:
    file = find_file(name)
    ids = np.random.default_rng(0).integers(0, len(file.words), file.rows)
    write_submission(tmp_path / "submission.zip", {name: list(ids)})
    assert [file.words.index(word) for word in words(read(tmp_path / "submission.zip")[name])] == ids.tolist()


def test_similarities_are_clipped_to_the_scale_and_have_three_decimals(tmp_path: Path) -> None:
    values = [-0.3, -0.0, 0.12345, 4.9996, 7, *[2.5] * 1374]
    write_submission(tmp_path / "submission.zip", {"STS-B.tsv": values})
    written = words(read(tmp_path / "submission.zip")["STS-B.tsv"])
    assert written[:6] == ["0.000", "0.000", "0.123", "5.000", "5.000", "2.500"]


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = {"WNLI.tsv": [1] * 146, "RTE.tsv": [0] * 3000}, {"RTE.tsv": [0] * 3000, "WNLI.tsv": [1] * 146}
    write_submission(tmp_path / "one.zip", one)
    write_submission(tmp_path / "two.zip", two)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ({"RTE": [0] * 3000}, "'RTE' is not a file of a GLUE submission: did you mean 'RTE.tsv'?"),
        ({"rte.tsv": [0] * 3000}, "'rte.tsv' is not a file of a GLUE submission"),
        ({"RTE.tsv": [0] * 277}, "RTE.tsv: 277 predictions, the server wants 3,000"),
        ({"WNLI.tsv": [0] * 145 + [2]}, "WNLI.tsv: row 145 is 2, class ids run from 0 to 1"),
        ({"WNLI.tsv": [-1] * 146}, "row 0 is -1, class ids"),
        ({"WNLI.tsv": [0.5] * 146}, "row 0 is 0.5, class ids"),
        ({"WNLI.tsv": [0, float("nan")] * 73}, "row 1 is nan"),
        ({"STS-B.tsv": [float("inf")] * 1379}, "row 0 is inf"),
        ({"STS-B.tsv": ["high"] * 1379}, "row 0 is high, not a number"),
    ],
)
def test_what_the_server_would_choke_on_is_refused_before_anything_is_written(
    tmp_path: Path, predictions: dict[str, Any], message: str
) -> None:
    path = tmp_path / "submission.zip"
    path.write_bytes(b"an earlier one")
    with pytest.raises(SuiteError) as caught:
        write_submission(path, predictions)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"an earlier one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(SuiteError, match=r"cannot write .*taken .*choose another file"):
        write_submission(tmp_path / "taken", {})
    (tmp_path / "file").write_text("")
    with pytest.raises(SuiteError, match="cannot write"):
        write_submission(tmp_path / "file" / "submission.zip", {})
    assert {entry.name for entry in tmp_path.iterdir()} == {"taken", "file"}


def test_a_disk_that_fills_up_leaves_the_earlier_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "submission.zip"
    path.write_bytes(b"an earlier one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SuiteError, match="No space left on device"):
        write_submission(path, {})
    assert path.read_bytes() == b"an earlier one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_test_split_comes_in_idx_order_with_its_labels_hidden(tmp_path: Path) -> None:
    folder = save_test(tmp_path, "WNLI.tsv")
    path = folder / "wnli" / "test.parquet"
    whole = load_test(source(folder), "WNLI.tsv")
    assert whole.column_names == ["sentence1", "sentence2", "label", "idx"]
    assert set(whole["label"]) == {-1}
    pq.write_table(table("WNLI.tsv", label=1).take(list(reversed(range(146)))), path)
    again = load_test(source(folder), "WNLI.tsv")
    assert again.to_dict() == whole.to_dict()
    pq.write_table(table("WNLI.tsv").drop_columns(["label"]), path)
    assert load_test(source(folder), "WNLI.tsv").to_dict() == whole.to_dict()


def numbers(column: str) -> Callable[[pa.Table], pa.Table]:
    return lambda t: t.set_column(t.column_names.index(column), column, pa.array(range(len(t))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.rename_columns(["premise", *t.column_names[1:]]), "no column 'sentence1'"),
        (lambda t: t.drop_columns(["idx"]), "no column 'idx'"),
        (lambda t: t.slice(0, 100), "has 100 rows, the official split 146"),
        (numbers("sentence2"), "'sentence2' is int64, not text"),
        (
            lambda t: t.set_column(1, "sentence2", pa.array([None, *t["sentence2"].to_pylist()[1:]])),
            "'sentence2' has missing text",
        ),
        (lambda t: t.set_column(3, "idx", pa.array([0] * 146, pa.int32())), "'idx' is not 0 to 145"),
    ],
)
def test_test_data_that_is_not_the_tasks_is_refused(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    folder = save_test(tmp_path, "WNLI.tsv")
    tiny.rewrite(folder / "wnli" / "test.parquet", change)
    with pytest.raises(SuiteError, match=message) as caught:
        load_test(source(folder), "WNLI.tsv")
    assert str(caught.value).startswith("wnli: split test of")


def test_missing_and_broken_test_splits_are_named(tmp_path: Path) -> None:
    folder = save_test(tmp_path, "WNLI.tsv")
    with pytest.raises(SuiteError, match=r"rte: .*rte/test.parquet is missing: add it"):
        load_test(source(folder), "RTE.tsv")
    (folder / "wnli" / "test.parquet").write_bytes(b"not parquet")
    with pytest.raises(SuiteError, match=r"wnli: split test of .* cannot be read"):
        load_test(source(folder), "WNLI.tsv")


def test_without_a_folder_the_hub_is_read_at_the_pinned_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def hub(dataset: str, config: str, split: str, revision: str) -> Dataset:
        asked.append((dataset, config, split, revision))
        return Dataset(table(next(n for n, f in SERVER_FILES.items() if (f.config, f.split) == (config, split))))

    monkeypatch.setattr("datasets.load_dataset", hub)  # stands in for the network
    for name in ("WNLI.tsv", "AX.tsv", "MNLI-mm.tsv"):
        assert len(load_test(source(None), name)) == SERVER_FILES[name].rows
    assert asked == [
        ("nyu-mll/glue", "wnli", "test", "a" * 40),
        ("nyu-mll/glue", "ax", "test", "a" * 40),
        ("nyu-mll/glue", "mnli", "test_mismatched", "a" * 40),
    ]


@torch.inference_mode()
def one_by_one(folder: Path, tokenizer: Any, rows: Dataset, count: int) -> list[list[float]]:
    model: Any = BertForSequenceClassification.from_pretrained(folder)
    model.eval()
    texts = [column for column in rows.column_names if column not in ("label", "idx")]
    return [
        model(**tokenizer(*(rows[i][c] for c in texts), return_tensors="pt")).logits[0].tolist() for i in range(count)
    ]


@pytest.mark.parametrize("name", ["WNLI.tsv", "RTE.tsv"])
def test_predictions_are_the_models_own_in_idx_order(tmp_path: Path, tokenizer: Any, name: str) -> None:
    folder, task = save_test(tmp_path / "glue", name), find_task(find_file(name).task)
    model = save_model(tmp_path / "model", task.name)
    path = folder / task.name / "test.parquet"
    tiny.rewrite(path, lambda t: t.take(list(reversed(range(len(t))))))
    predictions = predict_test(model, task, source(folder), tokenizer, 128, DEVICE)
    assert list(predictions) == [name]
    assert len(predictions[name]) == SERVER_FILES[name].rows
    assert set(predictions[name]) == {0, 1}
    expected = one_by_one(model, tokenizer, load_test(source(folder), name), 40)
    assert predictions[name][:40] == [int(np.argmax(row)) for row in expected]
    write_submission(tmp_path / "submission.zip", predictions)
    written = words(read(tmp_path / "submission.zip")[name])
    assert [SERVER_FILES[name].words.index(word) for word in written] == predictions[name]


def test_similarities_are_the_models_values(tmp_path: Path, tokenizer: Any) -> None:
    folder, model = save_test(tmp_path / "glue", "STS-B.tsv"), save_model(tmp_path / "model", "stsb")
    found = predict_test(model, find_task("stsb"), source(folder), tokenizer, 128, DEVICE)["STS-B.tsv"]
    expected = one_by_one(model, tokenizer, load_test(source(folder), "STS-B.tsv"), 20)
    assert found[:20] == pytest.approx([row[0] for row in expected], abs=1e-4)


def test_the_mnli_model_predicts_both_halves_and_ax_where_it_is_there(tmp_path: Path, tokenizer: Any) -> None:
    folder, model = save_test(tmp_path / "glue", "MNLI-m.tsv", "MNLI-mm.tsv"), save_model(tmp_path / "model", "mnli")
    task = find_task("mnli")
    halves = predict_test(model, task, source(folder, "mnli"), tokenizer, 128, DEVICE)
    assert set(halves) == {"MNLI-m.tsv", "MNLI-mm.tsv"}
    assert any(line.startswith("AX.tsv") for line in write_submission(tmp_path / "submission.zip", halves))
    save_test(folder, "AX.tsv")
    whole = predict_test(model, task, source(folder, "mnli"), tokenizer, 128, DEVICE)
    assert set(whole) == {"MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"}
    assert whole["MNLI-m.tsv"] == halves["MNLI-m.tsv"]
    expected = one_by_one(model, tokenizer, load_test(source(folder), "AX.tsv"), 20)
    assert whole["AX.tsv"][:20] == [int(np.argmax(row)) for row in expected]
    (folder / "mnli" / "test_mismatched.parquet").unlink()
    with pytest.raises(SuiteError, match=r"test_mismatched.parquet is missing"):
        predict_test(model, task, source(folder, "mnli"), tokenizer, 128, DEVICE)


def test_models_that_cannot_predict_the_task_are_refused(tmp_path: Path, tokenizer: Any) -> None:
    folder = save_test(tmp_path / "glue", "WNLI.tsv")

    def refusal(model: Path, name: str = "wnli") -> str:
        with pytest.raises(SuiteError) as caught:
            predict_test(model, find_task(name), source(folder), tokenizer, 128, DEVICE)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "model.safetensors is missing" in refusal(tmp_path)
    assert "was saved as BertModel" in refusal(tiny.save_encoder(tmp_path / "headless"))
    assert "head of 3 outputs, but the task needs 2" in refusal(save_model(tmp_path / "mnli", "mnli"))
    assert "orders its labels ['entailment', 'not_entailment']" in refusal(save_model(tmp_path / "rte", "rte"))
    empty = save_model(tmp_path / "empty", "wnli")
    (empty / "config.json").write_text("{")
    assert "config.json is not JSON" in refusal(empty)
    (empty / "model.safetensors").unlink()
    assert "model.safetensors is missing" in refusal(empty)
    assert "the GLUE server has no test set for it" in refusal(empty, "syn-cola")


def test_a_model_that_diverged_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    folder, model = save_test(tmp_path / "glue", "WNLI.tsv"), tiny.bert(layers=2)
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(SuiteError, match=r"WNLI.tsv: the model in .* logits that are not finite"):
        predict_test(tmp_path / "model", find_task("wnli"), source(folder), tokenizer, 128, DEVICE)
