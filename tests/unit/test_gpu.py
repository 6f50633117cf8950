"""benchmarks/gpu.py on a CPU: its step is the suite's, its counts and projection are right, its plan keeps the time."""

from __future__ import annotations

import ast
import gc
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch

from baselines import find
from baselines.method import Given
from benchmarks import gpu
from benchmarks.batches import Tokens, training_rows
from benchmarks.gpu_batches import cycle, make_split
from benchmarks.gpu_cases import AS_RELEASED, DEVICE, DRY, METHODS, PASSES, TINY, Case, plan
from benchmarks.gpu_markdown import render
from benchmarks.gpu_pool import Failed
from benchmarks.gpu_projection import PADDED, NotMeasured, mean_rate, project, read_table
from benchmarks.gpu_steps import TrainingStep, classifier, followed_layers, random_outputs, theseus_units
from benchmarks.gpu_worker import Worker
from benchmarks.lengths import histogram, load
from benchmarks.settings import Device, Training
from benchmarks.suite import load_suite
from benchmarks.tasks import find_task
from benchmarks.training import train
from theseus import LinearRate

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {
    "kd": {"temperature": 10.0},
    "pkd": {"beta": 500.0},
    "theseus": {"rate": {"kind": "constant", "p": 0.5}},
    "theseus-code": {
        "rate": {"kind": "constant", "p": 0.5},
        "clip": "all",
        "undrawn": "momentum",
        "draw": "forward",
    },
}


@pytest.fixture(autouse=True)
def _settings_as_they_were():
    threads, cudnn = torch.get_num_threads(), torch.backends.cuda.cudnn_sdp_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.backends.cuda.enable_cudnn_sdp(cudnn)


