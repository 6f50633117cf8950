"""Accepted baselines and the comparison with them, on made-up results folders: verdicts and attribution."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from reports import ReportError, read
from reports.drift.output import lines
from tests.report.make_drift import (
    ARMS,
    EIGHT,
    ELSEWHERE,
    SEEDS,
    TASKS,
    cell,
    change_manifests,
    checked,
    freeze,
    made,
    noisy,
    rewrite,
    save_predictions,
    shifted,
    write_baseline,
)
from tests.report.make_results import run_id, score

# Verdicts


def test_unchanged_results_pass_bit_equal(tmp_path, accepted):
    found = checked(tmp_path / "accepted", accepted)
    assert (found.verdict, found.exit_code, found.family) == ("pass", 0, 0)
    assert all(c.bits and c.bits_expected and c.causes == () for c in found.cells)
    assert lines(found)[-1] == "glue: pass: no arm fell by its margin, and no cell drifted (8 unchanged)"


def test_a_fall_is_drift_and_the_code_is_named(tmp_path, accepted):
    folder = made(tmp_path / "now", scores=shifted("rte", "kd", -8))
    change_manifests(folder, "*/kd", code_hash="bad" * 20, code_commit="another")
    found = checked(folder, accepted)
    assert (found.verdict, found.exit_code) == ("drift", 1)
    fallen = cell(found, "rte", "kd")
    assert (fallen.verdict, fallen.causes) == ("drift", ("code",))
    assert fallen.changed[0].words == "code c0de -> badbadbadbad"
    assert fallen.judged.adjusted < 0.05
    assert cell(found, "cola", "kd").verdict == "pass"  # the same code change, and its bits are what they were
    assert [c.name for c in found.cells if not c.bits] == ["rte kd"]
    assert "changed with it: code (c0de -> badbadbadbad)" in lines(found)[0]


def test_a_commit_alone_explains_nothing(tmp_path, accepted):
    folder = made(tmp_path / "now", scores=shifted("rte", "kd", -8), manifest={"code_commit": "another"})
    fallen = cell(checked(folder, accepted), "rte", "kd")
    assert fallen.causes == ("nothing",)
    assert fallen.why == "fell by the margin, and nothing recorded changed"


def test_an_unexplained_fall_needs_no_test(tmp_path):
    """One seed cannot be tested; on one machine and lock it has to repeat all the same."""
    path = write_baseline(made(tmp_path / "a", seeds=(1,)), tmp_path / "b.json")
    fallen = {("rte", "kd", 1): score("rte", "kd", 1) - 2.5}
    assert checked(made(tmp_path / "same", seeds=(1,), scores=fallen), path).exit_code == 1
    elsewhere = made(tmp_path / "elsewhere", seeds=(1,), scores=fallen, manifest={"device_name": "another"})
    found = checked(elsewhere, path)
    assert found.exit_code == 3
    assert "more seeds are needed for a spread" in lines(found)[0]


@pytest.mark.parametrize(
    ("moved", "stored", "passes"), [(1e-12, True, True), (1e-6, True, False), (1e-12, False, False)]
)
def test_equal_predictions_are_equal_bits_whatever_the_last_digit_of_their_score(tmp_path, moved, stored, passes):
    """Libraries that compute a correlation take another kernel on another CPU; the predictions are what must repeat."""
    then, now = (
        made(tmp_path / "then"),
        made(tmp_path / "now", scores={("rte", "kd", 1): score("rte", "kd", 1) + moved}),
    )
    if stored:
        save_predictions(then)
        save_predictions(now)
    found = checked(now, write_baseline(then, tmp_path / "file.json"), exact=True)
    assert (cell(found, "rte", "kd").verdict == "pass") is passes


def test_other_bits_with_equal_scores_are_named(tmp_path, accepted):
    save_predictions(tmp_path / "accepted")
    write_baseline(tmp_path / "accepted", accepted)
    folder = made(tmp_path / "now")
    save_predictions(folder, nudge=1e-6)
    found = checked(folder, accepted)
    assert found.exit_code == 0
    assert {c.why for c in found.cells} == {"equal scores, other bits"}
    assert {c.causes for c in found.cells} == {("nothing",)}
    assert "nothing recorded changed" in lines(found)[0]
    assert checked(folder, accepted, exact=True).exit_code == 1


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("device", {"device": "cuda", "precision": "bfloat16", "threads": 2}, "threads"),
        ("device", {"device": "cuda", "precision": "float32", "threads": 8}, "precision"),
        ("device", {"device": "cpu", "precision": "bfloat16", "threads": 8}, "device"),
        ("device_name", "another", "device"),
        ("lock_hash", "another", "lock"),
        ("packages", {"torch": "2.14.0", "transformers": "5.23.0", "numpy": "2.4.6", "datasets": "5.2.0"}, "packages"),
    ],
)
def test_under_other_conditions_scores_are_judged_and_the_condition_is_said(tmp_path, accepted, field, value, kind):
    small = {key: v for task in TASKS for arm in ARMS for key, v in shifted(task, arm, -0.25).items()}
    fine = checked(made(tmp_path / "fine", scores=small, manifest={field: value}), accepted, exact=True)
    assert fine.verdict == "pass"
    assert fine.family == 8 + 4  # cells and macros
    assert all(c.causes == (kind,) and not c.bits_expected and not c.bits for c in fine.cells)
    assert kind in lines(fine)[-2]
    wide = {(t, a, s): score(t, a, s) + (9 if s % 2 else -9) for t in TASKS for a in ARMS for s in SEEDS}
    undecided = checked(made(tmp_path / "wide", scores=wide, manifest={field: value}), accepted)
    assert undecided.exit_code == 3
    assert "seeds would decide it" in lines(undecided)[0]
    broken = checked(made(tmp_path / "low", scores=shifted("rte", "kd", -9), manifest={field: value}), accepted)
    assert broken.exit_code == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"manifest": {"encoder_hash": "another"}}, "another encoder"),
        ({"manifest": {"data_fingerprint": "another"}}, "other data"),
        ({"suite": {"name": "other"}}, "of suite glue"),
        ({"suite": {"protocol": "selected"}}, "of protocol last"),
        ({"seeds": (7, 8)}, "no seed in common"),
    ],
)
def test_what_is_not_the_same_thing_is_not_compared(tmp_path, accepted, changes, words):
    found = checked(made(tmp_path / "now", **changes), accepted)
    assert (found.verdict, found.exit_code) == ("not comparable", 4)
    assert words in " ".join(lines(found))


def test_a_rise_is_said_and_is_no_drift(tmp_path, accepted):
    folder = made(tmp_path / "now", scores=shifted("rte", "kd", +8), manifest={"code_hash": "another"})
    found = checked(folder, accepted)
    assert found.exit_code == 0
    assert "higher than accepted: accept anew if meant" in lines(found)[0]
    assert checked(folder, accepted, exact=True).exit_code == 1  # a metric moved: the gate wants a new baseline


def test_a_changed_setting_is_named_with_both_values(tmp_path, accepted):
    folder = made(tmp_path / "now", scores=shifted("rte", "kd", -8))
    for path in folder.glob("rte/kd/*/config.json"):
        rewrite(path, lambda config: config["training"].update(learning_rate=1e-3))
    fallen = cell(checked(folder, accepted), "rte", "kd")
    assert fallen.causes == ("settings",)
    assert fallen.changed[0].words == "setting training.learning_rate 2e-05 -> 0.001"


def test_a_predecessor_that_moved_is_a_cause_and_one_that_only_has_another_id_is_not(tmp_path):
    def with_predecessor(folder, **changes):
        made(folder, **changes)
        change_manifests(folder, "rte/kd", predecessor=run_id("rte", "predecessor", 1))
        return folder

    path = write_baseline(with_predecessor(tmp_path / "a"), tmp_path / "b.json")
    renamed = with_predecessor(tmp_path / "renamed")
    change_manifests(renamed, "rte/kd", predecessor="0" * 16)
    (old,) = renamed.glob("rte/predecessor/*")
    rewrite(old / "result.json", lambda result: result.update(run_id="0" * 16))
    suite = (renamed / "suite.json").read_text()
    (renamed / "suite.json").write_text(
        suite.replace(f'"run_id": "{run_id("rte", "predecessor", 1)}"', f'"run_id": "{"0" * 16}"')
    )
    assert cell(checked(renamed, path), "rte", "kd").changed == ()
    rewrite(old / "result.json", lambda result: result["last"].update(score=70.0))
    moved = checked(renamed, path)
    assert cell(moved, "rte", "kd").causes == ("predecessor",)


def test_a_cell_that_vanished_is_drift_and_a_new_one_is_listed(tmp_path, accepted):
    found = checked(made(tmp_path / "now", arms=("predecessor", "finetune", "theseus", "pkd")), accepted)
    assert found.exit_code == 1
    assert {c.name for c in found.cells if c.verdict == "drift"} == {"cola kd", "rte kd"}
    assert found.new == ("cola pkd", "rte pkd")
    assert any("rte pkd: new" in line for line in lines(found))


def test_a_run_that_diverges_now_is_drift(tmp_path, accepted):
    found = checked(made(tmp_path / "now", outcomes={("rte", "kd", 2): "diverged"}), accepted)
    assert (found.exit_code, cell(found, "rte", "kd").why) == (1, "diverged at seed 2")


@pytest.mark.parametrize("status", ["missing", "failed"])
def test_an_unfinished_suite_is_undecided(tmp_path, accepted, status):
    found = checked(made(tmp_path / "now", outcomes={("rte", "kd", 2): status}), accepted)
    assert found.exit_code == 3
    assert f"incomplete (seed 2 {status})" in lines(found)[0]
    assert cell(found, "rte", "kd").causes == ()  # what is there repeats


def test_seeds_that_differ_are_named_and_the_common_ones_compared(tmp_path, accepted):
    found = checked(made(tmp_path / "now", seeds=(1, 2, 9)), accepted)
    assert found.exit_code == 3  # what was accepted and not run again does not pass
    assert "accepted seed 3, 4, 5, 6 was not run" in cell(found, "rte", "kd").why
    assert cell(found, "rte", "kd").seeds == (1, 2)
    assert cell(found, "rte", "kd").notes == (
        "accepted seed 3, 4, 5, 6 is not planned any more", "seed 9 has no accepted run"
    )  # fmt: skip


# The suite first: the macro of each arm


def test_noisy_cells_leave_the_verdict_to_the_macro_of_their_arm(tmp_path):
    """Differences of 2 points sd: hardly a cell can rule out its own margin with three seeds, and their mean can."""
    path = write_baseline(made(tmp_path / "then", tasks=EIGHT), tmp_path / "b.json", {"macro": 1.5})
    found = checked(made(tmp_path / "now", tasks=EIGHT, scores=noisy(EIGHT, ARMS, SEEDS), manifest=ELSEWHERE), path)
    assert (found.verdict, found.exit_code) == ("pass", 0)
    assert {macro.verdict for macro in found.macros} == {"pass"}
    uncertain = [c for c in found.cells if c.verdict == "not certified"]
    assert len(uncertain) > 5
    assert {c.why for c in uncertain} == {"not certified by itself"}
    assert f"of which {len(uncertain)} are not certified by themselves" in lines(found)[-1]


def test_a_small_fall_of_every_task_of_an_arm_is_drift_of_its_macro(tmp_path):
    """Every cell of the arm falls by 1.5 points, at a spread of 2, which no cell shows by itself."""
    path = write_baseline(made(tmp_path / "then", tasks=EIGHT), tmp_path / "b.json", {"macro": 1.25})
    fallen = noisy(EIGHT, ARMS, SEEDS)
    for task in EIGHT:
        keys = [(task, "theseus", seed) for seed in SEEDS]
        chance = np.mean([fallen[key] - score(*key) for key in keys])
        fallen |= {key: fallen[key] - chance - 1.5 for key in keys}
    found = checked(made(tmp_path / "now", tasks=EIGHT, scores=fallen, manifest=ELSEWHERE), path)
    assert found.exit_code == 1
    assert [macro.arm for macro in found.macros if macro.verdict == "drift"] == ["theseus"]
    assert [c.name for c in found.cells if c.verdict == "drift"] == []
    assert any(line.startswith("macro theseus: drift: fell") for line in lines(found))


def test_too_few_seeds_for_the_macro_are_undecided_and_the_arm_is_named(tmp_path):
    path = write_baseline(made(tmp_path / "then", seeds=(1, 2)), tmp_path / "b.json", {"macro": 1.0})
    found = checked(made(tmp_path / "now", scores=noisy(TASKS, ARMS, (1, 2)), seeds=(1, 2), manifest=ELSEWHERE), path)
    assert found.exit_code == 3
    assert "a fall of the macro of" in lines(found)[-1]


def test_an_arm_that_repeats_passes_beside_one_that_does_not(tmp_path, accepted):
    folder = made(tmp_path / "now", scores=shifted("rte", "kd", -0.2), manifest={"code_hash": "another"})
    found = checked(folder, accepted)
    assert found.exit_code == 0
    assert {m.arm: m.why for m in found.macros} == {
        "predecessor": "bit-equal", "finetune": "bit-equal", "theseus": "bit-equal", "kd": "no fall of the margin"
    }  # fmt: skip
    moved = next(m for m in found.macros if m.arm == "kd")
    assert moved.moved == pytest.approx(cell(found, "rte", "kd").moved / 2)
    assert (found.family, moved.judged.p) == (1, cell(found, "rte", "kd").judged.p)  # one cell moved: one test


def test_a_shared_predecessor_runs_once_and_need_not_be_certified(tmp_path):
    path = write_baseline(made(tmp_path / "then", tasks=EIGHT), tmp_path / "b.json", {"macro": 1.5})
    low, lost = (
        noisy(EIGHT, ARMS, SEEDS) | {(t, "predecessor", 1): score(t, "predecessor", 1) - fall for t in EIGHT}
        for fall in (0.9, 9)
    )
    found = checked(made(tmp_path / "now", tasks=EIGHT, scores=low, manifest=ELSEWHERE), path)
    assert {m.verdict for m in found.macros if m.arm == "predecessor"} == {"not certified"}
    assert found.exit_code == 0
    assert checked(made(tmp_path / "lost", tasks=EIGHT, scores=lost, manifest=ELSEWHERE), path).exit_code == 1


def test_in_a_suite_of_one_task_the_cell_is_the_macro(tmp_path):
    path = write_baseline(made(tmp_path / "then", tasks=("rte",)), tmp_path / "b.json")
    wide = {("rte", "kd", s): score("rte", "kd", s) + (9 if s % 2 else -9) for s in SEEDS}
    found = checked(made(tmp_path / "now", tasks=("rte",), scores=wide, manifest={"code_hash": "another"}), path)
    assert found.family == 1
    assert next(m for m in found.macros if m.arm == "kd").judged == cell(found, "rte", "kd").judged
    assert found.exit_code == 3


# What is not there


def held_out(folder, **changes):
    return made(folder, suite={"protocol": "held_out", "held_out": 0.1}, **changes)


def lose_score(folder):
    (path,) = folder.glob("rte/kd/seed-2-*/result.json")
    rewrite(path, lambda result: result.update(held_out=None))
    return folder


def test_a_score_that_is_null_now_is_drift(tmp_path):
    path = write_baseline(held_out(tmp_path / "then"), tmp_path / "b.json")
    found = checked(lose_score(held_out(tmp_path / "now")), path)
    assert (found.verdict, found.exit_code) == ("drift", 1)
    lost = cell(found, "rte", "kd")
    assert (lost.why, lost.became) == ("the score of seed 2 is null now", "missing")


def test_a_run_without_a_score_is_not_accepted(tmp_path):
    with pytest.raises(ReportError, match=r"without a score: rte kd seed 2 \(no score at protocol held_out\)"):
        freeze(read(lose_score(held_out(tmp_path / "then"))))


# Ties and rises


def test_higher_in_every_seed_is_a_pass_and_is_said(tmp_path):
    """Four points in each of three seeds: no spread, and nothing that could hide a fall."""
    path = write_baseline(made(tmp_path / "then", seeds=(1, 2, 3)), tmp_path / "b.json")
    up = {(t, "kd", s): score(t, "kd", s) + 4 for t in TASKS for s in (1, 2, 3)}
    found = checked(made(tmp_path / "now", seeds=(1, 2, 3), scores=up, manifest={"code_hash": "another"}), path)
    assert (found.verdict, found.exit_code) == ("pass", 0)
    assert cell(found, "rte", "kd").why == "higher than accepted: accept anew if meant"
    assert found.counts["improved"] == 2
    assert "higher than accepted" in next(line for line in lines(found) if line.startswith("macro kd"))


@pytest.mark.parametrize("seeds", [(1, 2), (1, 2, 3)])
def test_one_example_less_in_every_seed_is_no_certainty(tmp_path, seeds):
    """On 277 examples, n right less one is 0.361 points less but for 1e-14, which is no spread to judge by."""
    right = {seed: 169 + seed for seed in seeds}
    then, now = ({("rte", "kd", s): 100 * (n - less) / 277 for s, n in right.items()} for less in (0, 1))
    assert 0 < np.ptp([now[key] - then[key] for key in then]) < 1e-12
    path = write_baseline(
        made(tmp_path / "then", seeds=seeds, scores=then), tmp_path / "b.json", {"rte": 0.3, "cola": 0.3}
    )
    found = checked(made(tmp_path / "now", seeds=seeds, scores=now, manifest={"code_hash": "another"}), path)
    fallen = cell(found, "rte", "kd")
    assert (fallen.verdict, fallen.judged.sd) == ("not certified", 0.0)
    assert fallen.judged.p == 0.5 ** len(seeds)
    assert found.exit_code == 3


# Speed


def slower(condition, factor):
    return {**condition, **{key: condition[key] * factor for key in ("ratio", "ratio_low", "ratio_high")}}


@pytest.mark.parametrize(("factor", "code"), [(0.99, 0), (0.94, 0), (0.92, 1), (1.5, 0)])
def test_speed_up_is_drift_when_its_interval_lies_five_per_cent_below(tmp_path, accepted, factor, code):
    folder = made(tmp_path / "now")
    rewrite(folder / "speed.json", lambda speed: speed.update(
        conditions=[slower(speed["conditions"][0], factor), speed["conditions"][1]]))  # fmt: skip
    assert checked(folder, accepted).exit_code == code  # accepted: 1.97 (1.95 to 1.99)


def test_speed_up_elsewhere_is_not_compared_and_that_is_said(tmp_path, accepted):
    folder = made(tmp_path / "now")
    rewrite(folder / "speed.json", lambda speed: [c.update(device_name="another") for c in speed["conditions"]])
    found = checked(folder, accepted)
    assert found.exit_code == 0
    assert sum("timed on another device, so not compared" in line for line in lines(found)) == 2


def test_a_timing_that_vanished_is_said_and_is_not_a_pass(tmp_path, accepted):
    folder = made(tmp_path / "now")
    rewrite(folder / "speed.json", lambda speed: speed["conditions"].pop())
    one = checked(folder, accepted)
    assert (one.verdict, one.exit_code) == ("undecided", 3)
    assert any("not timed any more" in line for line in lines(one))
    assert "1 of 2 timing conditions are missing" in lines(one)[-1]
    (folder / "speed.json").unlink()
    gone = checked(folder, accepted)
    assert gone.exit_code == 3
    assert "2 of 2 timing conditions are missing" in lines(gone)[-1]


def test_slower_training_is_a_warning(tmp_path, accepted):
    folder = made(tmp_path / "now")
    for path in folder.glob("rte/kd/*/result.json"):
        rewrite(path, lambda result: result.update(examples_per_second=result["examples_per_second"] * 0.7))
    found = checked(folder, accepted)
    assert found.exit_code == 0
    assert [t.cell for t in found.throughput if t.warn] == ["rte kd"]
    assert any(line.startswith("warning: rte kd trains at") for line in lines(found))


def test_a_baseline_is_found_missing_not_passed(tmp_path):
    folder = made(tmp_path / "now")
    shutil.rmtree(tmp_path / "nowhere", ignore_errors=True)
    found = checked(folder, tmp_path / "nowhere" / "b.json")
    assert (found.exit_code, found.cells) == (4, ())
    assert "there is no accepted baseline" in found.notes[0]
