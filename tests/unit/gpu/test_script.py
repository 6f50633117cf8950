"""`benchmarks.gpu` on a CPU: it times the suite's methods, its projection adds up, and its plan keeps the time."""

from __future__ import annotations

import ast
import multiprocessing
import re
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.__main__ import RESERVE, Bench, main
from benchmarks.gpu.cases import AS_RELEASED, DEVICE, DRY, METHODS, PAPER, PASSES, Case, method_of, plan
from benchmarks.gpu.document import render
from benchmarks.gpu.models import TASKS, batches_of, split_of
from benchmarks.gpu.pool import Failed, Workers, process
from benchmarks.gpu.projection import NotMeasured, project, shares, work_of
from benchmarks.speed import timing
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.lengths import histogram, load
from benchmarks.tasks.table import find_task
from theseus import LinearRate

ROOT = Path(__file__).resolve().parents[3]
GROUPS = PAPER.training.length_groups


@pytest.fixture(autouse=True)
def _settings_as_they_were():
    threads, cudnn = torch.get_num_threads(), torch.backends.cuda.cudnn_sdp_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    torch.backends.cuda.enable_cudnn_sdp(cudnn)


def test_the_methods_are_the_papers():
    assert method_of("kd") == PAPER.arms["kd"].build()
    assert method_of("pkd").needs(12, 6) == PAPER.arms["pkd"].build().needs(12, 6)
    code, own = (method_of(name).model_dump() for name in ("theseus-code-full", "theseus"))
    whole = PAPER.arms["theseus"].build().model_dump()
    assert {name for name in code if code[name] != whole[name]} == {"rate"}
    assert code["rate"]["p"] == 1.0
    assert (code["clip"], own["clip"]) == ("all", "trainable")


def test_shipped_lengths_are_those_of_the_task_table():
    found = load()
    assert sorted(found) == sorted(PAPER.tasks)
    for name, lengths in found.items():
        task = find_task(name)
        assert sum(lengths.counts) == lengths.examples
        assert lengths.lengths[-1] <= lengths.max_length == task.max_length
        assert lengths.split == "train" or lengths.examples != task.train_rows == lengths.train_rows


def test_histogram_cuts_at_the_tasks_length():
    entry = histogram(find_task("cola"), "train", [5, 7, 7, 500])
    assert (entry["first"], entry["examples"], len(entry["counts"])) == (5, 4, 124)
    assert (entry["counts"][:3], entry["counts"][-1]) == ([1, 0, 2], 1)


