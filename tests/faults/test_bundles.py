"""Bundles out and in: the same bytes again, whole runs only, nothing overwritten, imported rows marked."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from reports import ReportError, export_table, read, render
from results.format.bundles.pack import pack
from tests.command import cli
from tests.faults.bundles import SMALL, bring, consistent, contents, refused, tree
from tests.report.make_results import make_results

THESEUS = "BERT-of-Theseus"


def test_the_same_results_give_the_same_bytes(results, bundle, tmp_path):
    again = pack(results, tmp_path / "again.zip")
    assert again.file.read_bytes() == bundle.read_bytes()
    assert again.runs == 5
    with zipfile.ZipFile(bundle) as archive:
        infos = archive.infolist()
    assert infos[0].filename == "bundle.json"
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert not [info.filename for info in infos if "successor" in info.filename]


def test_runs_come_back_as_they_were_and_marked(results, bundle, tmp_path):
    done = bring(bundle, tmp_path / "to")
    assert len(done.came) == 5
    here, there = tree(tmp_path / "to"), tree(results)
    expected = {name: data for name, data in there.items() if "/successor/" not in name and name != "speed.json"}
    assert {name: data for name, data in here.items() if name in expected} == expected
    assert {name.rpartition("/")[2] for name in set(here) - set(expected)} == {"imported.json", "speed.json"}
    frame, original = export_table(tmp_path / "to"), export_table(results)
    assert set(frame.origin) == {"imported"}
    assert set(original.origin) == {""}
    assert frame.drop(columns="origin").equals(original.drop(columns="origin"))


def test_imported_rows_are_marked_in_every_table_and_nowhere_else(results, bundle, tmp_path):
    bring(bundle, tmp_path / "to")
    page = render(tmp_path / "to")
    html = page.read_text(encoding="utf-8")
    assert "5 of 5 runs came from a bundle" in html
    tables = html.split("<table")[1:]
    about_arms = [table for table in tables if "Theseus" in table.partition("</table>")[0]]
    assert len(about_arms) >= 6
    assert all("imported" in table.partition("</table>")[0] for table in about_arms)
    rows = list(csv.reader(io.StringIO((page.parent / "table.csv").read_text(encoding="utf-8"))))
    assert [row[1] for row in rows[1:]] == [f"{name} (imported)" for name in ("Predecessor", "Vanilla KD", THESEUS)]
    for name in ("table.csv", "verdicts.csv", "flips.csv", "table.tex"):
        assert "imported" in (page.parent / name).read_text(encoding="utf-8"), name
    for path in render(results, tmp_path / "plain").parent.iterdir():
        text = path.read_text(encoding="utf-8").replace("Predecessor time over successor time", "")
        assert "imported" not in text, path.name


def test_only_the_imported_ones_of_several_runs_are_marked(results, bundle, tmp_path):
    root = consistent(tmp_path / "to")
    gone = next(root.glob("rte/kd/seed-2-*"))
    for path in gone.iterdir():
        path.unlink()
    gone.rmdir()
    done = bring(bundle, root)
    assert (len(done.came), len(done.there)) == (1, 4)
    frame = export_table(root)
    assert set(frame[frame.origin == "imported"].folder if "folder" in frame else frame[frame.origin != ""].arm) == {
        "kd"
    }
    assert {arm.name: arm.origin for arm in read(root).suite.arms} == {
        "predecessor": "", "kd": "partly imported", "theseus": ""
    }  # fmt: skip


def test_an_import_again_changes_nothing(bundle, tmp_path):
    bring(bundle, tmp_path / "to")
    before = tree(tmp_path)
    again = bring(bundle, tmp_path / "to")
    assert (again.came, len(again.there)) == ([], 5)
    assert tree(tmp_path) == before


def test_a_run_that_is_there_is_never_overwritten(bundle, tmp_path):
    root = consistent(tmp_path / "to")
    result = next(root.glob("rte/kd/seed-2-*/result.json"))
    result.write_text(json.dumps(json.loads(result.read_text()) | {"train_seconds": 1.0}))
    before = tree(tmp_path)
    refused(bundle, root, "runs are never overwritten")
    done = bring(bundle, root, only_missing=True)
    assert (len(done.kept), done.came) == (1, [])
    assert tree(tmp_path) == before


def test_a_stopped_import_goes_on(bundle, tmp_path, monkeypatch):
    moved: list[Path] = []
    rename = Path.rename

    def dies(self, target):
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(Path(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        bring(bundle, tmp_path / "to")
    monkeypatch.undo()
    whole = [folder for folder in (tmp_path / "to").glob("*/*/seed-*")]
    assert len(whole) == 2
    assert all((folder / "imported.json").is_file() and (folder / "result.json").is_file() for folder in whole)
    done = bring(bundle, tmp_path / "to")
    assert (len(done.came), len(done.there)) == (3, 2)
    assert set(export_table(tmp_path / "to").origin) == {"imported"}


def test_a_suite_that_plans_other_runs_is_refused(bundle, tmp_path):
    refused(bundle, consistent(tmp_path / "a" / "to", seeds=(3, 4)), "does not plan")
    refused(bundle, consistent(tmp_path / "b" / "to", suite={"name": "other"}), "holds suite other")


def test_weights_come_only_when_asked_and_where_no_run_looks(results, tmp_path):
    packed = pack(results, tmp_path / "weights.zip", weights=True)
    bring(packed.file, tmp_path / "to")
    folder = next((tmp_path / "to").glob("rte/theseus/seed-1-*"))
    assert not (folder / "successor").exists()
    assert (folder / "imported-successor/model.safetensors").is_file()
    again = pack(tmp_path / "to", tmp_path / "again.zip", weights=True)
    assert [n for n in contents(again.file) if "successor" in n] == [
        n for n in contents(packed.file) if "successor" in n
    ]


def sentence_encoder(results: Path, root: Path, kind: str = "sentence_transformers.models.Pooling") -> Path:
    """A copy of the results in which a run's weights say how they pool."""
    shutil.copytree(results, root)
    folder = next(root.glob("rte/theseus/seed-1-*/successor"))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "path": "1_Pooling", "type": kind}]))
    return root


