"""Reading a results folder: the flat table, gaps, and everything a stranger's folder may hold."""

import json
import os
from pathlib import Path

import pytest

from results.format.errors import ReportError
from results.format.reader import COLUMNS, export_table, read
from results.format.untrusted import parse, slug, text
from tests.report.make_results import make_results, run_id

TWO = {"tasks": ("mrpc", "rte"), "arms": ("predecessor", "kd", "theseus"), "seeds": (1, 2), "speed": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    outcomes = {("rte", "kd", 1): "diverged", ("mrpc", "theseus", 2): "failed", ("mrpc", "kd", 2): "missing"}
    return make_results(tmp_path_factory.mktemp("results"), outcomes=outcomes, **TWO)


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def a_run(root: Path, task="rte", arm="kd", seed=1) -> Path:
    return root / task / arm / f"seed-{seed}-{run_id(task, arm, seed)}"


def test_one_row_per_run_protocol_and_metric(folder):
    frame = export_table(folder)
    assert tuple(frame.columns) == COLUMNS
    # 10 planned runs: one missing, one failed and one diverged (2 rows each), 3 MRPC (2 × 2), 4 RTE (2 × 1)
    assert len(frame) == 2 * 2 + 3 * 4 + 4 * 2
    mrpc = frame[(frame.task == "mrpc") & (frame.arm == "theseus") & (frame.seed == 1) & (frame.protocol == "last")]
    result = json.loads((a_run(folder, "mrpc", "theseus") / "result.json").read_text())
    assert dict(zip(mrpc.metric, mrpc.value, strict=True)) == result["last"]["metrics"]
    assert set(mrpc.score) == {result["last"]["score"]}
    assert set(mrpc.trainable_parameters) == {42_527_232}
    assert mrpc.score.iloc[0] == pytest.approx(100 * mrpc.value.mean())


def test_broken_runs_have_null_rows_and_missing_runs_none(folder):
    frame = export_table(folder)
    for task, arm, seed, status in (("rte", "kd", 1, "diverged"), ("mrpc", "theseus", 2, "failed")):
        found = frame[(frame.task == task) & (frame.arm == arm) & (frame.seed == seed)]
        assert list(found.protocol) == ["last", "selected"]
        assert set(found.status) == {status}
        assert found[["metric", "value", "score"]].isna().all().all()
        assert set(found.steps) == {41}
    assert frame[(frame.task == "mrpc") & (frame.arm == "kd") & (frame.seed == 2)].empty


def test_kinds_of_columns_do_not_depend_on_gaps(folder, tmp_path):
    everything_failed = {("rte", "kd", 1): "failed"}
    alone = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), outcomes=everything_failed, speed=False)
    assert export_table(alone).dtypes.equals(export_table(folder).dtypes)
    make_results(tmp_path / "none", tasks=("rte",), arms=("kd",), seeds=(1,), outcomes={("rte", "kd", 1): "missing"})
    assert export_table(tmp_path / "none").dtypes.equals(export_table(folder).dtypes)


def test_folders_the_suite_no_longer_plans_are_counted_and_left_out(tmp_path):
    root = make_results(tmp_path, **TWO)
    before = export_table(root)
    a_run(root).rename(a_run(root).with_name("seed-1-0000000000000000"))
    results = read(root)
    assert results.left_out == 1
    assert [r.status for r in results.runs if (r.task, r.arm, r.seed) == ("rte", "kd", 1)] == ["missing"]
    assert len(export_table(root)) == len(before) - 2


def test_no_suite_json(tmp_path):
    with pytest.raises(ReportError, match=r"no suite\.json; give the folder"):
        read(tmp_path)
    assert issubclass(ReportError, ValueError)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"schema": 1, "x": NaN}', '{"a": 1e999}', "[" * 100_000, "\xff"])
def test_unreadable_json_is_one_line(tmp_path, content):
    root = make_results(tmp_path, **TWO)
    for path in (root / "suite.json", a_run(root) / "result.json"):
        good = path.read_bytes()
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(ReportError) as caught:
            read(root)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
        path.write_bytes(good)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": None},
        {"name": "../x"},
        {"protocol": "best"},
        {"statistic": "max"},
        {"tasks": []},
        {"arms": None},
        {"runs": {"a": 1}},
        {"tasks": [{"name": "rte"}, {"name": "rte"}]},
        {"arms": [{"name": "<script>", "method": "kd"}]},
        {"tasks": [{"name": "a/b"}]},
        {"seeds": ["one"]},
        {"encoder": "bert"},
    ],
)
def test_a_suite_that_makes_no_sense_is_refused(tmp_path, changes):
    root = make_results(tmp_path, **TWO)
    edit(root / "suite.json", **changes)
    with pytest.raises(ReportError, match=r"suite\.json"):
        read(root)


