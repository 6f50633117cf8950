"""What a plan says of time: lengths, step times and queues, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.base.errors import SuiteError
from benchmarks.cli.show import Progress
from benchmarks.machine.device import machine
from benchmarks.machine.settings import Device
from benchmarks.machine.workers import best_workers, default_workers, keep_throughput, possible_workers
from benchmarks.models.source import EncoderSource
from benchmarks.plans.planner import make_plan
from benchmarks.plans.run import Run
from benchmarks.preflight.calibration import calibrated
from benchmarks.preflight.cost import (
    Estimate,
    StepTimes,
    batches_of,
    estimates,
    evaluations,
    keep,
    pace_of,
    shape_of,
    wall_seconds,
)
from benchmarks.runs.record import Elsewhere
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.lengths import load
from benchmarks.training.settings import Training
from results.format.documents.run import Checkpoint, Outcome
from tests.command import cli

TIMES = StepTimes(fixed=0.5, fixed_frozen=0.1, call=0.01, group=1e-3, token=1e-4, pair=1e-6, forward=1e-5, workers=2)
CPU = Device(device="cpu", threads=1)


def test_a_step_is_its_fixed_part_and_its_layers():
    """3 layers, 1,000 tokens in sentences of 50: 0.5 + 3 * (0.01 + 1000 * (0.0001 + 50 * 0.000001))."""
    assert TIMES.step(3, 1000, 4, 50, frozen=False) == pytest.approx(0.5 + 3 * 0.164)
    assert TIMES.step(3, 1000, 4, 50, frozen=True) == pytest.approx(0.1 + 3 * 0.164)


def test_a_batch_of_all_examples_by_hand():
    """Lengths 20, 40, 60, 80 in one batch: 200 words; as one group 4 x 80 tokens, as two 2 x 40 + 2 x 80."""
    whole = batches_of((80, 20, 60, 40), 4, 1)
    assert (whole.words, whole.tokens, whole.groups, whole.length) == (200, 320, 1, 80)
    halves = batches_of((80, 20, 60, 40), 4, 2)
    assert (halves.words, halves.tokens, halves.groups) == (200, 240, 2)
    assert halves.length == pytest.approx((2 * 40**2 + 2 * 80**2) / 240)
    each = batches_of((80, 20, 60, 40), 4, 4)
    assert (each.tokens, each.groups) == (200, 4)


@pytest.mark.parametrize(("every", "steps", "expected"), [("epoch", 300, 3), (100, 300, 3), (100, 301, 4)])
def test_evaluations_are_those_the_schedule_asks_for(every, steps, expected):
    assert evaluations(Training(epochs=3, evaluate_every=every), steps) == expected


def made(name: str, *inputs: str) -> SimpleNamespace:
    return SimpleNamespace(id=name, inputs=set(inputs))


def test_the_queue_starts_predecessors_first_and_waits_for_them():
    """Two workers: p (10 s) and free (6 s) start; a and b (4 s each) need p, so one ends at 14 and the other too."""
    runs = [made("a", "p"), made("b", "p"), made("p"), made("free")]
    guesses = {name: Estimate(0.0, seconds, 0.0, False) for name, seconds in
               {"p": 10.0, "free": 6.0, "a": 4.0, "b": 4.0}.items()}  # fmt: skip
    assert wall_seconds(runs, guesses, 2) == pytest.approx(14.0)
    assert wall_seconds(runs, guesses, 1) == pytest.approx(24.0)
    assert wall_seconds([], {}, 2) == 0.0


def test_progress_tells_how_long_the_rest_will_take(capsys):
    runs = [made("p"), made("a", "p"), made("b", "p"), made("done")]
    for run, arm in zip(runs, ("predecessor", "kd", "pkd", "theseus"), strict=True):
        run.arm, run.seed, run.task = arm, 1, SimpleNamespace(name="rte")
    guesses = {name: Estimate(0.0, seconds, 0.0, False) for name, seconds in
               {"p": 100.0, "a": 40.0, "b": 30.0}.items()}  # fmt: skip
    result = {"status": "done", "last": Checkpoint(1, 1.0, {}, 66.1, ()), "train_seconds": 98.0}
    with Progress(runs, runs[:3], guesses, 2) as progress:
        progress.report(runs[0], Outcome(**result))
        progress.report(runs[1], Elsewhere(**result))
        progress.report(runs[2], Outcome("failed", "it broke"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "1 of 4 runs done, 3 to do, about 2.3 min left"
    assert lines[1].startswith("[2/4] rte predecessor seed 1: 66.1 (98.0 s training) [")
    assert lines[1].endswith("s, about 40 s left]")
    assert lines[2].endswith("by another runner [0 s, about 30 s left]")
    assert lines[3].endswith("failed: it broke [0 s]")
    assert progress.failed == 1
    with Progress(runs, runs[:3], None, 2):
        pass
    assert capsys.readouterr().err == "1 of 4 runs done, 3 to do\n", "of a machine that was never measured"


SHAPE = "{vocab_size=65, hidden_size=32, num_attention_heads=2, num_hidden_layers=6, intermediate_size=64}"


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """A plan on a machine that knows nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return make_plan(load_suite("minilm", ["encoder.random=true", f"encoder.shape={SHAPE}", "encoder.hidden_size=32",
                                           "device.precision=float32", "device.threads=1"]))  # fmt: skip


