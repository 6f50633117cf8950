"""`choose` writes the winners of a search into another suite."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from benchmarks.base.errors import SuiteError
from benchmarks.suites.chosen import choose
from benchmarks.suites.suite import load_suite
from results.format.reader import read
from tests.report.make_results import make_results

RATES = (1e-5, 2e-5, 4e-5)
SEARCHED = {
    "finetune": {"trials": [{"training.learning_rate": rate} for rate in RATES]},
    "kd": {"trials": [{"training.learning_rate": rate, "options.temperature": 5.0} for rate in RATES]},
}
SUITE = """
extends = "minilm"
name = "winners"
tasks = ["rte", "mrpc"]
seeds = [1, 2]

[arms.finetune]
method = "finetune"
title = "Fine-tuning"

[arms.kd]
method = "kd"
title = "KD"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "winners.toml"
    path.write_text(SUITE, encoding="utf-8")
    return path


def searched(folder: Path, **changes: object) -> Path:
    """A search on seed 101 in which the second rate wins on dev and the third on the held-out share."""
    keys = [(task, arm, 101, trial) for task in ("rte", "mrpc") for arm in SEARCHED for trial in range(3)]
    held_out = {key: ((70.0, 74.0, 71.0)[key[3]], (60.0, 61.0, 65.0)[key[3]]) for key in keys}
    document = {"name": "search", "protocol": "held_out", "held_out": 0.1}
    arguments = {"tasks": ("rte", "mrpc"), "arms": ("predecessor", *SEARCHED), "seeds": (101,)} | changes
    return make_results(folder, suite=document, arm_changes=SEARCHED, held_out=held_out, **arguments)  # type: ignore[arg-type]


def test_the_held_out_share_chooses_and_the_other_suite_trains_the_winner(tmp_path: Path, suite: Path) -> None:
    before = load_suite(str(suite))
    path, unfinished = choose(read(searched(tmp_path / "search")), str(suite))
    assert (path, unfinished) == (suite, [])
    assert suite.read_text(encoding="utf-8").startswith(SUITE.rstrip())
    after = load_suite(str(suite))
    for task in ("rte", "mrpc"):
        assert after.resolve(task, "finetune").training.learning_rate == 4e-5
        assert after.resolve(task, "kd").method.model_dump()["temperature"] == 5.0
        assert after.resolve(task, "predecessor") == before.resolve(task, "predecessor")


def test_a_second_call_replaces_the_block_and_keeps_what_stands_around_it(tmp_path: Path, suite: Path) -> None:
    results = read(searched(tmp_path / "search"))
    choose(results, str(suite))
    once = suite.read_text(encoding="utf-8")
    suite.write_text(once + "\n# a note of the author\n", encoding="utf-8")
    choose(results, str(suite))
    assert suite.read_text(encoding="utf-8") == once + "\n# a note of the author\n"


def test_a_task_whose_search_is_not_finished_is_left_out_and_named(tmp_path: Path, suite: Path) -> None:
    folder = searched(tmp_path / "search", outcomes={("mrpc", "kd", 101, 1): "missing"})
    assert choose(read(folder), str(suite))[1] == ["mrpc"]
    assert set(tomllib.loads(suite.read_text(encoding="utf-8"))["task"]) == {"rte"}


def test_a_trial_that_diverged_does_not_win_and_does_not_stop_the_choice(tmp_path: Path, suite: Path) -> None:
    folder = searched(tmp_path / "search", outcomes={("rte", "finetune", 101, 2): "diverged"})
    assert choose(read(folder), str(suite))[1] == []
    assert load_suite(str(suite)).resolve("rte", "finetune").training.learning_rate == 2e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcomes": {(task, "kd", 101, 0): "missing" for task in ("rte", "mrpc")}}, "no task's search is finished"),
        ({"seeds": (1, 101)}, "seed 1 was used by the search search"),
        ({"arms": ("finetune", "layerdrop")}, ""),
    ],
)
def test_what_cannot_be_written_leaves_the_file_as_it_was(
    tmp_path: Path, suite: Path, change: dict[str, object], message: str
) -> None:
    if "arms" in change:  # the suite has no such arm
        suite.write_text(SUITE.replace("[arms.finetune]", "[arms.other]"), encoding="utf-8")
        message = "no arm 'finetune'"
    text = suite.read_text(encoding="utf-8")
    with pytest.raises(SuiteError, match=message):
        choose(read(searched(tmp_path / "search", **change)), str(suite))
    assert suite.read_text(encoding="utf-8") == text
    assert {path.name for path in tmp_path.iterdir()} == {"search", "winners.toml"}
