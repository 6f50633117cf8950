"""`python -m benchmarks speed` on small real models: every variant, stored weights, dev lengths, and what it keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.speed.variants import SAME_ANSWERS
from benchmarks.suites.speed import VARIANTS
from tests import tiny
from tests.command import cli

pytestmark = pytest.mark.slow
SMALL = "min_rounds=5, max_rounds=6, batch_sizes=[2], lengths=[8]"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    return tiny.save_suite(folder, tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte"))


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a predecessor and one successor that was kept."""
    results = tmp_path_factory.mktemp("results") / "tiny"
    arguments = ("--methods", "predecessor,finetune", "--seeds", "1", "--set", "keep_successors=true")
    assert cli("run", inputs, "--results", results, "--workers", "1", *arguments) == 0
    return results


def timed(inputs: Path, results: Path, *arguments: object) -> dict:
    assert cli("speed", inputs, "--results", results, "--set", "keep_successors=true", *arguments) == 0
    return json.loads((results / "speed.json").read_text())


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_every_variant_is_checked_timed_and_scored(inputs, finished, tmp_path, capfd):
    speed = 'speed={batch_sizes=[2], lengths=[8, "dev"], threads=[1, 2], devices=["cpu", "cuda"], min_rounds=5, '
    speed += f"max_rounds=6, variants={list(VARIANTS)}}}"
    document = timed(inputs, finished, "--set", speed, "--output", tmp_path / "kept", "--machine", "a test machine")
    found = document["conditions"]
    assert [(c["threads"], c["length"], c["variant"]) for c in found] == [
        (threads, length, variant) for threads in (1, 2) for length in (8, "dev") for variant in VARIANTS
    ]
    for c in found:
        assert c["rounds"] + c["discarded"]["clock_gaps"] + c["discarded"]["outliers"] == 6
        assert (c["agreement"] is None) is (c["variant"] == "eager")
        assert c["memory"]["predecessor"]["weights_bytes"] > c["memory"]["successor"]["weights_bytes"]
        assert ("dev_lengths" in c) is (c["length"] == "dev")
        assert c["rounds"] < 5 or c["over_eager"]["ratio"] > 0  # too few are left where the machine is busy
    assert found[-1]["dev_lengths"]["examples"] == 277
    assert [one["reason"] for one in document["refused"]] == ["torch sees no CUDA device here"]
    assert len(document["dev_scores"]) == 4
    for score in document["dev_scores"]:
        assert score["examples"] == 277
        assert score["drop"] == pytest.approx(score["eager_score"] - score["score"])
    result = json.loads(next(finished.glob("rte/finetune/*/result.json")).read_text())
    assert document["dev_scores"][-1]["eager_score"] == pytest.approx(result["last"]["score"])
    assert "| ONNX Runtime, dynamic int8 | 2 × dev (rte" in (tmp_path / "kept" / "speed.md").read_text()
    assert cli("report", finished) == 0
    assert "not timed: device cuda" in capfd.readouterr().err


def test_without_stored_weights_the_score_is_null_and_says_why(inputs, tmp_path):
    document = timed(inputs, tmp_path, "--set", f'speed={{{SMALL}, variants=["eager", "bfloat16"]}}')
    assert set(document["weights"].values()) == {"pretrained, head not trained"}
    assert {score["score"] for score in document["dev_scores"]} == {None}
    assert all("keep_successors = true" in score["reason"] for score in document["dev_scores"])


def test_a_variant_beyond_its_tolerance_is_refused_and_the_rest_is_timed(inputs, finished, monkeypatch, capfd):
    monkeypatch.setitem(SAME_ANSWERS, "bfloat16", 1.1)
    document = timed(inputs, finished, "--set", f'speed={{{SMALL}, variants=["eager", "bfloat16"]}}')
    assert {condition["variant"] for condition in document["conditions"]} == {"eager"}
    (refused,) = document["refused"]
    assert refused["variant"] == "bfloat16"
    assert "the predecessor answers as eager float32 does on" in refused["reason"]
    assert "not timed: " in capfd.readouterr().err


def test_a_whole_matrix_is_not_replaced_by_the_suites_small_timing(inputs, finished, monkeypatch):
    monkeypatch.setattr("benchmarks.cli.experiment.MATRIX", f'speed={{{SMALL}, variants=["eager", "bfloat16"]}}')
    narrow = ("--set", "speed.max_rounds=5")
    assert timed(inputs, finished, "--matrix", *narrow)["conditions"][0]["rounds"] == 5
    before = (finished / "speed.json").read_text()
    trained = 'arms={finetune={method="finetune", title="Fine-tuning"}}'
    own = ("keep_successors=true", f"speed={{{SMALL}}}", "seeds=[1]", trained)
    assert cli("reproduce", inputs, "--results", finished, *(part for key in own for part in ("--set", key))) == 0
    assert (finished / "speed.json").read_text() == before


def test_an_interrupted_measurement_keeps_what_it_has_and_is_measured_again(inputs, tmp_path, monkeypatch, capfd):
    from benchmarks.speed import measure

    timed, count = measure.time_variants, iter(range(9))

    def interrupted(*arguments: object) -> dict:
        if next(count) == 1:
            raise KeyboardInterrupt
        return timed(*arguments)

    monkeypatch.setattr(measure, "time_variants", interrupted)
    own = "speed={min_rounds=5, max_rounds=6, batch_sizes=[1, 2], lengths=[8]}"
    assert cli("speed", inputs, "--results", tmp_path, "--set", own) == 75
    document = json.loads((tmp_path / "speed.json").read_text())
    assert (len(document["conditions"]), document["complete"], document["key"]) == (1, False, None)
    assert cli("report", tmp_path) == 0
    assert "The timing was interrupted" in (tmp_path / "report" / "report.html").read_text()