def test_batches_are_of_one_task_each_and_as_long_as_its_examples():
    tokens = split_of(128)
    per_task = len(tokens) // len(TASKS)
    for name, size in (("kd", DRY.batch_size), ("evaluate-successor", 64)):
        batches = batches_of(DRY, Case(name, "float32", 1, 1), tokens, seed=3)
        assert {len(rows) for rows in batches} == {size}
        assert all(len(set((rows // per_task).tolist())) == 1 for rows in batches)
        assert {int(rows[0]) // per_task for rows in batches} == set(range(len(TASKS)))
    evaluated = torch.cat([tokens.lengths[rows] for rows in batches if int(rows[0]) < per_task])
    assert (evaluated.diff() >= 0).all()  # in the order of length
    assert float(tokens.lengths[:per_task].double().mean()) == pytest.approx(load()[TASKS[0]].mean, rel=0.1)


def test_the_work_is_the_papers_suite(tmp_path):
    work = work_of(PAPER)["theseus"]
    assert (work["rte"].steps, work["mrpc"].steps, work["mnli"].steps) == (1170, 1725, 4 * 12272)
    assert work_of(PAPER)["predecessor"]["rte"].steps == 4 * 78
    assert (work["rte"].evaluations, work["mnli"].evaluations) == (24, 25)
    assert work["mnli"].evaluated == 9815 + 9832
    rate = LinearRate.reaching(0.3, 1000)
    assert work["rte"].mean_rate == pytest.approx(sum(map(rate, range(1170))) / 1170)

    (tmp_path / "short.toml").write_text('extends = "paper"\nname = "short"\ntasks = ["rte"]\ntraining.epochs = 1\n')
    short = work_of(load_suite(str(tmp_path / "short.toml")))
    assert (short["kd"]["rte"].steps, list(short["kd"])) == (78, ["rte"])


def measured(seconds, runs=2):
    """A case's entry whose steps take `seconds` on every task, and hold 64 examples."""
    entry = {"seconds": seconds, "examples": 64, "operations": 1.0}
    return {"tasks": dict.fromkeys(PAPER.tasks, entry), "mix": entry, "runs": runs}


def test_projection_adds_up():
    found = {(name, "float32", 2, GROUPS, False): measured(0.02) for name in METHODS}
    found |= {(name, "float32", 2, 1, False): measured(0.064) for name in PASSES}
    entry = project(PAPER, found, "float32", 2)
    tasks = work_of(PAPER)["kd"]
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

    found |= {("theseus-code", "float32", 2, GROUPS, False): measured(0.04)}
    found |= {("theseus-code-full", "float32", 2, GROUPS, False): measured(0.01)}
    rte = work_of(PAPER)["theseus"]["rte"]
    step = 0.01 + 2 * (1 - rte.mean_rate) * 0.03
    alone = project(PAPER, found, "float32", 2)["rows"]["theseus"]["tasks"]["rte"]
    evaluated = rte.evaluations * rte.evaluated * 0.001
    assert alone == pytest.approx((rte.steps * step + evaluated) / 2 * 5 / 3600)
    with pytest.raises(NotMeasured, match="predecessor in bfloat16"):
        project(PAPER, found, "bfloat16", 2)


class Inline(Executor):
    """A pool of one process that is this one."""

    def submit(self, function, /, *arguments, **named):
        future = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Failed as failed:
            future.set_exception(failed)
        return future


SMALL = replace(DRY, precisions=("float32",), compiled=(), variants=("bfloat16",), compared=(), window=0.0)


def test_the_whole_plan_in_this_process():
    too_long = replace(SMALL, lengths=(600,))  # more than the encoder has positions
    document = Bench(too_long, 60, dry=True, workers=Workers(Inline)).run()
    assert {case["status"] for case in document["cases"]} == {"done"}
    assert all(case["finite"] for case in document["cases"])
    assert document["determinism"][0]["repeated"]
    assert document["projection"]["best"]["float32"]["device_hours"] > 0
    assert {cell["status"] for cell in document["inference"]} == {"failed"}
    page = render(document)
    assert document["inference"][0]["reason"] in page
    assert "Nothing." in page


def test_a_ratio_of_too_few_rounds_is_told(monkeypatch):
    monkeypatch.setattr(timing, "FEWEST", 1000)
    document = Bench(replace(SMALL, runs=(1,), repeated=(), batches=(2,)), 60, dry=True, workers=Workers(Inline)).run()
    assert [cell["status"] for cell in document["inference"]] == ["done"]
    assert document["inference"][0]["ratio"] is None
    assert "| too few rounds |" in render(document)


def test_what_does_not_fit_is_left_out_and_named():
    document = Bench(SMALL, RESERVE + 0.5, dry=True, workers=Workers(Inline)).run()
    assert len(document["skipped"]) == len(list(plan(SMALL, GROUPS)))
    assert document["projection"]["best"] == {}
    page = render(document)
    assert "no time left" in page
    assert "Not possible: not measured: predecessor in float32 with" in page


def test_a_worker_that_hangs_fails_its_measurement_alone():
    workers = Workers(lambda: ThreadPoolExecutor(1))
    with pytest.raises(Failed, match="no answer"):
        workers.ask(1, 0.0, "window", time.monotonic() + 2.0, 0.0)
    assert workers.ask(1, time.monotonic() + 60, "info", "cpu")[0]["torch"] == torch.__version__


@pytest.mark.slow
def test_a_worker_that_died_is_started_again():
    workers = Workers(partial(process, DRY.place()))
    try:
        workers.ask(1, time.monotonic() + 120, "info", "cpu")
        for child in multiprocessing.active_children():
            child.kill()
        with suppress(Failed):  # where the pool has not noticed yet, one question is lost
            workers.ask(1, time.monotonic() + 120, "info", "cpu")
        assert workers.ask(1, time.monotonic() + 120, "info", "cpu")[0]["torch"] == torch.__version__
    finally:
        workers.end()


def test_the_plan_begins_with_what_the_projection_needs():
    items = list(plan(DEVICE, GROUPS))
    needed = len(DEVICE.precisions) * (len(METHODS) + len(AS_RELEASED) + len(PASSES))
    assert items[0].kind == "matmul"
    assert {item.case.runs for item in items[1 : 1 + 2 * needed]} == {1, 4}
    assert len({str(item) for item in items}) == len(items)
    assert set(shares(work_of(PAPER))) == set(TASKS)


def test_without_a_gpu_one_line_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--output", str(tmp_path)]) == 2
    assert main(["--output", str(tmp_path), "--dry", "--minutes", "0"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "--dry" in lines[0]


def imported(path):
    """Modules that a file imports when it is imported; of the script's own files also those it imports later."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if path.parent.name == "gpu" else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def foreign(*roots):
    """The packages not ours that these modules import, and all that they import of ours."""
    seen, others, todo = set(), set(), list(roots)
    while todo:
        name = todo.pop()
        file = ROOT / (name.replace(".", "/") + ".py")
        if name.partition(".")[0] not in {"benchmarks", "baselines", "theseus", "results"}:
            others.add(name.partition(".")[0])
        elif name not in seen and (file.is_file() or file.with_suffix("").is_dir()):
            seen.add(name)
            todo += [name.rpartition(".")[0]] if "." in name else []
            todo += imported(file if file.is_file() else file.with_suffix("") / "__init__.py")
    return {name.replace("_", "-") for name in others - set(sys.stdlib_module_names)}


def requirements(name):
    """The packages that one requires by itself."""
    wishes = [wish for wish in metadata.requires(name) or [] if ";" not in wish]
    return {re.match(r"[\w.-]+", wish).group().replace("_", "-").lower() for wish in wishes}


def test_it_needs_torch_transformers_and_what_its_wheels_bring():
    used = foreign("benchmarks.gpu.__main__", *(f"baselines.{name}" for name in METHODS))
    assert {"torch", "transformers", "numpy"} <= used
    installed = {"torch", "transformers", "numpy"} | requirements("torch") | requirements("transformers")
    needed, todo = set(), used - installed
    while todo:
        needed |= todo
        todo = {wish for name in todo for wish in requirements(name)} - needed - installed
    listed = re.search(r"^GPU_NEEDS\s*:=(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)[1]
    assert needed == set(listed.split())
