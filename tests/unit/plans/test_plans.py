"""The shipped suites as they are planned: which arm stands for which row of which table, at which depth and where.

Planned on a random stand-in for the encoder, without data, so nothing is fetched and nothing has to be here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from benchmarks.plans.planner import make_plan
from benchmarks.plans.run import Plan, Run
from benchmarks.suites.suite import Suite, available, load_suite

EIGHT = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb")
SEVEN = ("mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb")
FIVE = ("cola", "mrpc", "rte", "sst2", "stsb")
THREE = ("mnli", "qnli", "qqp")
TWO = ("mrpc", "rte")
RATES = [f"{kind}-0{p}" for kind in ("lr", "elr") for p in (1, 3, 5, 7, 9)]
STEPS = {
    "finetune": "Fine-tuning",
    "finetune-long": None,
    "from-predecessor": None,
    "frozen": None,
    "constant": "Constant",
    "theseus": "BERT-of-Theseus",
    "kd": "Vanilla KD",
    "kd-from-predecessor": None,
    "pkd": "BERT-PKD",
    "pkd-from-predecessor": None,
}
READINGS = {
    "theseus-paper": "BERT-of-Theseus",
    "theseus-code": "BERT-of-Theseus",
    "theseus-readme": "BERT-of-Theseus",
    "theseus": "BERT-of-Theseus",
    "theseus-two-stage": None,
    "theseus-blend": None,
}
STARTS = {
    "finetune": "Fine-tuning",
    "finetune-top": "Fine-tuning (top 6)",
    "finetune-interleaved": "Fine-tuning (interleaved 6)",
    "theseus": "BERT-of-Theseus",
    "theseus-top": None,
    "theseus-interleaved": None,
}
SCHEDULES = {"constant": "Constant", "anti": "Anti-curriculum", "curriculum": "Curriculum"}
TRAINED = {
    "finetune": "Fine-tuning",
    "kd": "Vanilla KD",
    "pkd": "BERT-PKD",
    "layerdrop": "LayerDrop",
    "theseus": "BERT-of-Theseus",
}
WITHOUT_LAYERDROP = {name: row for name, row in TRAINED.items() if name != "layerdrop"}


def at(depth: int, rows: dict[str, str | None]) -> dict[str, tuple[str | None, int]]:
    return {name: (row, depth) for name, row in rows.items()}


# suite: (table its scores are shown beside, tasks, arm -> its row there and the depth that comes out). Table 3 is the
# server's, so that the dev scores of its suites stand beside Table 2; Figure 3 and the attribution have no table.
TABLES: dict[str, tuple[int | None, tuple[str, ...], dict[str, tuple[str | None, int]]]] = {
    "paper": (2, EIGHT, at(6, {"distilbert": "DistilBERT", "pd-bert": "PD-BERT", **TRAINED})),
    "paper-checkpoints": (
        2,
        EIGHT,
        at(
            6,
            {
                "distilbert": "DistilBERT", "distilbert-kd": None, "pd-bert": "PD-BERT", "pd-bert-kd": None,
                "tinybert": None, "tinybert-kd": None, "minilm": None, "minilm-kd": None,
            },
        ),
    ),
    "paper-readings": (2, EIGHT, at(6, READINGS)),
    "paper-init": (None, EIGHT, at(6, STARTS)),
    "paper-search": (2, EIGHT, at(6, TRAINED)),
    "paper-test": (2, EIGHT, at(6, {"pd-bert": "PD-BERT", **WITHOUT_LAYERDROP})),
    "paper-transfer": (
        4,
        SEVEN,
        at(
            6,
            {
                "distilbert": "DistilBERT", "pd-bert": "PD-BERT", "theseus-mnli": "BERT-of-Theseus (MNLI)",
                "released": None,
            },
        ),
    ),
    "paper-modules": (5, THREE, at(11, {f"module-{i}": f"module {i} replaced" for i in range(1, 7)})),
    "paper-schedules": (6, EIGHT, at(6, SCHEDULES)),
    "paper-depths": (
        7,
        EIGHT,
        {
            f"{name}-{layers}": (row, layers)
            for layers in (6, 4, 3)
            for name, row in (("finetune", "Fine-tuning"), ("theseus", "BERT-of-Theseus"))
        },
    ),
    "paper-rates": (None, TWO, at(6, dict.fromkeys(RATES))),
    "paper-attribution": (None, EIGHT, at(6, STEPS)),
    "minilm": (2, FIVE, at(3, TRAINED)),
    "minilm-readings": (2, FIVE, at(3, READINGS)),
    "minilm-init": (None, FIVE, at(3, STARTS)),
    "minilm-search": (2, FIVE, at(3, TRAINED)),
    "minilm-test": (2, FIVE, at(3, WITHOUT_LAYERDROP)),
    "minilm-transfer": (
        4,
        FIVE,
        at(
            3,
            {
                "finetune": "Fine-tuning", "theseus": "BERT-of-Theseus", "theseus-sst2": "BERT-of-Theseus (MNLI)",
            },
        ),
    ),
    "minilm-modules": (5, FIVE, at(5, dict.fromkeys(f"module-{i}" for i in range(1, 4)))),
    "minilm-schedules": (6, FIVE, at(3, SCHEDULES)),
    "minilm-depths": (
        7,
        FIVE,
        {
            f"{name}-{layers}": (row, layers)
            for layers in (3, 2)
            for name, row in (("finetune", "Fine-tuning"), ("theseus", "BERT-of-Theseus"))
        },
    ),
    "minilm-rates": (None, TWO, at(3, dict.fromkeys(RATES))),
    "minilm-attribution": (None, FIVE, at(3, STEPS)),
    "minilm-attribution-search": (None, FIVE, at(3, STEPS)),
}  # fmt: skip
TRIALS = {
    "paper-search": 16,
    "minilm-search": 4,
    "minilm-attribution-search": 4,
    "paper-schedules": 3,
    "minilm-schedules": 3,
}
PAPER = [name for name in TABLES if name.startswith("paper")]


@cache
def suite(name: str) -> Suite:
    return load_suite(name)


@cache
def plan(name: str) -> Plan:
    """One seed of the suite; of the largest searches one task, which is a plan like the others'."""
    overrides = ["encoder.random=true", "seeds=[1]"]
    for task, settings in suite(name).task.items():  # the arms as the suite says them, before a search chose
        overrides += [f"task.{task}.settings.{arm}={{}}" for arm in settings.settings if arm != "predecessor"]
    if name == "paper-search":
        overrides.append('tasks=["rte", "sst2"]')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GLUE_DIR", raising=False)
        patch.delenv("ENCODER_DIR", raising=False)
        return make_plan(load_suite(name, overrides))


