"""A suite file has bounds on everything, so that nothing absurd is computed before it is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.base.errors import SuiteError
from benchmarks.suites.suite import load_suite
from tests import tiny


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tiny.save_suite(tmp_path, tmp_path / "encoder", tmp_path / "glue"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs=1e308", "training.epochs: a number above 1e\\+30"),
        ("training.max_steps=1" + "0" * 40, "training.max_steps: a number above"),
        ("arms.kd.options.temperature=1e300", "arms.kd.options.temperature: a number above"),
        ("device.threads=1000000000", "device.threads: Input should be less than or equal to 1024"),
        ("name=" + "x" * 5000, "name: String should match"),
        ("title=" + "x" * 50_000, "title: 50,000 characters, and 10,000 is the limit"),
        (f"seeds={list(range(20_000))}", "seeds: 20,000 entries, and 10,000 is the limit"),
        ("arms.kd.options.a=" + "[" * 30 + "]" * 30, "nested more than 20 deep"),
        (f"seeds={list(range(9_999))}", None),
        ("arms.kd.grid={'training.learning_rate'=" + str([1e-5 * k for k in range(1, 999)]) + ", 'options.temperature'="
         + str([1.0 * k for k in range(1, 999)]) + "}", "996,004 trials, and 100,000 is the limit"),
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_what_no_suite_needs_is_one_line(path: str, override: str, message: str | None) -> None:
    started = time.process_time()
    if message is None:
        load_suite(path, [override])
    else:
        with pytest.raises(SuiteError, match=message) as caught:
            load_suite(path, [override])
        assert len(str(caught.value)) < 400
        assert "\n" not in str(caught.value)
    assert time.process_time() - started < 5


def test_a_plan_of_more_runs_than_anybody_has_is_refused(path: str) -> None:
    grid = "arms.kd.grid={'training.learning_rate'=" + str([1e-5 * k for k in range(1, 100)]) + "}"
    with pytest.raises(SuiteError, match="runs, and 100,000 is the limit"):
        load_suite(path, [f"seeds={list(range(9_999))}", grid, "unequal_budget=true"])


def test_a_grid_of_more_cells_than_a_report_shows_is_refused(tmp_path: Path) -> None:
    arms = "".join(f'[arms.a{i}]\nmethod = "finetune"\ntitle = "a"\n' for i in range(1_000))
    suite = tiny.save_suite(tmp_path, tmp_path / "encoder", tmp_path / "glue", extra=arms)
    with pytest.raises(SuiteError, match=r"it has 1,005 cells \(tasks times arms\), and 1,000 is the limit"):
        load_suite(str(suite))


@pytest.mark.parametrize("parent", ["../../../../etc/passwd", "/etc/passwd", "a/b", "", "."])
def test_a_suite_extends_suites_only(tmp_path: Path, parent: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f'extends = "{parent}"\nname = "own"\n', encoding="utf-8")
    with pytest.raises(SuiteError, match="name one suite, beside this file or built in"):
        load_suite(str(file))


@pytest.mark.parametrize("key", ["predecessor.training.epochs=1", "data.revision=" + "0" * 40, "protocol=last"])
def test_what_makes_another_experiment_is_never_neutral(key: str) -> None:
    assert not load_suite("paper", [key]).comparison.comparable
    assert load_suite("paper", ["predecessor.per_seed=true", "data.path=/data"]).comparison.comparable


def test_a_comparable_suite_that_is_overridden_is_not_comparable() -> None:
    assert load_suite("paper").comparison.comparable
    assert load_suite("paper", ["seeds=[1]", "device.device=cpu"]).comparison.comparable
    changed = load_suite("paper", ["training.epochs=1", "encoder.random=true"])
    assert not changed.comparison.comparable
    assert changed.comparison.reason.startswith("Changed on the command line: training.epochs, encoder.random.")
