"""The determinism probe: what repeats passes, what does not is named, and a strict suite refuses to start on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import baselines
from baselines.finetune import Finetune
from benchmarks.base.errors import ROOT, SuiteError
from benchmarks.machine import device as devices
from benchmarks.plans.planner import make_plan
from benchmarks.preflight import determinism
from benchmarks.preflight.determinism import (
    Kind,
    default_kind,
    difference,
    differences,
    kind_of,
    least_depth,
    probe_suite,
)
from benchmarks.suites.suite import load_suite
from results.format.documents.run import Probe
from tests.tiny import CPU

SHAPE = {"vocab_size": 60, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
         "max_position_embeddings": 64}  # fmt: skip
MACHINE = devices.machine(CPU)


def from_nowhere() -> float:
    """A number that no seed decides."""
    return 1e-3 * int.from_bytes(os.urandom(2), "little")


class NoisyLoss(Finetune):
    def loss(self, model, batch):
        return super().loss(model, batch) * (1 + from_nowhere())


class NoisyWeights(Finetune):
    def after_step(self, model):
        with torch.no_grad():
            model.classifier.bias += from_nowhere()


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A machine that remembers nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine"))
    return tmp_path / "machine"


@pytest.mark.parametrize("name", baselines.names())
def test_every_method_repeats_itself(name):
    kind = default_kind(name)
    assert difference(kind.build(), kind, SHAPE, CPU) is None


@pytest.mark.parametrize(
    ("method", "first"),
    [(NoisyLoss(), "loss of step 1"), (NoisyWeights(), "classifier.bias after step 1")],
)
def test_the_first_tensor_that_differs_is_named(method, first):
    assert difference(method, Kind("finetune", "{}", 1), SHAPE, CPU) == first


def test_the_predecessors_outputs_are_probed_too(monkeypatch):
    def noisy(model, tokens, names, device):
        return {name: torch.rand(len(tokens), 2) * from_nowhere() for name in names}

    monkeypatch.setattr(determinism, "predecessor_outputs", noisy)
    assert difference(default_kind("kd").build(), default_kind("kd"), SHAPE, CPU) == "the predecessor's logits"


def test_what_cannot_be_probed_is_not_called_equal(machine):
    broken = {**SHAPE, "num_attention_heads": 5}
    (first,) = determinism.probe([default_kind("finetune")], broken, CPU)
    assert first is not None
    assert first.startswith("not probed: ")


def test_the_depth_is_the_least_that_has_all_of_a_method():
    def depth(name, **options):
        return least_depth(baselines.find(name)(**options), 12, 6)

    assert [depth(name) for name in ("finetune", "kd", "theseus", "layerdrop", "pretrained")] == [1] * 5
    assert depth("pkd") == 2  # a student of one layer has no patient loss
    assert depth("theseus", replace=[3]) == 3


def test_what_repeats_is_remembered_and_what_does_not_is_looked_at_again(machine, monkeypatch):
    looked: list[str] = []

    def look(kinds, shape, device):
        looked.extend(kind.method for kind in kinds)
        return [None if kind.method == "finetune" else "loss of step 1" for kind in kinds]

    monkeypatch.setattr(determinism, "probe_in_worker", look)
    good, bad = default_kind("finetune"), default_kind("kd")
    for _ in range(2):
        assert differences({good, bad}, SHAPE, MACHINE, print) == {good: None, bad: "loss of step 1"}
    assert looked == ["finetune", "kd", "kd"]
    assert differences({good}, {**SHAPE, "hidden_size": 64}, MACHINE, print) == {good: None}
    assert looked[3:] == ["finetune"], "another shape is another probe"


def test_a_kept_answer_counts_only_if_it_says_bit_equal(machine, monkeypatch):
    kind, looked = default_kind("finetune"), []
    monkeypatch.setattr(determinism, "probe_in_worker", lambda kinds, shape, device: looked.extend(kinds) or [None])
    differences({kind}, SHAPE, MACHINE, print)
    (kept,) = machine.rglob("probe-*.json")
    for said in ({"bit_equal": False, "steps": 4}, {"steps": 4}, {"bit_equal": 1, "steps": 4}):
        kept.write_text(json.dumps(said), encoding="utf-8")
        before = len(looked)
        differences({kind}, SHAPE, MACHINE, print)
        assert len(looked) == before + 1, said


def test_a_home_that_cannot_be_written_to_is_no_obstacle(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setattr(determinism, "probe_in_worker", lambda kinds, shape, device: [None] * len(kinds))
    assert differences({default_kind("kd")}, SHAPE, MACHINE, print) == {default_kind("kd"): None}


def test_a_strict_suite_refuses_and_another_warns(suite, machine, monkeypatch):
    def look(kinds, shape, device):
        return ["loss of step 1" if kind.method == "pkd" else None for kind in kinds]

    monkeypatch.setattr(determinism, "probe_in_worker", look)
    said: list[str] = []
    plan = make_plan(load_suite(str(suite)))
    found = probe_suite(plan, plan.runs, SHAPE, said.append)
    assert found["pkd"] == Probe(False, determinism.STEPS, {"pkd": "loss of step 1"})
    assert {arm for arm, one in found.items() if one.bit_equal} == {"predecessor", "finetune", "kd", "theseus"}
    assert sum("pkd: loss of step 1" in line for line in said) == 1
    strict = make_plan(load_suite(str(suite), ["strict=true"]))
    assert [run.id for run in strict.runs] == [run.id for run in plan.runs]
    with pytest.raises(SuiteError, match=r"pkd: loss of step 1") as refused:
        probe_suite(strict, strict.runs, SHAPE, said.append)
    assert "\n" not in str(refused.value)
    assert probe_suite(strict, [], None, said.append) == {}, "nothing to run is nothing to probe"


def test_every_arm_is_probed_with_its_own_options(suite):
    own = load_suite(str(suite), ["arms.kd.options.alpha=0.25", "training.micro_batches=2"])
    kinds = {run.arm: kind_of(run) for run in make_plan(own).runs}
    assert json.loads(kinds["kd"].options)["alpha"] == 0.25
    assert {kind.micro_batches for kind in kinds.values()} == {2}
    assert kinds["kd"].build().alpha == 0.25


NOISY_METHOD = """
import os
from baselines.finetune import Finetune

