"""What cannot be had or no longer fits: an arm whose checkpoint is out of reach, code that changed since the plan, a
predecessor that may have seen what is held out. The hub is out of reach in every test (tests/conftest.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.plans.planner import make_plan
from benchmarks.runs.execute import execute
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from tests import tiny
from tests.command import cli

FAR = """
[arms.far]
method = "pretrained"
title = "Out of reach"
encoder = {{ name = "nobody/nothing", revision = "{revision}", layers = 2, hidden_size = 32 }}
optional = {optional}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("inputs")
    tiny.save_encoder(made / "encoder")
    tiny.save_glue(made / "glue", "wnli")
    return made


def suite(folder: Path, place: Path, extra: str = "") -> Path:
    return tiny.save_suite(place, folder / "encoder", folder / "glue", tasks='["wnli"]', extra=extra)


def far(optional: str) -> str:
    return FAR.format(revision="0" * 40, optional=optional)


def test_an_arm_whose_checkpoint_is_out_of_reach_stops_the_suite_before_anything_runs(folder, tmp_path, capfd):
    path = suite(folder, tmp_path, far("false"))
    assert cli("run", path, "--results", tmp_path / "results") == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert "nobody/nothing" in line
    assert "arms.NAME.encoder.path" in line
    assert not list((tmp_path / "results").glob("*/*/seed-*"))


@pytest.mark.slow
def test_an_optional_arm_is_left_out_with_a_warning_and_the_others_go_on(folder, tmp_path, capfd):
    path = suite(folder, tmp_path, far("true"))
    arguments = ("--methods", "finetune,far", "--seeds", "1", "--set", "training.max_steps=1")
    assert cli("run", path, "--results", tmp_path / "results", *arguments) == 0
    assert "warning: arm far is left out" in capfd.readouterr().err
    assert {path.parts[-2] for path in (tmp_path / "results").glob("*/*/seed-*")} == {"finetune"}


def test_a_rehearsal_leaves_an_optional_arm_out_too(folder, tmp_path, capfd):
    path = suite(folder, tmp_path, far("true"))
    assert cli("run", path, "--dry-run", "--steps", "1", "--methods", "finetune,far", "--seeds", "1") == 0
    told = capfd.readouterr().err
    assert "wnli finetune: loss" in told
    assert "wnli far" not in told


def test_a_run_whose_code_is_not_the_planned_one_fails_before_it_trains(folder, tmp_path):
    plan = make_plan(load_suite(str(suite(folder, tmp_path))))
    run = next(run for run in plan.runs if run.arm == "finetune")
    store = Store(tmp_path / "results")
    store.open()
    result = execute(replace(run, config=replace(run.config, code="0" * 64)), store.path)
    assert result.status == "failed"
    assert "changed after this run was planned" in result.reason
    assert result.steps is None


@pytest.mark.parametrize(("share", "warned"), [(0.1, True), (0.0, False)])
def test_a_given_predecessor_beside_held_out_rows_is_warned_of(folder, tmp_path, share, warned):
    tiny.bert(4, 2).save_pretrained(tmp_path / "given")
    settings = [f"held_out={share}", f"predecessor.paths.wnli={tmp_path / 'given'}"]
    plan = make_plan(load_suite(str(suite(folder, tmp_path)), settings))
    assert any("may have been trained on the examples held out" in line for line in plan.warnings) == warned