def runs(name: str, arm: str, task: str | None = None) -> list[Run]:
    return [run for run in plan(name).runs if run.arm == arm and task in (None, run.task.name)]


def rate_of(run: Run) -> Any:
    return run.build().rate.rate(run.steps)


def test_every_shipped_suite_is_in_this_table() -> None:
    assert set(TABLES) == {name for name in available() if not name.startswith("demo")}


@pytest.mark.parametrize("name", TABLES)
def test_the_arms_of_a_suite_are_the_rows_of_its_table(name: str) -> None:
    table, tasks, rows = TABLES[name]
    made = suite(name)
    assert made.comparison.table == table
    assert made.comparison.comparable == name.startswith("paper")
    assert sorted(made.tasks) == sorted(tasks)
    assert {arm: one.published for arm, one in made.arms.items()} == {arm: row for arm, (row, _) in rows.items()}


@pytest.mark.parametrize("name", TABLES)
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


@pytest.mark.parametrize("name", ["paper-attribution", "minilm-attribution"])
def test_the_attribution_changes_one_thing_at_a_time(name: str) -> None:
    made = suite(name)
    assert made.steps == ["finetune", "from-predecessor", "frozen", "constant", "theseus"]
    for task in made.tasks:
        check_steps(name, made, task)


def check_steps(name: str, made: Suite, task: str) -> None:
    (first,), (second,), (third,), (fourth,), (fifth,) = (runs(name, arm, task) for arm in made.steps)
    starts = [run.build().start for run in (first, second, third)]
    assert [start.source for start in starts] == ["pretrained", "predecessor", "predecessor"]
    assert [sorted(start.frozen) for start in starts] == [[], [], ["embeddings", "head"]]
    assert {start.layers for start in starts} == {"bottom"}
    constant, theseus = fourth.build(), fifth.build()
    assert [run.method for run in (first, second, third, fourth, fifth)] == ["finetune"] * 3 + ["theseus"] * 2
    assert constant.model_copy(update={"rate": theseus.rate}) == theseus  # only the rate differs
    assert (constant.rate.kind, theseus.rate.kind) == ("constant", "linear")
    assert rate_of(fourth).full_from() == rate_of(fifth).full_from()  # the successor phase is as long
    assert constant.trains == theseus.trains == third.build().trains == {"layers"}
    assert len({run.training.model_dump_json() for run in (first, second, third, fourth, fifth)}) == 1
    for arm in ("kd", "pkd"):
        (plain,), (run,) = runs(name, arm, task), runs(name, f"{arm}-from-predecessor", task)
        assert (plain.build().start, run.build().start) == (starts[0], starts[1])
        assert run.build().model_copy(update={"start": starts[0]}) == plain.build()  # only the start differs
        assert run.training == plain.training


