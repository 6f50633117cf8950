"""Generated sentences and collated facts: the answer, warnings about the environment, costs, speed and gaps."""

import json
from pathlib import Path

import pytest
from scipy import stats

from reports.findings.environment import environment
from reports.findings.findings import findings
from reports.page.headline import headline
from reports.page.sections import costs, link, missing, selections
from reports.timing.headline_setting import in_words, latency, timing_for_figure
from reports.timing.matrix import depth, discarded, gain, matrix, memory, ratio, shape
from reports.timing.matrix import latency as words
from reports.words import duration, listed, millions, signed
from results.format.reader import read
from tests.report.make_results import MINILM, SYNTHETIC, make_results

FIXED = {
    ("rte", arm, seed): value
    for arm, values in {
        "kd": (64.0, 64.2, 63.6), "pkd": (66.0, 68.0, 67.0), "finetune": (68.1, 68.3, 69.2),
        "theseus": (66.1, 66.3, 66.5),
    }.items()
    for seed, value in enumerate(values, 1)
}  # fmt: skip
ONE_TASK = {"tasks": ("rte",), "scores": FIXED | {("rte", "predecessor", 1): 71.0}}


def answer(root: Path) -> str:
    return " ".join(headline(findings(read(root))))


def test_the_answer_sorts_rivals_by_the_verdicts_test(tmp_path):
    """An interval that excludes zero is not enough: the claims on RTE are one test each, and so is the answer."""
    root = make_results(tmp_path, **ONE_TASK)
    said, found = answer(root), findings(read(root))
    low, high = stats.ttest_1samp([2.1, 2.1, 2.9], 0).confidence_interval(0.95)
    assert f"It is above Vanilla KD (+2.4, 95 % interval +{low:.1f} to +{high:.1f}, 3 seeds, p 0.012)." in said
    assert "It is below Fine-tuning (−2.2" in said
    assert "It is not separated from BERT-PKD (−0.7" in said
    claim = next(v for v in found.verdicts if v.claim["id"] == "theseus-above-kd-tasks")
    assert claim.parts[0].p == found.decisions["rte", "theseus", "kd"].p
    assert "what is decided rests on normality" in said
    assert "On RTE, BERT-of-Theseus scores 66.3 (mean of 3 seeds, last checkpoint)" in said
    assert "93.4 % of the predecessor's 71.0 (the paper's numbers give 95.9 %)" in said
    assert "3 seeds are few" in said


def test_one_seed_decides_nothing(tmp_path):
    said = answer(make_results(tmp_path, tasks=("rte",), seeds=(1,)))
    assert "Nothing is decided against" in said
    assert "(one seed, last checkpoint)" in said
    assert "It is above" not in said
    assert "It is below" not in said


def test_six_seeds_are_not_called_few(tmp_path):
    assert "are few" not in answer(make_results(tmp_path, tasks=("rte",), seeds=range(1, 7)))


def test_no_overall_answer_while_theseus_has_no_whole_seed(tmp_path):
    outcomes = {("rte", "theseus", seed): "missing" for seed in (1, 2, 3)}
    assert "there is no overall answer" in answer(make_results(tmp_path, tasks=("cola", "rte"), outcomes=outcomes))


def test_a_rival_without_a_whole_seed_is_named(tmp_path):
    outcomes = {("rte", "kd", seed): "failed" for seed in (1, 2, 3)}
    assert "No seed has a score of both it and Vanilla KD on every task" in answer(
        make_results(tmp_path, tasks=("cola", "rte"), outcomes=outcomes)
    )


def test_no_theseus_arm_and_no_successor(tmp_path):
    results = read(make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,)))
    assert "No arm is a Theseus arm" in headline(findings(results))[-1]
    alone = read(make_results(tmp_path / "b", tasks=("rte",), arms=("predecessor",), seeds=(1,)))
    assert "No successor is planned" in headline(findings(alone))[0]


def test_the_papers_retention_stays_out_where_like_is_not_compared_with_like(tmp_path):
    for i, suite in enumerate((MINILM, SYNTHETIC)):
        said = answer(make_results(tmp_path / str(i), suite=suite, **ONE_TASK))
        assert "the paper's numbers" not in said
    assert "synthetic task" in said


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.25, "+1.2"), (-1.0, "−1.0"), (0.04, "+0.04"), (-0.04, "−0.04"), (0.0, "0.0"), (-0.001, "0.0"), (None, "")],
)
def test_signed(value, expected):
    assert signed(value) == expected


def test_listed():
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert listed(["a, b", "c", "d"]) == "a, b; c; and d"


UNEQUAL = {"determinism_probe": {"bit_equal": False, "steps": 4, "methods": {"kd": "loss of step 1"}}}


def changed(root: Path, task: str, arm: str, **changes) -> None:
    path = next((root / task / arm).glob("seed-1-*")) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_one_environment_warns_of_nothing(tmp_path):
    found = environment(read(make_results(tmp_path, tasks=("rte", "cola"), seeds=(1,))))
    assert found.warnings == ()
    assert dict((f.label, f.values) for f in found.fields)["Precision"] == (("bfloat16", 10),)
    assert found.started <= found.finished


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"device_name": "another"}, "device"),
        ({"device": {"device": "cuda", "precision": "float32", "threads": 8}}, "precision"),
        ({"packages": {"torch": "2.11.0"}}, "package torch"),
        ({"code_commit": "0"}, "code commit"),
        ({"lock_hash": "0"}, "lock hash"),
        ({"encoder_hash": "0"}, "encoder hash"),
        ({"code_hash": "0"}, "training code within one method"),
        ({"data_fingerprint": "0"}, "data within one task"),
        ({"code_dirty": True}, "uncommitted changes"),
        (UNEQUAL, "runs come from a machine where training did not repeat bit for bit"),
        (UNEQUAL, "kd: loss of step 1"),
    ],
)
def test_a_run_from_elsewhere_raises_a_banner(tmp_path, change, named):
    root = make_results(tmp_path, tasks=("rte",), seeds=(1, 2), arms=("kd", "theseus"))
    changed(root, "rte", "kd", **change)
    assert any(named in warning for warning in environment(read(root)).warnings)