def test_the_pooling_of_a_sentence_encoder_comes_with_its_weights(results, tmp_path):
    packed = pack(sentence_encoder(results, tmp_path / "from"), tmp_path / "weights.zip", weights=True)
    bring(packed.file, tmp_path / "to")
    folder = next((tmp_path / "to").glob("rte/theseus/seed-1-*")) / "imported-successor"
    assert json.loads((folder / "1_Pooling" / "config.json").read_text()) == {"pooling_mode_cls_token": True}
    again = pack(tmp_path / "to", tmp_path / "again.zip", weights=True)
    assert [n for n in contents(again.file) if "successor" in n] == [
        n for n in contents(packed.file) if "successor" in n
    ]


def test_parts_of_a_sentence_encoder_that_are_other_code_are_refused(results, tmp_path):
    packed = pack(
        sentence_encoder(results, tmp_path / "from", "theirs.Pooling"), tmp_path / "weights.zip", weights=True
    )
    with pytest.raises(ReportError, match=r"modules\.json: theirs\.Pooling names code to run"):
        bring(packed.file, tmp_path / "to")


def test_an_imported_timing_is_not_current_here(bundle, results, tmp_path):
    bring(bundle, tmp_path / "to")
    speed = json.loads((tmp_path / "to/speed.json").read_text())
    assert speed["key"] is None
    assert speed["conditions"] == json.loads((results / "speed.json").read_text())["conditions"]
    assert read(tmp_path / "to").imported == {"suite.json", "speed.json"}
    (tmp_path / "to/speed.json").write_text(json.dumps(speed | {"key": "measured here"}))
    assert read(tmp_path / "to").imported == {"suite.json"}


def test_failed_and_missing_runs_stay_out(tmp_path):
    outcomes = {("rte", "kd", 1): "failed", ("rte", "kd", 2): "diverged", ("rte", "theseus", 1): "missing"}
    root = consistent(tmp_path / "from", outcomes=outcomes, predictions=False)
    packed = pack(root, tmp_path / "x.zip")
    assert (packed.runs, packed.left_out) == (3, ("1 failed", "1 missing"))
    bring(packed.file, tmp_path / "to")
    assert {run.status for run in read(tmp_path / "to").runs} == {"done", "diverged", "missing"}


def test_what_would_not_be_imported_is_not_packed(tmp_path):
    with pytest.raises(ReportError, match="whose id is their hash"):
        pack(make_results(tmp_path / "from", **SMALL), tmp_path / "x.zip")
    root = consistent(tmp_path / "pickle", predictions=False)
    folder = next(root.glob("rte/kd/seed-1-*/")) / "successor"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ReportError, match="a bundle may not hold such a file"):
        pack(root, tmp_path / "x.zip", weights=True)
    assert not list(tmp_path.glob("*.zip"))


def test_a_terminal_that_takes_ascii_only_ends_no_command(results, tmp_path, monkeypatch):
    """It gets escapes; what is written to files is written whole."""
    there = tmp_path / "B\u00fccher"
    for arguments in (
        ("report", results, "--output", there / "report"), ("bundle", results, "--output", there / "glue.zip"),
        ("import", there / "glue.zip", "--results", there / "to"),
    ):  # fmt: skip
        raw = io.BytesIO()
        for stream in ("stdout", "stderr"):
            monkeypatch.setattr(sys, stream, io.TextIOWrapper(raw, encoding="ascii", write_through=True))
        assert cli(*arguments) == 0
        assert b"B\\xfccher" in raw.getvalue()