@pytest.mark.parametrize("name", [*METHODS, "theseus-code"])
def test_a_step_is_the_suites_own_bit_for_bit(name):
    steps, seed = 3, 5
    split = make_split(load()["rte"], TINY.vocabulary, random_outputs(TINY, 64, torch.float32), 1, examples=64)
    ours = TrainingStep(Case(name, "float32", batch_size=8), TINY, "cpu", seed=seed)
    for number, rows in enumerate(training_rows(seed, 64, 8, steps)):
        ours.step(number, split, rows)
    ours.close()

    method = find("theseus" if name in AS_RELEASED else name)(**OPTIONS.get(name, {}))
    given = Given(lambda: classifier(TINY, "cpu", seed), lambda: classifier(TINY, "cpu", seed), TINY.successor, seed, 9)
    model = method.build(given)
    tokens = Tokens(split.ids, split.types, split.offsets, split.labels, torch.arange(64), 0)
    needs = {layer: split.outputs[layer] for layer in method.needs(TINY.layers, TINY.successor)}
    training = Training(max_steps=steps, batch_size=8, length_groups=4, schedule="constant", learning_rate=2e-5)
    train(method, model, tokens, needs, training, seed, Device(device="cpu"), lambda point: None)
    theirs = list(model.parameters())
    assert len(theirs) == len(list(ours.model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(ours.model.parameters(), theirs, strict=True))


def test_pkd_follows_the_layers_its_method_does():
    assert set(followed_layers(TINY)) | {"logits"} == find("pkd")().needs(TINY.layers, TINY.successor)
    assert set(followed_layers(DEVICE.shape)) | {"logits"} == find("pkd")().needs(12, 6)


def test_operations_of_a_theseus_step():
    assert theseus_units([True] * 6, 2, frozen_gradients=False) == 6 + 1 + 5 * 2  # the lowest needs no input gradient
    assert theseus_units([False] * 6, 2, frozen_gradients=False) == 12
    assert theseus_units([False, True, False], 2, frozen_gradients=False) == 2 + 2 + 4
    assert theseus_units([False, True, False], 2, frozen_gradients=True) == 3 * 5
    mean = sum(theseus_units(list(gates), 2, False) for gates in product((False, True), repeat=6)) / 2**6
    assert mean == pytest.approx(find("theseus")(rate={"kind": "constant", "p": 0.5}).work(12, 6, 100))


def test_shipped_lengths_are_those_of_the_task_table():
    found = load()
    assert sorted(found) == sorted(name for name in read_table().shares)
    for name, lengths in found.items():
        task = find_task(name)
        assert sum(lengths.counts) == lengths.examples
        assert lengths.lengths[-1] <= lengths.max_length == task.max_length
        assert lengths.mean == pytest.approx(task.tokens, abs=0.06)
        assert lengths.split == "train" or lengths.examples != task.train_rows == lengths.train_rows


def test_histogram_cuts_at_the_tasks_length():
    entry = histogram(find_task("cola"), "train", [5, 7, 7, 500])
    assert (entry["first"], entry["examples"], len(entry["counts"])) == (5, 4, 124)
    assert (entry["counts"][:3], entry["counts"][-1]) == ([1, 0, 2], 1)


def test_a_cycle_has_every_task_and_mostly_the_large_ones():
    shares = read_table().shares
    found = cycle(shares, 64, seed=1)
    assert len(found) == 64
    assert min(found.count(task) for task in shares) >= 2
    assert found.count("mnli") + found.count("qqp") > 32
    assert found != cycle(shares, 64, seed=2)


def test_the_table_is_the_papers_suite():
    table = read_table()
    work = table.work["theseus"]
    assert (work["rte"].steps, work["mrpc"].steps, work["mnli"].steps) == (1170, 1725, 4 * 12272)
    assert table.work["predecessor"]["rte"].steps == 4 * 78
    assert (work["rte"].evaluations, work["mnli"].evaluations) == (24, 25)
    assert work["mnli"].evaluated == 9815 + 9832
    for base, reach, steps in ((0.3, 1000, 1170), (0.3, 5000, 800), (0.1, 0.5, 9)):
        whole = round(reach * steps) if reach < 1 else reach
        rate = LinearRate.reaching(base, whole)
        assert mean_rate(base, reach, steps) == pytest.approx(sum(map(rate, range(steps))) / steps)


def measured(seconds, runs=2):
    """A case's entry whose steps take `seconds` on every task, and hold 64 examples."""
    entry = {"seconds": seconds, "examples": 64, "operations": 1.0}
    return {"tasks": {task: entry for task in read_table().shares}, "mix": entry, "runs": runs}


def test_projection_adds_up():
    table = read_table()
    groups = table.length_groups
    assert groups == load_suite("paper").training.length_groups
    found = {(name, "float32", 2, groups, False): measured(0.02) for name in METHODS}
    found |= {(name, "float32", 2, PADDED, False): measured(0.064) for name in PASSES}
    entry = project(table, found, "float32", 2)
    tasks = table.work["kd"]
    training = sum(work.steps for work in tasks.values()) * 0.02 / 2 * 5 / 3600
    evaluation = sum(work.evaluations * work.evaluated for work in tasks.values()) * 0.001 / 2 * 5 / 3600
    assert entry["rows"]["kd"]["training_hours"] == pytest.approx(training)
    assert entry["rows"]["kd"]["evaluation_hours"] == pytest.approx(evaluation)
    outputs = sum(work.train_rows for work in tasks.values()) * 0.001 / 2 * 5 / 3600
    hours = sum(row["hours"] for row in entry["rows"].values()) + outputs
    assert entry["device_hours"] == pytest.approx(hours)
    spared = 0.8 * (entry["rows"]["predecessor"]["hours"] + outputs)
    assert entry["device_hours_with_one_predecessor_per_task"] == pytest.approx(hours - spared)
    assert any("theseus" in note for note in entry["notes"])

    found |= {("theseus-code", "float32", 2, groups, False): measured(0.04)}
    found |= {("theseus-code-full", "float32", 2, groups, False): measured(0.01)}
    rte = table.work["theseus"]["rte"]
    step = 0.01 + 2 * (1 - rte.mean_rate) * 0.03
    alone = project(table, found, "float32", 2)["rows"]["theseus"]["tasks"]["rte"]
    evaluated = rte.evaluations * rte.evaluated * 0.001
    assert alone == pytest.approx((rte.steps * step + evaluated) / 2 * 5 / 3600)
    with pytest.raises(NotMeasured, match="predecessor in bfloat16"):
        project(table, found, "bfloat16", 2)


class InProcess:
    """A pool whose workers are one and this process; `broken`: what fails, by the name of the question."""

    broken: str | None = None

    def __init__(self, scale, shares):
        self.worker = Worker(scale, shares, 0)
        gc.freeze()  # as a worker does

    def ask(self, indices, name, timeout, **arguments):
        if name == self.broken:
            raise Failed("OutOfMemoryError: of memory | out")
        return [getattr(self.worker, name)(**arguments)] * len(indices)

    def close(self):
        self.worker.drop()
        gc.unfreeze()


SMALL = replace(DRY, precisions=("float32",), compiled=(), variants=("bfloat16",), compared=(), window=0.0)


def test_the_whole_plan_in_this_process(monkeypatch):
    monkeypatch.setattr(gpu, "Pool", InProcess)
    monkeypatch.setattr(InProcess, "broken", "inference")
    document = gpu.Bench(SMALL, 60, dry=True).run()
    assert {case["status"] for case in document["cases"]} == {"done"}
    assert all(case["finite"] for case in document["cases"])
    assert document["determinism"][0]["repeated"]
    assert document["projection"]["best"]["float32"]["device_hours"] > 0
    assert {cell["status"] for cell in document["inference"]} == {"failed"}
    page = render(document)
    assert "of memory \\| out" in page
    assert "Nothing." in page


def test_what_does_not_fit_is_left_out_and_named(monkeypatch):
    monkeypatch.setattr(gpu, "Pool", InProcess)
    document = gpu.Bench(SMALL, gpu.RESERVE + 0.5, dry=True).run()
    assert len(document["skipped"]) == len(list(plan(SMALL, read_table().length_groups)))
    assert document["projection"]["best"] == {}
    page = render(document)
    assert "no time left" in page
    assert "Not possible: not measured: predecessor in float32 with" in page


def test_the_plan_begins_with_what_the_projection_needs():
    items = list(plan(DEVICE, 4))
    needed = len(DEVICE.precisions) * (len(METHODS) + len(AS_RELEASED) + len(PASSES))
    assert items[0].kind == "matmul"
    assert {item.case.runs for item in items[1 : 1 + 2 * needed]} == {1, 4}
    assert len({item.title for item in items}) == len(items)


def test_without_a_gpu_one_line_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--output", str(tmp_path)]) == 2
    assert gpu.main(["--output", str(tmp_path), "--dry", "--minutes", "0"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "--dry" in lines[0]


def imported(path):
    """Modules that a file imports when it is imported."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_it_needs_torch_and_transformers_only():
    seen, others, todo = set(), set(), ["benchmarks.gpu", "benchmarks.gpu_worker", "benchmarks.gpu_probes"]
    while todo:
        name = todo.pop()
        root = name.partition(".")[0]
        file = ROOT / (name.replace(".", "/") + ".py")
        if root not in {"benchmarks", "baselines", "theseus"}:
            others.add(root)
            continue
        if name in seen or not (file.is_file() or file.with_suffix("").is_dir()):
            continue
        seen.add(name)
        todo += [name.rpartition(".")[0]] if "." in name else []
        todo += imported(file if file.is_file() else file.with_suffix("") / "__init__.py")
    assert {"benchmarks.groups", "baselines.losses", "theseus.replacing"} <= seen
    assert others - set(sys.stdlib_module_names) == {"torch", "transformers", "numpy"}
