"""The suites that take the method apart: each arm differs from the one beside it in what the suite is about only."""

from __future__ import annotations

import pytest

from benchmarks.suites.suite import Suite
from tests.unit.plans.shipped import READINGS, STARTS, TABLES, plan, rate_of, runs, suite


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
