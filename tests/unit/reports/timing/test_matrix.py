"""Inference timing on the page and in Markdown: old files, variants, refusals, dev scores, the paper's claims."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from reports import render
from reports.drift.speed import compare_speed
from reports.timing.headline_setting import timing_for_figure
from reports.timing.markdown import publish
from reports.timing.matrix import claims, discarded, gain, latency, matrix, memory, ratio, shape, variant_of
from results.format.errors import ReportError
from results.format.reader import read
from results.format.records import Condition
from tests.report.make_results import SYNTHETIC, make_results

ONE = {"tasks": ("rte",), "arms": ("predecessor", "theseus"), "seeds": (1,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("variants"), **ONE, speed_variants=True)


def test_a_file_of_before_there_were_variants_is_shown_as_eager(tmp_path):
    found = matrix(read(make_results(tmp_path, **ONE)))
    gpu, cpu = found.settings.values()
    assert (list(gpu), list(cpu)) == (["Eager, bfloat16 autocast"], ["Eager, float32"])
    (row,) = gpu["Eager, bfloat16 autocast"]
    assert ratio(row) == ("1.97×", "1.95 to 1.99", True)
    assert latency(row.predecessor) == "12.10 · 12.40 · 13.10"
    assert (gain(row).ratio, memory(row.memory), discarded(row)) == ("", "", "")
    assert not ratio(cpu["Eager, float32"][0]).decided
    assert (found.gains, found.memory, found.incomplete) == (False, False, False)
    assert found.refused == found.dev_scores == found.agreement == []


def test_every_thread_count_is_a_table_and_every_variant_a_group(folder):
    found = matrix(read(folder))
    assert list(found.settings)[1:] == ["2-core CPU, 1 thread, sdpa attention", "2-core CPU, 2 threads, sdpa attention"]
    one = found.settings["2-core CPU, 1 thread, sdpa attention"]
    assert list(one) == [
        "Eager, float32", "Eager, bfloat16 autocast", "torch.compile, float32", "ONNX Runtime, float32",
    ]  # fmt: skip
    row = next(row for row in one["Eager, bfloat16 autocast"] if "8 × dev" in shape(row))
    assert shape(row) == "8 × dev (rte, median 97)"
    assert ratio(row)[::2] == ("1.95×", True)
    assert gain(row) == ("2.73×", "2.53 to 2.93", False)
    assert (memory(row.memory), discarded(row)) == ("489 · 317", "2 discarded")
    assert {gain(row).ratio for row in one["Eager, float32"]} == {""}


def test_what_was_refused_and_what_rounding_costs_is_said(folder):
    found = matrix(read(folder))
    (refused,) = found.refused
    assert refused.startswith("ONNX Runtime, dynamic int8, 12 to 6 layers, cpu, 1 thread(s): the successor's logits")
    scored, none = found.dev_scores
    assert (scored.eager, scored.score, scored.drop, scored.examples) == ("66.10", "65.70", "+0.40", "277")
    assert (none.score, none.reason) == ("", "no run kept fine-tuned weights of this model")
    assert (
        "Eager, bfloat16 autocast: logits at most 2.4e-06 from eager float32, the same answer on at least 100.0 %"
        in (" ".join(found.agreement))
    )


def test_the_page_holds_every_table(folder):
    html = render(folder).read_text(encoding="utf-8")
    for said in (
        "2-core CPU, 2 threads, sdpa attention: 24 conditions", "ONNX Runtime, float32", "8 × dev (rte, median 97)",
        "Not timed:", "up to 50 % would be timed", "Variant that rounds", "12 to 4 layers: 2.82×",
    ):  # fmt: skip
        assert said in html, said


def test_the_papers_claims_stand_beside_the_same_share_of_layers(folder, tmp_path):
    six, four, three = matrix(read(folder)).claims
    assert six.paper == "12 to 6 layers: 1.94×"
    assert "Eager, float32, 12 to 6 layers: 1.95× to 2.00× in 12 of 12 conditions" in six.ours
    assert four.ours == three.ours == []
    assert matrix(read(make_results(tmp_path, **ONE, suite=SYNTHETIC))).claims == []
    halved = [Condition(predecessor_layers=6, successor_layers=3, ratio=1.8, decided=False)]
    assert claims(halved)[0].ours == ["Eager, float32, 6 to 3 layers: undecided in 1 condition"]
    assert claims([Condition(predecessor_layers=6, successor_layers=5, ratio=1.1, decided=True)]) == []


def test_only_plain_execution_stands_beside_scores(folder):
    assert {variant_of(condition) for condition in timing_for_figure(read(folder))} <= {"eager", "bfloat16"}


def test_drift_compares_a_variant_with_itself(folder):
    now = read(folder).speed
    slower = [replace(c, ratio=c.ratio / 2, ratio_low=c.ratio_low / 2, ratio_high=c.ratio_high / 2) for c in now]
    onnx = [i for i, c in enumerate(now) if c.variant == "onnx"]
    found = compare_speed(now, [slower[i] if i in onnx else c for i, c in enumerate(now)])
    assert [i for i, one in enumerate(found) if one.drift] == onnx
    assert found[onnx[0]].condition.endswith("onnx")


@pytest.mark.parametrize("value", [None, "x", 3, [1], [{}], [{"reason": None}], [{"variant": [], "layers": {}}]])
@pytest.mark.parametrize("key", ["refused", "dev_scores", "complete", "weights"])
def test_what_stands_beside_conditions_is_shown_or_refused_in_one_line(tmp_path, folder, key, value):
    root = make_results(tmp_path, **ONE)
    document = json.loads((folder / "speed.json").read_text())
    (root / "speed.json").write_text(json.dumps(document | {key: value}))
    told = "speed.json"
    with contextlib.suppress(ReportError):
        try:
            matrix(read(root))
            publish(root, tmp_path / "out")
        except ReportError as error:
            told = str(error)
            raise
    assert "speed.json" in told
    assert "\n" not in told


def test_a_copy_to_keep_has_the_machine_in_words_and_no_derived_numbers(folder, tmp_path):
    path = publish(folder, tmp_path / "kept", "2 cores of something")
    document = json.loads((tmp_path / "kept" / "speed.json").read_text())
    assert {condition["device_name"] for condition in document["conditions"]} == {"2 cores of something"}
    assert not any("ratios" in condition for condition in document["conditions"])
    text = path.read_text(encoding="utf-8")
    assert "## 2 cores of something, 1 thread, sdpa attention" in text
    assert "| Eager, bfloat16 autocast | 8 × dev (rte, median 97) | 12 to 6 | 1.95× | 1.94 to 1.96 | (2.73×) |" in text
    for heading in ("Agreement with", "Not timed", "Dev scores of", "The paper's speed-ups"):
        assert f"## {heading}" in text
    with pytest.raises(ReportError, match=r"no speed\.json"):
        publish(make_results(tmp_path / "none", **ONE, speed=False), tmp_path / "kept")