def test_the_determinism_probe_is_told_in_words(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), seeds=(1,), arms=("kd", "pkd", "theseus"))
    changed(root, "rte", "kd", **UNEQUAL)
    changed(root, "rte", "pkd", determinism_probe={"bit_equal": True, "steps": 4, "methods": {"pkd": None}})
    told = dict((f.label, f.values) for f in environment(read(root)).fields)["Determinism probe"]
    words = {"not recorded", "bit-equal over 4 steps", "not bit-equal (kd: loss of step 1)"}
    assert {value for value, _ in told} == words


def test_different_code_for_different_methods_is_no_warning(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), seeds=(1,), arms=("kd", "theseus"))
    changed(root, "rte", "kd", code_hash="0")
    assert environment(read(root)).warnings == ()


def test_the_shown_timing_says_where_it_was_and_whether_it_is_decided(tmp_path):
    results = read(make_results(tmp_path, tasks=("rte",), seeds=(1,)))
    fast, slow = (in_words(condition) for condition in results.speed)
    assert (fast.decided, slow.decided) == (True, False)
    assert fast.setting == "bfloat16, sdpa attention, 8 threads, batch 32, length 128"


def test_latency_is_drawn_for_a_decided_condition_where_there_is_one(tmp_path):
    results = read(make_results(tmp_path, tasks=("rte",), seeds=(1,), speed_decided=False))
    assert timing_for_figure(results) == results.speed[:1]
    assert timing_for_figure(read(make_results(tmp_path / "b", tasks=("rte",), seeds=(1,), speed=False))) == ()


def test_costs(tmp_path):
    found = {c["arm"].name: c for c in costs(findings(read(make_results(tmp_path, tasks=("rte",), seeds=(1, 2)))))}
    assert found["theseus"]["fewer"] == 109_483_778 / 66_955_010
    assert (found["theseus"]["trainable"], found["kd"]["trainable"]) == (42_527_232, 66_955_010)
    assert found["predecessor"]["fewer"] is None
    assert (millions(42_527_232), millions(66_955_010), millions(None)) == ("42.53 M", "66.96 M", "")
    assert [duration(s) for s in (59.6, 119, 150, 7200)] == ["60 s", "119 s", "2.5 min", "2.0 h"]


def test_selection_shows_both_checkpoints(tmp_path):
    results = read(make_results(tmp_path, tasks=("rte", "cola"), seeds=(1, 2)))
    found = {s["arm"].name: s for s in selections(findings(results))}
    line = found["theseus"]
    assert line["evaluations"] == "12"
    assert line["gain"] == pytest.approx(line["selected"] - line["last"])
    assert line["gain"] > 0


def test_what_is_missing_is_listed(tmp_path):
    outcomes = {("rte", "kd", 1): "diverged", ("rte", "pkd", 1): "missing", ("rte", "pkd", 2): "missing"}
    results = read(make_results(tmp_path, tasks=("rte",), seeds=(1, 2), outcomes=outcomes, speed=False))
    lines = missing(findings(results))
    assert lines == [
        "RTE, Vanilla KD: seed 1 diverged (loss became nan at step 41)",
        "RTE, BERT-PKD: seeds 1, 2 not run yet",
        "No speed.json: inference was not timed",
    ]


def test_links_are_relative_and_lead_to_the_file(tmp_path):
    results = read(make_results(tmp_path / "re sults", tasks=("rte",), arms=("kd",), seeds=(1,)))
    output = tmp_path / "out"
    output.mkdir()
    found = link(results.root, results.runs[0], "config.json", output)
    assert found.startswith("../re%20sults/rte/kd/seed-1-")
    assert (output / found.replace("%20", " ")).resolve().is_file()


def test_a_suite_narrowed_to_one_task_is_answered_on_that_task(tmp_path):
    root = make_results(tmp_path, tasks=("cola", "rte"), speed=False)
    suite = json.loads((root / "suite.json").read_text())
    suite["runs"] = [run for run in suite["runs"] if run["task"] == "rte"]
    (root / "suite.json").write_text(json.dumps(suite))
    assert "On RTE, BERT-of-Theseus scores" in answer(root)
    assert read(root).left_out == 13


@pytest.mark.parametrize("value", [None, "x", True, [1, "a"], {"a": {}}, 1e308, -1])
def test_a_speed_file_of_any_shape_is_put_into_words(tmp_path, value):
    root = make_results(tmp_path, tasks=("rte",), arms=("predecessor", "theseus"), seeds=(1,))
    good = json.loads((root / "speed.json").read_text())
    for key in good["conditions"][0]:
        (root / "speed.json").write_text(
            json.dumps({"schema": 1, "conditions": [good["conditions"][0] | {key: value}]})
        )
        results = read(root)
        assert [len(found) for where in matrix(results).settings.values() for found in where.values()] == [1]
        (condition,) = results.speed
        said = [shape(condition), depth(condition), *ratio(condition)[:2], *gain(condition)[:2], discarded(condition)]
        said += [words(condition.predecessor), words(condition.successor), memory(condition.memory)]
        assert all(isinstance(each, str) for each in said)
        shown = timing_for_figure(results)
        assert all(0 < (latency(shown, arm) or 0.5) < 1 for arm in results.suite.arms)