class Noisy(Finetune):
    def loss(self, model, batch):
        return super().loss(model, batch) * (1 + 1e-3 * os.urandom(1)[0])

METHOD = Noisy
"""


@pytest.fixture
def noisy_machine(suite, tmp_path):
    """A process's surroundings in which there is one method more, which does not repeat itself, and a suite of it."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "noisy.py").write_text(NOISY_METHOD)
    (tmp_path / "sitecustomize.py").write_text(
        f"import baselines\nbaselines.__path__.append({str(tmp_path / 'methods')!r})\n"
    )
    text = suite.read_text(encoding="utf-8").partition("[arms.finetune]")[0]
    (tmp_path / "noisy.toml").write_text(f'{text}[arms.noisy]\nmethod = "noisy"\ntitle = "Noisy"\n')
    paths = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "XDG_CACHE_HOME": str(tmp_path / "machine")}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "benchmarks", *arguments]
        return subprocess.run(words, cwd=ROOT, env=os.environ | paths, capture_output=True, text=True, timeout=300)

    return command, tmp_path


@pytest.mark.slow
def test_noise_of_no_seed_is_found_before_anything_runs(noisy_machine):
    command, folder = noisy_machine
    results = folder / "results"
    only = ("run", str(folder / "noisy.toml"), "--results", str(results), "--seeds", "1", "--workers", "1")
    strict = command(*only, "--set", "strict=true")
    assert strict.returncode == 2, strict.stderr
    (line,) = [line for line in strict.stderr.splitlines() if line.startswith("error")]
    assert "noisy: loss of step 1" in line
    assert not list(results.glob("rte/*/*"))
    loose = command(*only)
    assert loose.returncode == 0, loose.stderr
    assert "warning: training does not repeat bit for bit here (noisy: loss of step 1)" in loose.stderr
    (manifest,) = results.glob("rte/noisy/*/manifest.json")
    probed = json.loads(manifest.read_text())["determinism_probe"]
    assert probed == {"bit_equal": False, "steps": determinism.STEPS, "methods": {"noisy": "loss of step 1"}}
    page = command("report", str(results))
    assert page.returncode == 0, page.stderr
    assert "did not repeat bit for bit" in Path(page.stdout.strip()).read_text(encoding="utf-8")