@pytest.mark.parametrize(
    "where",
    [
        "../outside",
        "/etc",
        "rte/kd/../../..",
        "rte//kd",
        "rte/kd/seed\u202e1",
        ".hidden/kd/x",
        "rte/kd/",
        "a\\b",
        None,
        7,
    ],
)
def test_a_run_folder_may_not_leave_the_results(tmp_path, where):
    root = make_results(tmp_path, **TWO)
    suite = json.loads((root / "suite.json").read_text())
    suite["runs"][0]["folder"] = where
    (root / "suite.json").write_text(json.dumps(suite))
    with pytest.raises(ReportError, match="folder"):
        read(root)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_out_of_the_results_is_refused(tmp_path):
    root = make_results(tmp_path / "results", **TWO)
    secret = tmp_path / "elsewhere"
    a_run(root).rename(secret)
    a_run(root).symlink_to(secret)
    with pytest.raises(ReportError, match="leads out"):
        read(root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_id": "ffff"}, "another run"),
        ({"status": "great"}, "status must be one of"),
        ({"last": None}, "no score"),
        ({"last": {"metrics": {}, "score": 6606.0}}, "outside -100 to 100"),
        ({"steps": "many"}, "not a whole number"),
        ({"steps": 1.5}, "not a whole number"),
        ({"train_seconds": [1]}, "not a number"),
        ({"last": {"metrics": {"<b>": 1}, "score": 1}}, "not a plain name"),
        ({"last": {"metrics": {"accuracy": "high"}, "score": 1}}, "not a number"),
        ({"schema": 9}, "schema 9"),
    ],
)
def test_a_result_that_makes_no_sense_is_refused(tmp_path, changes, message):
    root = make_results(tmp_path, **TWO)
    edit(a_run(root) / "result.json", **changes)
    with pytest.raises(ReportError, match=message):
        read(root)


def test_config_of_another_run_is_refused(tmp_path):
    root = make_results(tmp_path, **TWO)
    edit(a_run(root) / "config.json", seed=2)
    with pytest.raises(ReportError, match="another task, method or seed"):
        read(root)


def test_the_same_cell_twice_is_refused(tmp_path):
    root = make_results(tmp_path, **TWO)
    suite = json.loads((root / "suite.json").read_text())
    edit(root / "suite.json", runs=suite["runs"] + [suite["runs"][0] | {"run_id": "abc"}])
    with pytest.raises(ReportError, match="twice"):
        read(root)


def test_an_unfinished_last_line_is_skipped_and_said(tmp_path):
    root = make_results(tmp_path, **TWO)
    path = a_run(root) / "metrics.jsonl"
    whole = len(read(root).of("rte", "kd")[0].curve)
    path.write_bytes(path.read_bytes() + b'{"step": 65')
    results = read(root)
    assert len(results.of("rte", "kd")[0].curve) == whole
    assert any("unfinished line" in note for note in results.notes)
    path.write_bytes(b"{oops}\n" + path.read_bytes())
    with pytest.raises(ReportError, match="line 1"):
        read(root)


def test_files_that_are_not_there_are_noted(tmp_path):
    root = make_results(tmp_path, **TWO)
    (a_run(root) / "manifest.json").unlink()
    (a_run(root, seed=2) / "result.json").unlink()
    notes = " | ".join(read(root).notes)
    assert "has no manifest.json" in notes
    assert "has no result.json and is shown as missing" in notes


def test_digest_changes_with_a_result_and_with_nothing_else(tmp_path):
    root = make_results(tmp_path, **TWO)
    first = read(root).digest
    (root / "cache").mkdir()
    assert read(root).digest == first
    edit(a_run(root) / "result.json", steps=601)
    assert read(root).digest != first


def test_text_is_one_short_line_without_controls():
    assert text("a\x00b\u202ec\n d\t e") == "abc d e"
    assert text("x" * 1_000_000) == "x" * 299 + "…"
    assert text(None) == ""


@pytest.mark.parametrize("name", ["", "..", "a..b", "-a", ".a", "a b", "a/b", "é", "a" * 101, 3, None])
def test_slug_refuses(name):
    with pytest.raises(ReportError):
        slug(name, "here")


def test_parse_refuses_all_but_an_object():
    assert parse(b'{"a": 1}', "here") == {"a": 1}
    with pytest.raises(ReportError, match="not a JSON object"):
        parse(b"3", "here")
