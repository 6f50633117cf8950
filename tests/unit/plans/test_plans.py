"""The shipped suites as they are planned: which arm stands for which row of which table, at which depth and where."""

from __future__ import annotations

import pytest

from benchmarks.suites.file import available
from benchmarks.suites.suite import load_suite
from tests.unit.plans.shipped import EIGHT, KINDS, PAPER, TABLES, TRAINED, TRIALS, plan, rate_of, runs, suite


def test_every_shipped_suite_is_in_this_table() -> None:
    assert {*TABLES, *KINDS} == {name for name in available() if not name.startswith("demo")}


@pytest.mark.parametrize("name", KINDS)
def test_a_suite_of_another_kind_has_five_arms_and_compares_nothing_with_the_paper(name: str) -> None:
    made = load_suite(name)
    assert list(made.arms) == ["finetune", "from-predecessor", "kd", "pkd", "theseus"]
    assert (made.comparison.comparable, made.comparison.table, made.seeds) == (False, None, [1, 2])
    assert {own.task_kind for task in made.tasks if (own := made.own(task))} == KINDS[name]


@pytest.mark.parametrize("name", TABLES)
def test_the_arms_of_a_suite_are_the_rows_of_its_table(name: str) -> None:
    table, tasks, rows = TABLES[name]
    made = suite(name)
    assert made.comparison.table == table
    assert made.comparison.comparable == name.startswith("paper")
    assert sorted(made.tasks) == sorted(tasks)
    assert {arm: one.published for arm, one in made.arms.items()} == {arm: row for arm, (row, _) in rows.items()}


# The largest tables of the paper take seconds each; their minilm- twins have the same rows.
LARGE = ("paper-schedules", "paper-readings", "paper-search", "paper-modules")


@pytest.mark.parametrize("name", [pytest.param(t, marks=pytest.mark.slow) if t in LARGE else t for t in TABLES])
def test_every_row_is_planned_at_its_depth_on_every_task_in_every_trial(name: str) -> None:
    _, tasks, rows = TABLES[name]
    if name == "paper-search":
        tasks = ("rte", "sst2")
    trials = TRIALS.get(name, 1)
    found: dict[str, list[tuple[str, int, int]]] = {}
    for run in plan(name).runs:
        found.setdefault(run.arm, []).append((run.task.name, run.trial, run.layers))
    whole = 12 if name.startswith("paper") else 6
    expected = {
        arm: sorted((task, trial, depth) for task in tasks for trial in range(trials))
        for arm, (_, depth) in rows.items()
    }
    expected["predecessor"] = sorted((task, 0, whole) for task in tasks)
    assert {arm: sorted(cells) for arm, cells in found.items()} == expected
    assert len({run.id for run in plan(name).runs}) == len(plan(name).runs)


@pytest.mark.parametrize("name", TABLES)
def test_what_is_planned_first_is_what_others_take_as_input(name: str) -> None:
    seen: set[str] = set()
    for run in plan(name).runs:
        assert run.inputs <= seen, run.folder
        seen.add(run.id)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_protocol_is_kept_in_all_its_suites(name: str) -> None:
    made = suite(name)
    assert (len(made.seeds), made.statistic, made.protocol) == (5, "median", "selected")
    for run in plan(name).runs:
        assert run.training.batch_size == 32
        assert run.max_length == (256 if run.task.name == "qnli" else 128)
        if run.arm == "predecessor":
            assert (run.training.learning_rate, run.training.epochs) == (2e-5, 4)
    assert made.held_out == (0.1 if name == "paper-search" else 0.0)


def test_table_2_declares_what_every_arm_trains() -> None:
    """BERT-base by hand: 7,087,872 a layer, 23,837,184 in the embeddings."""
    declared = {name: arm.trainable_parameters for name, arm in suite("paper").arms.items()}
    layer, embeddings = 7_087_872, 23_837_184
    assert declared == {
        "distilbert": None,
        "pd-bert": None,
        "finetune": embeddings + 6 * layer,
        "kd": embeddings + 6 * layer,
        "pkd": embeddings + 6 * layer,
        "layerdrop": embeddings + 12 * layer,
        "theseus": 6 * layer,
    }


def test_table_2_has_checkpoints_of_their_own_and_five_trained_rows() -> None:
    arms = suite("paper").arms
    own = {name: arm.encoder.name for name, arm in arms.items() if arm.encoder}
    assert own == {
        "distilbert": "distilbert/distilbert-base-uncased",
        "pd-bert": "google/bert_uncased_L-6_H-768_A-12",
    }
    assert {name: arm.method for name, arm in arms.items() if not arm.encoder} == {name: name for name in TRAINED}
    for task in EIGHT:
        (run,) = runs("paper", "distilbert", task)
        assert (run.predecessor, run.start) == (None, None)


