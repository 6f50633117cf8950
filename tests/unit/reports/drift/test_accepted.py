"""What `accept` freezes: the baseline file, what it refuses, and the margins that follow the accepted spread."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reports import ReportError, read
from reports.drift import baseline
from reports.drift.baseline import NoBaseline, checksum, load_baseline
from reports.drift.compare import compare
from reports.drift.margins import advice, read_margins
from reports.drift.snapshot import snapshot
from tests.report.make_drift import (
    ARMS,
    EIGHT,
    ELSEWHERE,
    SEEDS,
    TASKS,
    cell,
    checked,
    freeze,
    made,
    save_predictions,
    shifted,
    write_baseline,
)
from tests.report.make_results import score

# The baseline file


def test_what_is_frozen_is_what_is_read_back(tmp_path, accepted):
    folder = tmp_path / "accepted"
    save_predictions(folder)
    write_baseline(folder, accepted, {"rte": 3.5})
    loaded, fresh = load_baseline(accepted), snapshot(read(folder))
    assert loaded.margins == {"cola": 2.0, "rte": 3.5}
    assert loaded == replace(fresh, margins=loaded.margins, macro_margin=loaded.macro_margin)
    run = json.loads(accepted.read_text())["cells"][2]["runs"][0]
    assert set(run) >= {"seed", "run_id", "score", "steps", "result_sha256", "predictions_sha256", "outputs_sha256"}
    facts = loaded.cells["rte", "kd"].outcomes[1].facts
    assert facts["package.torch"] == "2.13.0"
    assert {"code_commit", "code_hash", "lock_hash", "device_name", "device.threads", "device.precision", "python",
            "platform", "data_fingerprint", "encoder_hash", "setting.training.learning_rate"} <= set(facts)  # fmt: skip


def test_throughput_is_a_ratio_to_fine_tuning_with_the_same_seed(tmp_path):
    results = read(made(tmp_path / "r"))
    kd, base = ({r.seed: r.examples_per_second for r in results.of("rte", arm)} for arm in ("kd", "finetune"))
    found = snapshot(results).cells["rte", "kd"].throughput
    assert found == {seed: pytest.approx(kd[seed] / base[seed], abs=1e-4) for seed in SEEDS}
    assert snapshot(results).cells["rte", "finetune"].throughput == {}


@pytest.mark.parametrize("status", ["missing", "failed"])
def test_incomplete_results_are_not_accepted_and_the_gap_is_named(tmp_path, status):
    folder = made(tmp_path / "r", outcomes={("rte", "kd", 3): status})
    with pytest.raises(ReportError, match=rf"rte kd seed 3 \({status}\)"):
        freeze(read(folder))


def test_a_diverged_run_is_accepted_as_one(tmp_path):
    path = write_baseline(made(tmp_path / "r", outcomes={("rte", "kd", 3): "diverged"}), tmp_path / "b.json")
    outcome = load_baseline(path).cells["rte", "kd"].outcomes[3]
    assert (outcome.status, outcome.score) == ("diverged", None)
    found = checked(tmp_path / "r", path)
    assert found.verdict == "pass"
    again = compare(load_baseline(path), snapshot(read(made(tmp_path / "mended"))))
    assert "had diverged" in " ".join(cell(again, "rte", "kd").notes)


def edited(text):
    value = json.loads(text)
    value["cells"][0]["runs"][0]["score"] += 1
    return json.dumps(value)


def other_schema(text):
    return json.dumps({**json.loads(text), "schema": 2})


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda text: text[: len(text) // 2], ReportError, "not readable as JSON"),
        (edited, ReportError, "does not match its checksum"),
        (lambda text: text.replace('"checksum"', '"checksun"'), ReportError, "does not match its checksum"),
        (lambda text: "{}", ReportError, "is not an accepted baseline"),
        (other_schema, NoBaseline, "schema 2"),
    ],
)
def test_a_damaged_baseline_is_refused_in_one_line(accepted, damage, error, words):
    accepted.write_text(damage(accepted.read_text()))
    with pytest.raises(error, match=words) as refused:
        load_baseline(accepted)
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, NoBaseline) == (error is NoBaseline)


def test_a_forged_checksum_does_not_get_hostile_names_in(accepted):
    value = json.loads(accepted.read_text())
    value["cells"][0]["arm"] = "../../etc"
    value["checksum"] = checksum(value)
    accepted.write_text(json.dumps(value))
    with pytest.raises(ReportError, match="not a plain name"):
        load_baseline(accepted)


def test_layout_does_not_matter_to_the_checksum(accepted):
    accepted.write_text(json.dumps(json.loads(accepted.read_text()), sort_keys=True))
    assert load_baseline(accepted).suite == "glue"


def test_broken_predictions_are_one_line(tmp_path):
    folder = made(tmp_path / "r")
    path = next(folder.glob("rte/kd/*/result.json")).parent / "predictions.parquet"
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(ReportError, match="cannot be read as predictions"):
        snapshot(read(folder))


@pytest.mark.parametrize(
    ("given", "words"), [("rte=x", "write TASK=POINTS"), ("sst2=1", "no such task"), ("-1", "0 to")]
)
def test_margins_are_checked(tmp_path, given, words):
    results = read(made(tmp_path / "r", seeds=(1,)))
    with pytest.raises(ReportError, match=words):
        freeze(results, read_margins([given], results))
    assert read_margins(["4", "rte=1"], results) == {"cola": 4.0, "rte": 1.0}


# Margins from the accepted spread


def test_the_macro_margin_follows_the_accepted_spread_and_can_be_set(tmp_path):
    def frozen(name, width):
        scores = {(t, a, s): 60 + width * (-1) ** s for t in TASKS for a in ARMS for s in SEEDS}
        return freeze(read(made(tmp_path / name, scores=scores)))

    calm, wild = frozen("calm", 0.2), frozen("wild", 4.0)
    assert calm["macro"] == {"tasks": ["cola", "rte"], "margin": 1.0, "spread": pytest.approx(0.2191, abs=1e-4)}
    assert wild["macro"]["margin"] == 2.0  # the mean of the tasks' margins is the most
    assert wild["spread"] == {"cola": pytest.approx(4.3818), "rte": pytest.approx(4.3818)}
    results = read(tmp_path / "wild")
    given = freeze(results, read_margins(["5", "macro=0.5"], results))
    assert (given["margins"], given["macro"]["margin"]) == ({"cola": 5.0, "rte": 5.0}, 0.5)


def test_accept_says_how_many_seeds_a_margin_needs(tmp_path):
    """Held against the noncentral t distribution: three arms share their spread, and borrow at most 20 degrees."""
    found = baseline.accepted(read(made(tmp_path / "r", tasks=EIGHT)))
    said = advice(found)
    (line,) = (line for line in said if line.startswith("rte: "))
    sd, needed, n, can = re.search(r"by ([\d.]+) .* needs (\d+) seeds; with (\d+) seeds ([\d.]+) can", line).groups()
    spread = np.mean([np.var([score("rte", a, s) for s in SEEDS], ddof=1) for a in ARMS[1:]]) ** 0.5
    assert (float(sd), int(n)) == (pytest.approx(spread, abs=0.005), 6)

    def passes(seeds, margin):
        df = min(3 * (seeds - 1), seeds - 1 + 20)
        return stats.nct.sf(stats.t.ppf(0.95, df), df, margin * math.sqrt(seeds / 2) / spread)

    assert passes(int(needed) - 1, 2.0) < 0.9 <= passes(int(needed), 2.0)
    assert passes(6, float(can) - 0.1) < 0.9 <= passes(6, float(can))
    assert said[-1].startswith("macro of each arm: ")
    assert len(said) == 9


def test_a_baseline_of_before_is_read_and_gets_the_margin_that_it_would_have_now(tmp_path, accepted):
    value = json.loads(accepted.read_text())
    margin = value["macro"]["margin"]
    del value["macro"], value["spread"]
    value["checksum"] = checksum(value)
    accepted.write_text(json.dumps(value))
    found = checked(made(tmp_path / "now", scores=shifted("rte", "kd", -0.2), manifest=ELSEWHERE), accepted)
    assert {m.margin for m in found.macros} == {margin}
    assert {m.tasks for m in found.macros} == {TASKS}
