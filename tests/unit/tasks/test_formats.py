"""GLUE in the forms that people have gives the rows of the plain form."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.base.errors import SuiteError
from benchmarks.tasks.data import Source, check_splits, find_source, load_splits
from benchmarks.tasks.official import LABELS
from benchmarks.tasks.settings import Data
from benchmarks.tasks.table import find_task
from results.format.errors import UserError
from tests import tiny


def found(folder: Path, name: str) -> Source:
    return find_source(find_task(name), Data(path=str(folder)))


@pytest.mark.parametrize("name", sorted(tiny.TSV_LINES))
def test_glues_own_files_give_the_same_rows(name: str, tmp_path: Path) -> None:
    glue = tiny.save_glue(tmp_path / "glue", name)
    plain, read = (load_splits(found(folder, name)) for folder in (glue, tiny.save_tsv(glue, name, tmp_path / "tsv")))
    for split, rows in plain.items():
        for column in (*find_task(name).columns, "label", "idx"):
            assert read[split].data[column].to_pylist() == pytest.approx(rows.data[column].to_pylist())


def test_quotation_marks_are_text_and_a_torn_row_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    glue = tiny.save_glue(tmp_path / "glue", "rte")
    path = tiny.save_tsv(glue, "rte", tmp_path / "tsv") / "RTE" / "dev.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = '0\t"a quote\tthat does not end\tentailment'
    path.write_text("\n".join(lines), encoding="utf-8")
    assert load_splits(found(tmp_path / "tsv", "rte"))["validation"]["sentence1"][0] == '"a quote'
    path.write_text("\n".join([*lines[:5], "4\tonly one text", *lines[6:]]), encoding="utf-8")
    with pytest.raises(SuiteError, match="has 276 rows, the official split has 277"):
        load_splits(found(tmp_path / "tsv", "rte"))


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\tb\n", "is not in list"), ("\xff", "decode"), ("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tx\n", "'x'")],
)
def test_a_file_that_is_not_glues_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    glue = tiny.save_glue(tmp_path / "glue", "rte")
    path = tiny.save_tsv(glue, "rte", tmp_path / "tsv") / "RTE" / "train.tsv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SuiteError, match=message) as caught:
        found(tmp_path / "tsv", "rte")
    assert "\n" not in str(caught.value)
    assert "train.tsv" in str(caught.value)


def renamed(glue: Path, *parts: int) -> Path:
    """The hub's names for RTE's splits, each cut into so many parts."""
    for split, count in zip(("train", "validation"), parts, strict=True):
        path = glue / "rte" / f"{split}.parquet"
        table = pq.read_table(path)
        size = -(-len(table) // count)
        for part in range(count):
            target = glue / "rte" / f"{split}-{part:05}-of-{count:05}.parquet"
            if count == 1:
                path.rename(target)
            else:
                pq.write_table(table.slice(part * size, size), target)
        path.unlink(missing_ok=True)
    return glue


def test_a_file_under_the_hubs_name_is_the_same_data(tmp_path: Path) -> None:
    before = found(tiny.save_glue(tmp_path / "glue", "rte"), "rte").fingerprint
    assert found(renamed(tmp_path / "glue", 1, 1), "rte").fingerprint == before


def test_parts_are_put_together_and_all_of_them_are_needed(tmp_path: Path) -> None:
    plain = load_splits(found(tiny.save_glue(tmp_path / "plain", "rte"), "rte"))
    glue = renamed(tiny.save_glue(tmp_path / "glue", "rte"), 3, 1)
    read = load_splits(found(glue, "rte"))
    assert read["train"]["sentence2"][:] == plain["train"]["sentence2"][:]
    (glue / "rte" / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(UserError, match="has 2 of 3 parts of train"):
        found(glue, "rte")


def test_splits_may_have_different_forms(tmp_path: Path) -> None:
    glue = tiny.save_glue(tmp_path / "glue", "rte")
    plain = load_splits(found(glue, "rte"))
    tiny.save_tsv(glue, "rte", glue)
    (glue / "rte" / "validation.parquet").unlink()
    (glue / "rte" / "train-1-of-2-of-x.parquet").write_bytes(b"a stranger's")
    mixed = load_splits(found(glue, "rte"))
    for split, rows in plain.items():
        assert mixed[split]["sentence1"][:] == rows["sentence1"][:]


def test_a_converted_file_that_was_changed_is_made_anew(tmp_path: Path) -> None:
    folder = tiny.save_tsv(tiny.save_glue(tmp_path / "glue", "rte"), "rte", tmp_path / "tsv")
    before = found(folder, "rte")
    (Path(str(before.folder)) / "rte" / "train.parquet").write_bytes(b"other")
    assert found(folder, "rte") == before
    assert len(load_splits(before)["train"]) == 2490


def test_labels_that_are_not_those_of_the_official_split_are_warned_about(tmp_path: Path) -> None:
    glue = tiny.save_glue(tmp_path / "glue", "rte")
    first, second = check_splits(found(glue, "rte"))
    assert "in the official split 1,249, 1,241" in first
    assert "validation" in second
    official = {split: [0] * zeros + [1] * ones for split in ("train", "validation")
                for zeros, ones in [LABELS["rte", split]]}  # fmt: skip
    for split, labels in official.items():
        tiny.rewrite(glue / "rte" / f"{split}.parquet", lambda table, labels=labels: tiny.with_labels(table, labels))
    assert check_splits(found(glue, "rte")) == []