def test_theseus_of_table_2_is_the_released_code_on_the_papers_grid() -> None:
    """k is one of the paper's for b = 0.3: p is 1 after 1,000, 5,000 or 10,000 steps, and within the run."""
    reach = {"cola": 1000, "mrpc": 1000, "rte": 1000, "stsb": 1000, "sst2": 5000, "qnli": 5000, "qqp": 10000,
             "mnli": 10000}  # fmt: skip
    ks = {1000: 7.0e-4, 5000: 1.4e-4, 10000: 7.0e-5}
    for task in EIGHT:
        (run,) = runs("paper", "theseus", task)
        rate = rate_of(run)
        assert rate.base == 0.3
        assert rate.k == pytest.approx(ks[reach[task]])
        assert rate.full_from() == reach[task] < run.steps
        method = run.build()
        assert (method.clip, method.undrawn, method.draw, method.init.source) == (
            "all", "momentum", "forward", "predecessor"
        )  # fmt: skip


def test_table_3_keeps_the_successors_that_are_submitted() -> None:
    for name in ("paper-test", "minilm-test"):
        assert suite(name).keep_successors
        assert all(run.keep_successor for run in plan(name).runs)


@pytest.mark.parametrize(
    ("name", "arm", "on"), [("paper-transfer", "theseus-mnli", "mnli"), ("minilm-transfer", "theseus-sst2", "sst2")]
)
def test_table_4_compresses_on_one_task_and_fine_tunes_its_successor_elsewhere(name: str, arm: str, on: str) -> None:
    (compressed,) = runs(name, arm, on)
    assert compressed.method == "theseus"
    assert compressed.keep_successor
    assert compressed.start is None
    (predecessor,) = runs(name, "predecessor", on)
    assert compressed.predecessor == predecessor.id
    others = [run for run in runs(name, arm) if run.task.name != on]
    assert len(others) == len(suite(name).tasks) - 1
    for run in others:
        assert (run.method, run.start, run.predecessor) == ("pretrained", compressed.id, None)
        assert run.config.start == compressed.id
        assert run.build().alpha == 0.0
        assert not run.keep_successor
    assert suite(name).arms[arm].intermediate.task == on


def test_table_5_replaces_each_module_alone_at_a_constant_rate_without_a_successor_phase() -> None:
    for name, count in (("paper-modules", 6), ("minilm-modules", 3)):
        for number in range(1, count + 1):
            for run in runs(name, f"module-{number}"):
                method, rate = run.build(), rate_of(run)
                assert method.replace == [number]
                assert {rate(step) for step in range(run.steps)} == {0.5}
        assert len(plan(name).warnings) == count * len(suite(name).tasks)


@pytest.mark.parametrize("name", ["paper-schedules", "minilm-schedules"])
def test_table_6_gives_every_schedule_three_trials(name: str) -> None:
    for task in suite(name).tasks:
        constant = runs(name, "constant", task)
        assert [rate_of(run)(0) for run in constant] == [0.5, 0.7, 0.9]
        assert all(rate_of(run).full_from() == round(0.5 * run.steps) for run in constant)
        for arm, first in (("curriculum", 0.3), ("anti", 0.7)):
            searched = runs(name, arm, task)
            assert [run.trial for run in searched] == [0, 1, 2]
            assert [rate_of(run)(0) for run in searched] == pytest.approx([first] * 3)
            for run, share in zip(searched, (0.25, 0.5, 0.75), strict=True):
                end = round(share * run.steps)
                assert rate_of(run)(end) == pytest.approx(1.0 if arm == "curriculum" else 0.0)
                assert 0.0 < rate_of(run)(end - 1) < 1.0


def test_table_7_has_both_methods_at_every_depth_and_equal_training_for_them() -> None:
    for name, depths in (("paper-depths", (6, 4, 3)), ("minilm-depths", (3, 2))):
        for task in suite(name).tasks:
            for layers in depths:
                (finetune,), (theseus,) = runs(name, f"finetune-{layers}", task), runs(name, f"theseus-{layers}", task)
                assert (finetune.modules, theseus.modules) == (layers, layers)
                assert finetune.steps == theseus.steps
                assert finetune.training.learning_rate == theseus.training.learning_rate
        assert suite(name).speed is not None


@pytest.mark.parametrize(("name", "rate"), [("paper-rates", 2e-5), ("minilm-rates", 1e-4)])
def test_figure_3_keeps_learning_rate_times_p_equal_in_its_second_curve(name: str, rate: float) -> None:
    groups: dict[str, list[float]] = {}
    for arm, one in suite(name).arms.items():
        (run, other) = runs(name, arm)
        assert run.training.learning_rate == other.training.learning_rate
        p = run.options["rate"]["p"]
        assert one.x == p == int(arm[-2:]) / 10
        assert rate_of(run)(0) == p
        assert rate_of(run).full_from() == round(run.steps / 2)
        stages = run.build().stages(run.steps)
        assert [(stage.start, stage.learning_rate) for stage in stages] == [(0, None), (round(run.steps / 2), rate)]
        peak = run.training.learning_rate
        assert peak * (p if arm.startswith("elr") else 1.0) == pytest.approx(rate, rel=1e-3)
        assert one.group is not None
        groups.setdefault(one.group, []).append(p)
    assert groups == {
        "one learning rate": [0.1, 0.3, 0.5, 0.7, 0.9],
        "equivalent learning rate": [0.1, 0.3, 0.5, 0.7, 0.9],
    }
