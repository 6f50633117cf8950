"""Nothing stale: every field that can change a number makes another run, and the older one is named for it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from benchmarks.plans import planner as planning
from benchmarks.plans.older_runs import older_runs
from benchmarks.plans.planner import make_plan
from benchmarks.suites.suite import load_suite
from results.format.documents.codec import written
from tests import tiny


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    glue = tiny.save_glue(folder / "glue", "rte")
    other = shutil.copytree(glue, folder / "other-glue")
    tiny.rewrite(other / "rte" / "train.parquet", lambda table: table.take(list(reversed(range(2490)))))
    encoder = tiny.save_encoder(folder / "encoder")
    spoken = shutil.copytree(encoder, folder / "other-encoder") / "config.json"
    spoken.write_text(json.dumps(json.loads(spoken.read_text()) | {"hidden_dropout_prob": 0.2}))
    tiny.bert(4).save_pretrained(folder / "own-predecessor")
    return tiny.save_suite(folder, encoder, glue)


def planned(suite: Path, *overrides: str):
    return make_plan(load_suite(str(suite), [text.replace("{folder}", str(suite.parent)) for text in overrides])).runs


def finished(runs, results: Path) -> Path:
    """The folders that these runs leave behind, as far as anybody looks into them here."""
    for run in runs:
        folder = results / run.folder
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(written(run.config))
    return results


CASES = {
    "seed": ("seeds=[3, 4]",),
    "layers": ("successor_layers=1",),
    "modules": ("successor_layers=1",),
    "options": ("arms.kd.options.alpha=0.25",),
    "training": ("training.batch_size=16",),
    "steps": ("training.max_steps=3",),
    "device": ("device.threads=2",),
    "data": ("data.path={folder}/other-glue",),
    "encoder": ("encoder.path={folder}/other-encoder",),
    "predecessor": ("predecessor.training.learning_rate=0.5",),
    "finetuned": ("predecessor.paths.rte={folder}/own-predecessor",),
    "checkpoint": ("protocol=selected",),
}


@pytest.mark.parametrize("field", CASES)
def test_what_can_change_a_number_makes_another_run(inputs, field):
    arm = "predecessor" if field == "finetuned" else "kd"
    before, after = (
        next(run for run in planned(inputs, *overrides) if run.arm == arm) for overrides in ((), CASES[field])
    )
    assert getattr(before.config, field) != getattr(after.config, field)
    assert before.id != after.id


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("code_hash", lambda method, kind: f"another {method} {kind}"),
        ("packages", lambda names: dict.fromkeys(names, "another version")),
    ],
)
def test_other_code_and_other_packages_make_other_runs(inputs, tmp_path, monkeypatch, name, change):
    before = planned(inputs)
    results = finished(before, tmp_path)
    monkeypatch.setattr(planning, name, change)
    after = planned(inputs)
    assert not {run.id for run in before} & {run.id for run in after}
    field = {"code_hash": "code", "packages": "packages.numpy, packages.tokenizers, packages.torch"}[name]
    assert f"9 older runs are left out: {field}" in older_runs(after, results)


def test_every_field_of_a_run_has_its_case(inputs):
    same_cell = {"schema", "suite", "task", "method", "arm"}
    elsewhere = {"start", "code", "packages"}  # the one above; `start` in tests/integration/test_experiments.py
    assert set(planned(inputs)[0].config.content) == same_cell | elsewhere | set(CASES)


def test_older_runs_are_named_with_what_differs(inputs, tmp_path):
    results = finished(planned(inputs), tmp_path)
    assert older_runs(planned(inputs), results) is None
    assert older_runs(planned(inputs), tmp_path / "nowhere") is None
    one = older_runs(planned(inputs, "arms.kd.options.alpha=0.25", "seeds=[1]"), results)
    assert one == "1 older run is left out: options.alpha differs"
    two = older_runs(planned(inputs, "training.batch_size=16", "training.epochs=2.0"), results)
    assert two == "9 older runs are left out: training.batch_size, training.epochs differ"
    # Pupils are other runs because their predecessor is; it says itself what of it is another.
    taught = older_runs(planned(inputs, "predecessor.training.learning_rate=0.5"), results)
    assert taught == "7 older runs are left out: predecessor, training.learning_rate differ"
    assert older_runs(planned(inputs, "seeds=[3]", "predecessor.seed=1"), results) is None, "another cell"


def test_an_older_run_is_held_against_the_nearest_of_several_trials(inputs, tmp_path):
    grid = ("unequal_budget=true", 'arms.kd.grid={"options.alpha"=[0.25, 0.75]}')
    results = finished(planned(inputs, *grid, "training.batch_size=16"), tmp_path)
    said = older_runs([run for run in planned(inputs, *grid) if run.arm == "kd"], results)
    assert said == "4 older runs are left out: training.batch_size differs"


def test_a_config_that_cannot_be_read_is_said_to_be(inputs, tmp_path):
    old, now = planned(inputs), planned(inputs, "training.batch_size=16")
    results = finished(old, tmp_path)
    for run, text in zip(old, ("{", "[]", "\x00", "[" * 10**5, '{"task": [], "arm": {}}'), strict=False):
        (results / run.folder / "config.json").write_text(text)
    assert "config.json (unreadable)" in older_runs(now, results)


def test_thousands_of_finished_runs_cost_little(inputs, tmp_path):
    runs = planned(inputs)
    place = finished(runs, tmp_path) / runs[0].folder
    for number in range(5000):
        (place.parent / f"seed-1-{number:016x}").mkdir()
    ours = [run for run in runs if run.arm == "predecessor"]
    wide = [*ours, *(type(ours[0])(**{**vars(ours[0]), "id": f"{number:016x}"}) for number in range(5000))]
    started = time.monotonic()
    assert older_runs(wide, tmp_path) is None
    assert time.monotonic() - started < 2
