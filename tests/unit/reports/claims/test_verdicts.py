"""Claims become verdicts: order by the paired difference after Holm, ratios by equivalence, the rest not comparable."""

import numpy as np
import pytest
from scipy import stats

from reports import read
from reports.claims.matching import matched
from reports.claims.verdicts import verdicts
from reports.page.verdict_rows import absent_lines, by_task, flip_words, more_words, rows, to_csv
from reports.statistics.bootstrap import mean_estimate
from reports.statistics.cells import MACRO, Cells
from reports.statistics.differences import Differences, comparisons
from reports.statistics.intervals import Estimator
from reports.statistics.power import detectable_effect
from tests.report.make_results import MINILM, SCHEDULES, SYNTHETIC, TASKS, make_results

ALL = tuple(TASKS)


def compared(root, draws):
    return Differences(Estimator(Cells.of(read(root)), draws=draws))


def judged(root):
    found, absent = verdicts(compared(root, draws=500))
    return {v.claim["id"]: v for v in found}, {a.claim["id"]: a for a in absent}


def gaps(theseus, kd, tasks=ALL, predecessor=80.0):
    """Scores of one value for all tasks, a list over seeds for the two arms."""
    scores = {(t, "predecessor", 1): predecessor for t in tasks}
    for name, values in (("theseus", theseus), ("kd", kd)):
        scores |= {(t, name, seed): v for t in tasks for seed, v in enumerate(values, 1)}
    return scores


def folder(tmp_path, theseus, kd, tasks=ALL, **more):
    options = {"tasks": tasks, "arms": ("predecessor", "kd", "theseus"), "seeds": range(1, len(theseus) + 1)}
    return make_results(tmp_path, scores=gaps(theseus, kd, tasks), **(options | more))