@pytest.mark.slow
def test_step_times_are_measured_once_and_kept(plan):
    assert pace_of(plan).times is None, "looking up measures nothing"
    said: list[str] = []
    first = calibrated(plan, said.append)
    assert all(value >= 0 for value in vars(first).values())
    assert first.step(2, 8 * 32, 4, 32, frozen=False) > 0
    assert first.workers == plan.workers == default_workers(plan.machine)
    assert calibrated(plan, said.append) == pace_of(plan).times == first
    assert said == ["measuring how fast this machine trains (once)"]
    more = replace(plan, workers=first.workers + 1)
    assert pace_of(more).times is None, "another number of workers at once takes other times"


def test_a_plan_shows_what_is_known_and_names_the_option_that_measures(plan, tmp_path, capfd):
    arguments = ("plan", "minilm", "--set", "encoder.random=true", "--results", tmp_path / "results", "--json")
    said = (
        "this machine's step times are not known, so some runs have no estimate: plan SUITE --calibrate measures them"
    )
    assert cli(*arguments) == 0
    printed = capfd.readouterr()
    assert printed.err.splitlines() == [said]
    assert {run["estimated_seconds"] for run in json.loads(printed.out)["runs"]} == {None}
    keep(pace_of(make_plan(load_suite("minilm", ["encoder.random=true"]))), TIMES)
    assert cli(*arguments) == 0
    printed = capfd.readouterr()
    assert printed.err == ""
    assert all(run["estimated_seconds"] > 0 for run in json.loads(printed.out)["runs"])


def test_what_cannot_be_measured_is_refused_in_one_line(plan):
    elsewhere = replace(plan.encoder, shape=(), location="hub/name", revision="0" * 40)
    with pytest.raises(SuiteError, match=r"set ENCODER_DIR or encoder\.shape"):
        calibrated(replace(plan, encoder=elsewhere), print)


def test_an_encoder_on_the_hub_has_the_shape_its_suite_gives_it():
    source = EncoderSource("x", "hub/name", "0" * 40, "h", 4, (("hidden_size", 32), ("num_hidden_layers", 4)))
    assert shape_of(source) == {"hidden_size": 32}
    assert shape_of(replace(source, shape=())) is None


def test_the_fewest_workers_near_the_best_throughput_are_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert best_workers({1: 10.0, 2: 19.2, 4: 20.0, 8: 18.0}) == 2
    assert best_workers({1: 10.0, 2: 9.0}) == 1
    most = possible_workers(CPU)[-1]
    assert default_workers(machine(CPU)) == most
    keep_throughput(machine(CPU), {1: 10.0, most + 1: 30.0})
    assert default_workers(machine(CPU)) == most + 1
    rounded = machine(CPU.model_copy(update={"precision": "bfloat16"}))
    assert default_workers(rounded) == most, "measured under other settings"


def left_behind(results: Path, run: Run, **seconds: float) -> None:
    """What a finished run's folder says of its time."""
    folder = results / run.folder
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"status": "done"}), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps({"seconds": seconds}), encoding="utf-8")


def test_one_run_per_predecessor_pays_for_its_outputs(tmp_path):
    suite = load_suite("minilm", ["encoder.random=true", 'tasks=["rte", "mrpc"]', "seeds=[1, 2]"])
    plan = make_plan(suite)
    guesses = estimates(plan.runs, suite.encoder, {}, TIMES)
    by_cell = {(run.task.name, run.arm, run.seed): guesses[run.id].seconds for run in plan.runs}
    assert by_cell["rte", "finetune", 1] == by_cell["rte", "finetune", 2]
    assert by_cell["rte", "pkd", 1] == by_cell["rte", "pkd", 2] == by_cell["rte", "kd", 2]
    known = load()["rte"]
    words = np.average(np.minimum(known.lengths, 128), weights=known.counts)
    paid = by_cell["rte", "kd", 1] - by_cell["rte", "kd", 2]
    assert paid == pytest.approx(2490 * words * 6 * TIMES.forward, rel=0.02)
    assert by_cell["mrpc", "kd", 1] > by_cell["mrpc", "kd", 2]

    run = next(run for run in plan.runs if (run.task.name, run.arm, run.seed) == ("rte", "pkd", 2))
    left_behind(tmp_path, run, setup=1.0, predecessor_outputs=1000.0, training=20.0, evaluation=3.0)
    again = estimates(plan.runs, suite.encoder, Store(tmp_path).took(plan.runs), TIMES)
    for other in plan.runs:
        cell = (other.task.name, other.arm, other.seed)
        if cell[:2] == ("rte", "pkd"):
            assert (again[other.id].seconds, again[other.id].measured) == (24.0, True)
        elif cell == ("rte", "kd", 1):
            assert again[other.id].seconds == by_cell["rte", "kd", 2], "they are there now"
        else:
            assert again[other.id] == guesses[other.id]
