"""kill -9 at random instants: what is left goes on, and ends with the bytes of a run that nobody disturbed.

Each attempt is a process of its own (a fork, so that it starts at once) that works through the suite as a worker does
and is killed after a random time: while it tokenises, trains the predecessor, fills the caches, trains, evaluates,
keeps a checkpoint or writes. The long form kills a hundred times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from benchmarks.base import stop
from benchmarks.plans.planner import make_plan
from benchmarks.runs import checkpoint
from benchmarks.runs.execute import RunOptions, execute
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from results.format.reader import export_table
from tests import tiny

SETTINGS = ["protocol=selected", "training.max_steps=24", "training.evaluate_every=8", "keep_successors=true",
            "held_out=0.1", "predecessor.training={max_steps=24, evaluate_every=8}", "seeds=[1]"]  # fmt: skip
TIMES = ("train_seconds", "examples_per_second", "peak_memory_bytes", "evaluation_seconds")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    return make_plan(load_suite(str(tiny.save_suite(folder, encoder, glue, tasks='["rte"]')), SETTINGS))


def work_through(plan, results: Path, eager: bool) -> None:
    """Every run that is not done, in order; `eager` keeps a checkpoint after every step."""
    if eager:
        checkpoint.SHARE = 1e9
    store = Store(results)
    store.prepare(plan.runs)  # as `run` does first: a kill may have come before a finished run removed its checkpoint
    store.write_suite(plan)
    for run in plan.runs:
        if not store.settled(run):
            result = execute(run, results, RunOptions(checkpoint_seconds=0.0 if eager else 1e9))
            assert result.status == "done", result.reason


def attempt(plan, results: Path, seconds: float | None) -> bool:
    """One process, killed after `seconds` (None: left alone). Did it get through?"""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work_through(plan, results, eager=seconds is not None)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    ends = time.monotonic() + (600 if seconds is None else seconds)
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, "the attempt failed by itself"  # noqa: PT018
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def left(results: Path) -> dict[str, bytes]:
    """The bytes of every file of finished runs that holds no times."""
    names = ("config.json", "metrics.jsonl", "predictions.parquet", "successor/model.safetensors",
             "successor/config.json")  # fmt: skip
    return {
        str(path.relative_to(results)): path.read_bytes()
        for folder in results.glob("rte/*/seed-*")
        for name in names
        if (path := folder / name).is_file()
    }


def table(results: Path) -> pd.DataFrame:
    """The export without times."""
    frame = export_table(results)
    return frame.drop(columns=[name for name in TIMES if name in frame])


@pytest.fixture(scope="module")
def undisturbed(plan, tmp_path_factory):
    """The results of a run that nobody killed, and how long it took."""
    results = tmp_path_factory.mktemp("undisturbed") / "tiny"
    started = time.monotonic()
    assert attempt(plan, results, None)
    return results, time.monotonic() - started


def killed(plan, undisturbed, folder: Path, kills: int, seed: int) -> int:
    """Kill the suite until it has been killed so often, each time it gets through compare and begin anew; how many
    times it got through."""
    expected, seconds = undisturbed
    instants, through = random.Random(seed), 0
    while kills > 0 or not through:
        results = folder / f"{through}"
        if attempt(plan, results, instants.uniform(0.0, 0.5 * seconds)):
            through += 1
            assert left(results) == left(expected)
            pd.testing.assert_frame_equal(table(results), table(expected))
            assert not list((results / ".partial").iterdir())
            assert not list((results / ".checkpoints").iterdir())
        else:
            kills -= 1
    return through


def test_killed_now_and_then_it_ends_with_the_same_bytes(plan, undisturbed, tmp_path):
    assert killed(plan, undisturbed, tmp_path, kills=4, seed=1) >= 1


@pytest.mark.slow
def test_killed_a_hundred_times_it_ends_with_the_same_bytes(plan, undisturbed, tmp_path):
    assert killed(plan, undisturbed, tmp_path, kills=100, seed=2) >= 3


def test_the_undisturbed_run_is_one(plan, undisturbed):
    """The comparison compares something."""
    files = left(undisturbed[0])
    assert len(files) == 5 * len(plan.runs)
    assert all(load_file(undisturbed[0] / name) for name in files if name.endswith(".safetensors"))
    assert len(table(undisturbed[0])) > len(plan.runs)


@pytest.fixture
def stopped(plan, tmp_path, monkeypatch):
    """A fine-tuning run that was stopped after its first evaluation, and its results folder."""
    run = next(run for run in plan.runs if run.method == "finetune")
    store = Store(tmp_path)
    store.open()
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    kept = checkpoint.Checkpoints.save

    def save(self, step, found):
        kept(self, step, found)
        if step == 12:
            raise stop.Stopped

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoints, "save", save)
        with pytest.raises(stop.Stopped):
            execute(run, tmp_path, RunOptions(checkpoint_seconds=0.0))
    return run, tmp_path


def test_a_resumed_run_that_keeps_its_best_weights_still_drops_out(stopped, undisturbed):
    run, results = stopped
    assert execute(run, results).status == "done"
    expected = undisturbed[0] / run.folder
    for name in ("predictions.parquet", "metrics.jsonl", "successor/model.safetensors"):
        assert (results / run.folder / name).read_bytes() == (expected / name).read_bytes()


def test_the_same_run_of_another_suite_goes_on_from_its_checkpoint(stopped):
    run, results = stopped
    other = replace(run, config=replace(run.config, suite="another"))
    assert execute(other, results).status == "done"
    manifest = json.loads((results / run.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["resumed_at_step"] == 12


def test_weights_that_nobody_wanted_when_it_stopped_are_not_made_up(plan, stopped, undisturbed, monkeypatch):
    """Stopped without keeping weights and resumed to keep them: it starts again, rather than hand on the last ones."""
    run, results = stopped
    for index in (results / ".checkpoints" / run.id).glob("*/state.json"):
        document = json.loads(index.read_text(encoding="utf-8"))
        document["document"]["evaluations"]["keeps_weights"] = False
        index.write_text(json.dumps(document), encoding="utf-8")
    execute(run, results)
    manifest = json.loads((results / run.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["resumed_at_step"] is None
    assert manifest["checkpoint_notes"] == ["checkpoint step-00000012 has no weights of the best evaluation"]
    weights = "successor/model.safetensors"
    assert (results / run.folder / weights).read_bytes() == (undisturbed[0] / run.folder / weights).read_bytes()