def test_order_is_decided_by_the_paired_t_test_where_there_are_no_predictions(tmp_path):
    ours, theirs = [70.0, 71.0, 72.5, 71.2], [69.0, 69.5, 71.0, 70.1]
    found, _ = judged(folder(tmp_path, ours, theirs))
    part = found["theseus-above-kd-macro"].parts[0]
    test = stats.ttest_rel(ours, theirs)
    assert part.p == pytest.approx(test.pvalue)
    assert (part.low, part.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert (part.word, part.n, part.family, part.basis) == ("reproduced", 4, 1, "seeds")
    assert found["theseus-above-kd-macro"].label == ""
    assert flip_words(part) == "undecidable at this n (least 0.125)"


def test_below_is_refuted_and_near_is_undecided_with_a_number_of_seeds(tmp_path):
    low, _ = judged(folder(tmp_path / "low", [69.0, 69.5, 71.0], [70.0, 70.6, 72.1]))
    assert low["theseus-above-kd-macro"].word == "refuted"
    near, _ = judged(folder(tmp_path / "near", [70.0, 71.0, 69.0], [69.0, 69.0, 69.5]))
    part = near["theseus-above-kd-macro"].parts[0]
    values = np.array([1.0, 2.0, -0.5])
    assert part.word == "undecided"
    needed = part.n + part.more
    hit = stats.ttest_1samp(
        np.random.default_rng(0).normal(values.mean(), values.std(ddof=1), (20_000, needed)), 0, axis=1
    ).pvalue
    assert np.mean(hit < 0.05) == pytest.approx(0.81, abs=0.03)
    assert more_words(part) == f"a new suite with about {part.n + part.more} seeds, at the spread seen"


def test_each_task_is_decided_alone_with_holm_over_the_tasks(tmp_path):
    tasks = ("cola", "rte", "sst2")
    scores = gaps([70.0, 71.0, 72.5, 71.2], [69.0, 69.5, 71.0, 70.1], tasks)
    for seed, value in enumerate([50.0, 52.0, 49.0, 50.5], 1):
        scores["rte", "theseus", seed] = value
    for seed, value in enumerate([70.5, 70.0, 71.0, 70.9], 1):
        scores["sst2", "theseus", seed] = value
    root = make_results(tmp_path, tasks=tasks, arms=("predecessor", "kd", "theseus"), seeds=range(1, 5), scores=scores)
    verdict = judged(root)[0]["theseus-above-kd-tasks"]
    assert {part.title: part.word for part in verdict.parts} == {
        "CoLA": "same direction here", "RTE": "opposite direction here", "SST-2": "undecided",
    }  # fmt: skip
    assert (verdict.word, verdict.counts) == (
        "opposite direction here", "1 undecided, 1 same direction here, 1 opposite direction here",
    )  # fmt: skip
    assert verdict.label == "3 of its 8 tasks"
    raw = sorted(part.raw_p for part in verdict.parts)
    adjusted = sorted(part.p for part in verdict.parts)
    assert adjusted[0] == pytest.approx(3 * raw[0])
    assert {part.family for part in verdict.parts} == {3}
    assert [part.published for part in verdict.parts] == [6.0, 3.3, 1.0]


def test_macro_claims_are_one_family(tmp_path):
    root = make_results(tmp_path, tasks=ALL, seeds=(1, 2, 3))
    found, _ = judged(root)
    macros = [v.parts[0] for name, v in found.items() if name.endswith("-macro")]
    assert len(macros) == 3
    assert {part.family for part in macros} == {3}
    best = min(macros, key=lambda part: part.raw_p)
    assert best.p == pytest.approx(min(1, 3 * best.raw_p))


@pytest.mark.parametrize(("share", "word"), [(0.984, "reproduced"), (0.95, "refuted"), (0.9745, "undecided")])
def test_retention_by_equivalence(tmp_path, share, word):
    kept = [80.0 * share + d for d in (-0.2, 0.1, 0.2, -0.1)]
    found, _ = judged(folder(tmp_path, kept, kept))
    verdict = found["retention-dev"]
    assert verdict.word == word
    part = verdict.parts[0]
    assert part.mean == pytest.approx(share)
    ratios = np.array(kept) / 80
    low = stats.ttest_1samp(ratios, 0.974, alternative="greater").pvalue
    high = stats.ttest_1samp(ratios, 0.994, alternative="less").pvalue
    outside = stats.ttest_1samp(ratios, 0.974, alternative="less").pvalue
    assert part.p == pytest.approx(outside if word == "refuted" else max(low, high))  # the p that decided


def test_another_encoder_has_directions_and_no_values(tmp_path):
    found, absent = judged(make_results(tmp_path, tasks=ALL, suite=MINILM, manifest={"predecessor": "0" * 16}))
    order = found["theseus-above-finetune-macro"]
    assert order.reasons == ("another encoder (MiniLM-L6-H384-uncased)", "6 to 3 layers, not 12 to 6")
    assert order.given == ("given one shared predecessor",)
    assert order.word in ("same direction here", "opposite direction here", "undecided")
    assert found["retention-dev"].word == "not comparable"
    assert found["retention-dev"].parts[0].mean is not None
    assert found["speed-up-6-layers"].word == "not comparable"
    assert "theseus-above-finetune-3-layers-macro" in absent  # 3 of 6 layers is half, and no quarter


def test_a_made_up_language_has_directions_and_no_number_of_the_paper(tmp_path):
    found, absent = judged(make_results(tmp_path, tasks=("cola", "rte", "sst2"), suite=SYNTHETIC))
    assert set(found) == {"theseus-above-finetune-macro", "theseus-above-kd-macro", "theseus-above-pkd-macro"}
    for verdict in found.values():
        assert verdict.label.startswith("a synthetic language, not GLUE; another encoder (toy-encoder); 4 to 2 layers")
        assert verdict.word in ("same direction here", "opposite direction here", "undecided")
        assert verdict.parts[0].published is None
    assert absent["retention-dev"].why == "a value, and the language here is made up"


def test_a_macro_over_fewer_tasks_is_directional(tmp_path):
    found, _ = judged(make_results(tmp_path))
    assert found["theseus-above-kd-macro"].reasons == ("macro over 4 of the 8 tasks",)
    assert found["retention-dev"].word == "not comparable"
    assert found["theseus-above-kd-tasks"].reasons == ("4 of its 8 tasks",)


def test_speed_up_is_decided_by_condition(tmp_path):
    found, _ = judged(make_results(tmp_path, tasks=ALL))
    verdict = found["speed-up-6-layers"]
    assert [part.word for part in verdict.parts] == ["reproduced", "undecided"]
    assert verdict.word == "undecided"
    assert [part.n for part in verdict.parts] == [60, 60]
    root = make_results(tmp_path / "none", tasks=ALL, speed=False)
    assert judged(root)[1]["speed-up-6-layers"].why == "inference was not timed at this depth"


def test_parameters_are_counted(tmp_path):
    part = judged(make_results(tmp_path, tasks=ALL))[0]["parameters-6-layers"].parts[0]
    assert part.word == "reproduced"
    assert part.mean == pytest.approx(109_483_778 / 66_955_010)


def test_schedules_are_matched_by_their_rows(tmp_path):
    root = make_results(
        tmp_path, tasks=ALL, arms=("predecessor", *SCHEDULES), arm_changes=SCHEDULES, suite={"table": 6}
    )
    found, absent = judged(root)
    assert {"curriculum-above-constant-macro", "curriculum-above-constant-tasks", "constant-above-anti-macro"} <= set(
        found
    )
    assert absent["theseus-above-kd-macro"].why == "no arm is BERT-of-Theseus with 6 of 12 layers"


def test_the_method_itself_stands_for_its_curriculum(tmp_path):
    changes = {"constant": {"method": "theseus", "published": "Constant"}}
    root = make_results(tmp_path, tasks=ALL, arms=("constant", "theseus"), arm_changes=changes)
    assert [arm.name for arm in judged(root)[0]["curriculum-above-constant-macro"].arms] == ["theseus", "constant"]


def test_depths_stand_for_their_share(tmp_path):
    suite = read(make_results(tmp_path, tasks=("rte",), suite=MINILM | {"successor_layers": 3})).suite
    assert matched(suite, "BERT-of-Theseus", 6).layers == 3
    assert matched(suite, "BERT-base", 12).layers == 6
    assert matched(suite, "BERT-of-Theseus", 4) is None
    other = MINILM | {"encoder": {"layers": 24}, "successor_layers": 8}
    suite = read(make_results(tmp_path / "b", tasks=("rte",), suite=other)).suite
    assert matched(suite, "BERT-of-Theseus", 4).layers == 8
    assert matched(suite, "BERT-of-Theseus", 6).layers == 8  # no arm has half
    like = read(make_results(tmp_path / "c", tasks=("rte",))).suite
    assert matched(like, "BERT-of-Theseus", 6).layers == 6
    assert matched(like, "BERT-of-Theseus", 4) is None


def test_one_seed_is_undecidable(tmp_path):
    found, _ = judged(folder(tmp_path, [70.0], [69.0]))
    part = found["theseus-above-kd-macro"].parts[0]
    assert (part.word, part.p, more_words(part)) == (
        "undecided", None, "undecidable at this n: one seed has no spread",
    )  # fmt: skip


@pytest.mark.parametrize(("status", "says"), [("missing", "3 of 3 registered seeds are still to run"),
                                              ("diverged", "no seed has a score of both")])  # fmt: skip
def test_a_planned_claim_without_any_score_is_undecided_and_not_left_out(tmp_path, status, says):
    gone = {(task, "theseus", seed): status for task in ALL for seed in (1, 2, 3)}
    found, absent = judged(make_results(tmp_path, tasks=ALL, outcomes=gone))
    claim = found["theseus-above-kd-macro"]
    assert (claim.word, says in claim.parts[0].sentence) == ("undecided", True)
    assert ("diverged at 1, 2 and 3" in claim.parts[0].decision.left_out) == (status == "diverged")
    assert absent["retention-test"].why == "needs the test server"


def test_rows_and_csv_hold_every_claim(tmp_path):
    found, absent = verdicts(compared(make_results(tmp_path, tasks=ALL), draws=200))
    assert len(found) + len(absent) == 24
    assert len(rows(found)) == 3 + 1 + 2 + 1
    assert [len(line["cells"]) for line in by_task(found)] == [8, 8, 8]
    text = to_csv(found, absent)
    assert text.count("\n") == 1 + sum(len(v.parts) for v in found) + len(absent)
    assert len({line.count(",") for line in text.splitlines() if '"' not in line}) == 1
    assert any(line.startswith("no arm is LayerDrop") for line in absent_lines(absent))


PREDICTED = {"tasks": ("cola", "rte", "stsb"), "seeds": (1, 2, 3), "predictions": True, "speed": False}


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    return compared(make_results(tmp_path_factory.mktemp("predicted"), **PREDICTED), draws=4000)


def test_joint_interval_is_wider_than_the_seeds_alone_say(predicted):
    both = predicted.of("rte", "theseus", "kd")
    plain, estimate = mean_estimate(np.array(both.values)), both.estimate
    assert (plain.basis, both.basis) == ("seeds", "seeds and examples")
    assert plain.mean == both.mean
    assert both.detectable > detectable_effect(plain.sd, 0.0, 3) * 0.9
    assert estimate.mean == pytest.approx(both.mean)
    assert estimate.seed_part == pytest.approx(plain.sd**2 / 3)
    assert both.low == pytest.approx(estimate.interval()[0])


def test_joint_difference_by_hand(predicted):
    """The covariance of two seeds' differences, as the closed form of a bootstrap of means gives it."""
    estimator = predicted.estimator
    answers = estimator.answers["rte"]
    right = {
        arm: np.array([answers.given[arm][s] == answers.labels for s in (1, 2, 3)], float) for arm in ("theseus", "kd")
    }
    cov = 1e4 * np.cov(right["theseus"] - right["kd"], ddof=0) / len(answers.labels)
    off = (cov.sum() - np.trace(cov)) / 6
    found = estimator.difference("rte", "theseus", "kd")
    floor = cov.sum() / 9 - found.seed_part  # the mean of three answers varies at least so much over dev sets
    assert found.example_part == pytest.approx(max(0, off, floor), rel=0.1, abs=0.1)


def test_shared_predecessor_is_resampled_with_the_rest(predicted):
    estimator = predicted.estimator
    answers = estimator.answers["rte"]
    deep = answers.given["predecessor"][1] == answers.labels
    ours = np.array([answers.given["theseus"][s] == answers.labels for s in (1, 2, 3)], float)
    cov = 1e4 * np.cov(ours - deep, ddof=0) / len(deep)
    found = estimator.difference("rte", "theseus", "predecessor")
    floor = cov.sum() / 9 - found.seed_part
    assert found.example_part == pytest.approx(max((cov.sum() - np.trace(cov)) / 6, floor), rel=0.1)
    assert found.n == 3
    ratio = estimator.ratio(MACRO, "theseus", "predecessor")
    single = next(iter(predicted.cells.at(MACRO, "predecessor").scores.values()))
    values = list(predicted.cells.at(MACRO, "theseus").scores.values())
    assert ratio.mean == pytest.approx(np.mean(values) / single)


def test_macro_draws_tasks_apart_and_seeds_together(predicted):
    estimator = predicted.estimator
    found = estimator.difference(MACRO, "theseus", "kd")
    parts = [estimator.difference(task, "theseus", "kd") for task in ("cola", "rte", "stsb")]
    assert found.example_part == pytest.approx(sum(p.example_part for p in parts) / 9, rel=0.15, abs=0.02)
    assert found.seed_part == pytest.approx(predicted.of(MACRO, "theseus", "kd").sd ** 2 / 3)
    assert estimator.score("rte", "predecessor") is None  # one run has no spread


def test_a_cell_without_all_predictions_falls_back_to_the_seeds(tmp_path):
    root = make_results(tmp_path, **PREDICTED)
    next(root.glob("rte/kd/seed-2-*/predictions.parquet")).unlink()
    found = {(d.arm, d.task): d.basis for d in comparisons(compared(root, draws=300))}
    assert found["kd", "rte"] == found["kd", MACRO] == "seeds"
    assert found["kd", "cola"] == found["pkd", MACRO] == "seeds and examples"


def test_verdicts_rest_on_the_mean_estimate(predicted):
    found = {v.claim["id"]: v for v in verdicts(predicted)[0]}
    part = next(p for p in found["theseus-above-kd-tasks"].parts if p.title == "RTE")
    assert part.basis == "seeds and examples"
    assert part.raw_p == pytest.approx(predicted.of("rte", "theseus", "kd").estimate.p())
    assert part.bootstrap is not None
