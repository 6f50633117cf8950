"""A run that was stopped anywhere goes on from its checkpoint and ends with the same bits."""

from __future__ import annotations

import json

import pytest
import torch

from baselines import find
from benchmarks.base import stop
from benchmarks.runs.checkpoint import Checkpoints, ForeignCheckpoint, differing
from benchmarks.training.fit import Fit
from benchmarks.training.loop import Diverged, train
from benchmarks.training.settings import Training
from benchmarks.training.state import Checkpoint
from tests import tiny

SETTINGS = Training(max_steps=12, batch_size=8, learning_rate=2e-3, evaluate_every=5, warmup=0.1, weight_decay=0.01)
RAMP = {"kind": "linear", "base": 0.3, "reach": 0.5}
METHODS = {
    "predecessor": {},
    "finetune": {},
    "kd": {},
    "pkd": {"beta": 10.0},
    "layerdrop": {"rate": 0.5},
    "theseus": {"rate": RAMP},
    "theseus momentum": {"rate": RAMP, "undrawn": "momentum", "clip": "all"},
    "theseus forward": {"rate": RAMP, "draw": "forward"},
    "theseus blend": {"rate": RAMP, "mix": "blend"},
    "theseus stages": {"rate": RAMP, "successor_phase": {"trainable": ["layers", "head"], "learning_rate": 1e-3}},
}


class Kept:
    """A saver over real checkpoints on disk, one due every `seconds`."""

    def __init__(self, folder, seconds=1e9):
        self.checkpoints = Checkpoints(folder, "run", {"seed": 0}, seconds)

    def resume(self):
        found = self.checkpoints.load()
        return found and found[1]

    def due(self):
        return self.checkpoints.due()

    def save(self, step, checkpoint):
        self.checkpoints.save(step, checkpoint)


def run(name, saver, stop_after=None):
    """Train in fresh objects; the whole state_dict at the end, and the points that were evaluated.

    After `stop_after` steps somebody asks the run to stop.
    """
    method, split = find(name.split()[0])(**METHODS[name]), tiny.tokens(40)
    given = tiny.given(dropout=0.1)
    model = method.build(given)
    outputs = tiny.outputs(method, given.predecessor(), split, given.layers)
    points = []

    class Watched(type(method)):
        def after_step(self, model, seen=[0]):  # noqa: B006
            super().after_step(model)
            seen[0] += 1
            if seen[0] == stop_after:
                stop.ask()

    watched = Watched(**METHODS[name])
    try:
        train(Fit(watched, model, split, outputs, SETTINGS, 3, tiny.CPU), points.append, saver)
    finally:
        stop.forget()
    return model.state_dict(), points


@pytest.mark.parametrize("name", METHODS)
def test_stopped_and_resumed_twice_is_bit_equal(name, tmp_path):
    """Stopped after steps 4 and 9: inside an epoch, right before evaluations, and on both sides of a stage's start."""
    whole, points = run(name, None)
    for steps in (4, 5):  # the second counts from the first's end
        with pytest.raises(stop.Stopped):
            run(name, Kept(tmp_path), steps)
    last, rest = run(name, Kept(tmp_path))
    assert all(torch.equal(last[key], whole[key]) for key in whole)
    assert rest[-1] == points[-1]


def test_a_checkpoint_is_due_by_time_and_by_what_it_costs(tmp_path):
    saver = Kept(tmp_path, seconds=0.0)
    assert saver.due()
    saver.checkpoints.cost = 1.0
    assert not saver.due(), "after a second of writing, 49 seconds of training"
    saver.checkpoints.written -= 51.0
    assert saver.due()


@pytest.fixture
def two(tmp_path):
    """A folder with checkpoints after steps 6 and 7 of a run that was stopped."""
    with pytest.raises(stop.Stopped):
        run("theseus", Kept(tmp_path, seconds=0.0), 6)
    with pytest.raises(stop.Stopped):
        run("theseus", Kept(tmp_path), 1)
    return tmp_path


def test_the_last_two_are_kept(two):
    assert sorted(path.name for path in two.iterdir()) == ["step-00000006", "step-00000007"]


@pytest.mark.parametrize("damage", ["weights", "cut", "missing", "index", "empty index"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(two, damage):
    last = two / "step-00000007"
    if damage == "weights":
        raw = bytearray((last / "state.safetensors").read_bytes())
        raw[-1] ^= 1
        (last / "state.safetensors").write_bytes(raw)
    elif damage == "cut":
        (last / "state.safetensors").write_bytes((last / "state.safetensors").read_bytes()[:100])
    elif damage == "missing":
        (last / "state.safetensors").unlink()
    else:
        (last / "state.json").write_text("{" if damage == "index" else "", encoding="utf-8")
    saver = Kept(two)
    step, _ = saver.checkpoints.load()
    assert step == 6
    assert saver.checkpoints.notes == ["checkpoint step-00000007 was damaged and passed over"]
    whole, _ = run("theseus", None)
    assert all(torch.equal(value, whole[key]) for key, value in run("theseus", Kept(two))[0].items())


def test_without_a_whole_checkpoint_the_run_starts_again(two):
    for folder in two.iterdir():
        (folder / "state.json").unlink()
    whole, _ = run("theseus", None)
    assert all(torch.equal(value, whole[key]) for key, value in run("theseus", Kept(two))[0].items())


def test_a_half_written_checkpoint_is_no_checkpoint(two):
    (two / ".partial-x").mkdir()
    (two / ".partial-x" / "state.json").write_text("{}", encoding="utf-8")
    assert Kept(two).checkpoints.load()[0] == 7
    assert not (two / ".partial-x").exists()


def test_another_runs_checkpoint_is_refused_with_the_fields_that_differ(two):
    index = two / "step-00000007" / "state.json"
    document = json.loads(index.read_text(encoding="utf-8"))
    document["config"] = {"seed": 1, "training": {"epochs": 2}}
    index.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ForeignCheckpoint, match=r"made under another seed, training: remove it"):
        Kept(two).checkpoints.load()


def test_differing_fields_have_dotted_names():
    assert differing({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 3}) == ["a.c", "d", "e"]


def test_a_failure_while_writing_leaves_the_earlier_ones(two, monkeypatch):
    monkeypatch.setattr("benchmarks.runs.checkpoint.save_file", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Kept(two).checkpoints.save(8, Checkpoint({}, {}))
    assert sorted(path.name for path in two.iterdir()) == ["step-00000006", "step-00000007"]


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_value_that_is_not_finite_stops_the_run_at_its_step_and_keeps_the_last_good_state(kind, tmp_path):
    base = find("finetune")

    class Broken(base):
        def loss(self, model, batch, seen=[0]):  # noqa: B006
            seen[0] += 1
            loss = super().loss(model, batch)
            if seen[0] < 7:
                return loss
            return loss * float("nan") if kind == "loss" else loss + (model.classifier.bias * 0).sqrt().sum()

    method, given = Broken(), tiny.given()
    saver = Kept(tmp_path, seconds=0.0)
    with pytest.raises(Diverged, match="not finite between steps 6 and 7"):
        train(Fit(method, method.build(given), tiny.tokens(40), {}, SETTINGS, 0, tiny.CPU), lambda _: None, saver)
    step, found = Kept(tmp_path).checkpoints.load()
    assert step <= 6
    assert all(torch.isfinite(value).all() for value in found.tensors.values() if value.is_floating_point())