def test_the_search_gives_theseus_the_papers_grid() -> None:
    """Learning rate {1e-5, 2e-5}, b {0.1, 0.3}, p = 1 within 1,000 to 30,000 steps: the paper's eight values of k."""
    ks = {0.1: [9.0e-4, 1.8e-4, 9.0e-5, 3.0e-5], 0.3: [7.0e-4, 1.4e-4, 7.0e-5, 2.333e-5]}
    for task in ("rte", "sst2"):
        found = [
            (run.training.learning_rate, rate_of(run).base, rate_of(run).k)
            for run in runs("paper-search", "theseus", task)
        ]
        expected = [(rate, base, k) for rate in (1e-5, 2e-5) for base in (0.1, 0.3) for k in ks[base]]
        assert len(found) == 16
        for ours, theirs in zip(found, expected, strict=True):
            assert ours == pytest.approx(theirs, rel=2e-4)


@pytest.mark.parametrize(("name", "trials"), [("paper-search", 16), ("minilm-search", 4)])
def test_the_search_gives_every_arm_as_many_trials_all_different(name: str, trials: int) -> None:
    assert suite(name).held_out == 0.1
    assert not suite(name).unequal_budget
    for arm in suite(name).arms:
        searched = runs(name, arm, "rte")
        assert [run.trial for run in searched] == list(range(trials))
        assert len({(str(run.options), run.training.model_dump_json()) for run in searched}) == trials
        assert {run.held_out for run in searched} == {0.1}


@pytest.mark.parametrize("name", ["paper-readings", "minilm-readings"])
def test_the_readings_differ_in_what_the_paper_and_its_code_disagree_on(name: str) -> None:
    task = "rte"
    made = {arm: runs(name, arm, task)[0] for arm in READINGS}
    methods = {arm: run.build() for arm, run in made.items()}
    assert [arm for arm, method in methods.items() if method.init.source == "pretrained"] == ["theseus-paper"]
    assert [arm for arm, run in made.items() if run.training.schedule == "constant"] == ["theseus-paper"]
    assert [arm for arm, method in methods.items() if method.undrawn == "momentum"] == [
        "theseus-code",
        "theseus-readme",
    ]
    assert [arm for arm, method in methods.items() if method.mix == "blend"] == ["theseus-blend"]
    # but for the README's own rate, none differs in rate, length, warm-up or learning rate
    assert len({run.training.model_copy(update={"schedule": "linear"}).model_dump_json() for run in made.values()}) == 1
    assert {rate_of(run).full_from() for arm, run in made.items() if arm != "theseus-readme"} == {
        rate_of(made["theseus"]).full_from()
    }
    two = made["theseus-two-stage"]
    assert [stage.start for stage in methods["theseus-two-stage"].stages(two.steps)] == [0, round(two.steps / 2)]


@pytest.mark.parametrize("name", ["paper-init", "minilm-init"])
def test_footnote_4_starts_both_methods_from_the_bottom_the_top_and_every_other_layer(name: str) -> None:
    made = {arm: runs(name, arm, "rte")[0] for arm in STARTS}
    choices = ["bottom", "top", "interleaved"]
    finetuned = [made[arm].build().start for arm in ("finetune", "finetune-top", "finetune-interleaved")]
    assert [start.layers for start in finetuned] == choices
    assert {start.source for start in finetuned} == {"pretrained"}
    for task in suite(name).tasks:
        rates = {rate_of(runs(name, arm, task)[0]) for arm in ("theseus", "theseus-top", "theseus-interleaved")}
        assert len(rates) == 1
    theseus = [made[arm].build() for arm in ("theseus", "theseus-top", "theseus-interleaved")]
    assert [method.init.layers for method in theseus] == choices
    assert all(method.model_copy(update={"init": theseus[0].init}) == theseus[0] for method in theseus)


def test_the_twins_leave_the_tenth_out_that_chooses_checkpoints() -> None:
    for name in TABLES:
        if name.startswith("minilm"):
            assert suite(name).held_out == 0.1
            assert {run.held_out for run in plan(name).runs} == {0.1}
            assert suite(name).encoder.name == "sentence-transformers/all-MiniLM-L6-v2"
