"""Real runners with real workers: several on one folder, killed, stopped once and twice, and short of disk."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from safetensors import SafetensorError

from benchmarks.plans.planner import make_plan
from benchmarks.runs import faults
from benchmarks.suites.suite import load_suite
from tests.command import cli

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "tests/faults/runner.py"
GRID = ("--set", "predecessor.per_seed=true", "--set", "seeds=[1, 2, 3, 4, 5, 6]", "--methods", "finetune,kd,theseus")
ONE = ("--methods", "finetune", "--seeds", "1")
LONG = ("--set", "training.max_steps=1000000")


class Runner:
    """`python -m benchmarks run` (or, with a `log`, the same written down) in a process of its own."""

    def __init__(self, suite: Path, results: Path, *arguments: str, log: Path | None = None) -> None:
        program = [str(RUNNER), str(log)] if log else ["-m", "benchmarks"]
        command = [sys.executable, *program, "run", str(suite), "--results", str(results), *arguments]
        self.process = psutil.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    def line(self, *words: str) -> str:
        """Its next line with one of these words, read as it comes."""
        for line in self.process.stderr:
            if any(word in line for word in words):
                return str(line)
        raise AssertionError(f"the runner ended before it said {words}")

    def workers(self) -> list[psutil.Process]:
        """Its children that compute, once there are any."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = [child for child in self.process.children() if "spawn_main" in " ".join(child.cmdline())]
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError("no worker was started")

    def end(self, timeout: float = 240.0) -> tuple[int, str]:
        said = self.process.communicate(timeout=timeout)[1]
        return self.process.returncode, said


def training(results: Path) -> None:
    """Wait until a worker has begun to fill a run's folder."""
    deadline = time.monotonic() + 120
    while not list(results.glob(".partial/*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(results: Path) -> list[Path]:
    return sorted(results.glob("*/*/seed-*/result.json"))


def gone(processes: list[psutil.Process], timeout: float = 10.0) -> bool:
    return not psutil.wait_procs(processes, timeout=timeout)[1]


def log_of(path: Path) -> SimpleNamespace:
    """How often each run was started and done, over all runners."""
    lines = [line.split() for line in path.read_text().splitlines()]
    count = {kind: Counter(run for what, run, _ in lines if what == kind) for kind in ("start", "done")}
    return SimpleNamespace(started=count["start"], done=count["done"], runners={pid for _, _, pid in lines})


# Several runners


@pytest.mark.slow
def test_four_runners_do_every_run_exactly_once(suite, tmp_path):
    results, log = tmp_path / "results", tmp_path / "log"
    runners = [Runner(suite, results, "--workers", "1", *GRID, log=log) for _ in range(4)]
    ends = [runner.end() for runner in runners]
    assert [code for code, _ in ends] == [0] * 4, ends
    found = log_of(log)
    assert len(finished(results)) == 24
    assert found.started == found.done == {json.loads(path.read_text())["run_id"]: 1 for path in finished(results)}
    assert len(found.runners) > 1
    for _, said in ends:  # each knows of all
        assert "[24/24]" in said or "nothing to do" in said
    assert list((results / ".leases").iterdir()) == list((results / ".partial").iterdir()) == []


@pytest.mark.slow
def test_two_of_four_killed_half_way_leave_nothing_undone_and_nothing_done_twice(suite, tmp_path):
    results, log = tmp_path / "results", tmp_path / "log"
    runners = [Runner(suite, results, "--workers", "1", *GRID, log=log) for _ in range(4)]
    deadline = time.monotonic() + 120
    while len(finished(results)) < 8:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for runner in runners[:2]:
        runner.process.send_signal(signal.SIGKILL)
    ends = [runner.end() for runner in runners]
    assert [code for code, _ in ends] == [-signal.SIGKILL] * 2 + [0] * 2, ends
    results_of = {json.loads(path.read_text())["run_id"]: path for path in finished(results)}
    assert len(results_of) == len(finished(results)) == 24
    assert all(json.loads(path.read_text())["status"] == "done" for path in results_of.values())
    found = log_of(log)
    again = found.started - Counter(dict.fromkeys(results_of, 1))
    assert set(found.started) == set(results_of)
    assert again.total() <= 2  # what the killed had under way, and nothing else
    assert max(found.done.values()) == 1
    assert list((results / ".leases").iterdir()) == []


# Workers that die


@pytest.mark.slow
def test_a_worker_that_is_killed_twice_fails_its_run_and_nothing_else(suite, tmp_path):
    results = tmp_path / "results"
    long = ("--methods", "finetune,kd", "--seeds", "1", "--set", "arms.finetune.training.max_steps=1000000")
    runner = Runner(suite, results, "--workers", "2", *long)
    runner.line("kd seed 1: ")  # done, so what is left is the run that never ends
    (busy,) = [worker for worker in runner.workers() if worker.cpu_percent(0.5) > 20]
    busy.kill()
    assert "finetune seed 1: its worker was killed" in runner.line("warning")
    deadline = time.monotonic() + 60
    while not (again := [worker for worker in runner.workers() if worker.cpu_percent(0.5) > 20]):
        assert time.monotonic() < deadline
    again[0].kill()
    code, said = runner.end()
    assert code == 1
    assert "[3/3] rte finetune seed 1: failed: its worker was killed by the system (signal 9" in said
    (failed,) = results.glob("rte/finetune/*/result.json")
    assert "out of memory?" in json.loads(failed.read_text())["reason"]
    statuses = Counter(json.loads(path.read_text())["status"] for path in finished(results))
    assert statuses == {"done": 2, "failed": 1}


# Signals


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_finishes_the_step_and_gives_the_run_back(suite, tmp_path, how):
    """To the whole process group, as a terminal and a batch system send it."""
    runner = Runner(suite, tmp_path, *ONE, *LONG)
    training(tmp_path)
    workers = runner.workers()
    for process in (runner.process, *workers):
        process.send_signal(how)
    code, said = runner.end()
    assert code == 75, said
    assert said.count("stopping: finishing the step under way") == 1
    assert "give the same command again to continue" in said
    assert "Traceback" not in said
    assert gone(workers)
    assert list((tmp_path / ".leases").iterdir()) == list((tmp_path / ".partial").iterdir()) == []
    assert finished(tmp_path) == []


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once_and_a_second_sigterm_does_not(suite, tmp_path):
    runner = Runner(suite, tmp_path, *ONE, *LONG)
    training(tmp_path)
    workers = runner.workers()
    for worker in workers:
        worker.suspend()  # in the middle of a step that will not end
    runner.process.send_signal(signal.SIGTERM)
    runner.line("stopping")
    runner.process.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert runner.process.is_running()
    runner.process.send_signal(signal.SIGINT)
    code, said = runner.end(10)
    assert code == 75
    assert "Traceback" not in said
    assert gone(workers)
    assert list((tmp_path / ".leases").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0, 3.0, 5.0, 8.0])
def test_a_ctrl_c_while_it_starts_is_one_line(suite, tmp_path, seconds):
    """While it imports, plans, probes and starts its workers; and a second one whenever that comes."""
    runner = Runner(suite, tmp_path, *ONE, *LONG)
    time.sleep(seconds)
    children = runner.process.children(recursive=True)
    for process in (runner.process, *children):
        process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    if runner.process.is_running():
        runner.process.send_signal(signal.SIGINT)
    code, said = runner.end()
    assert code == 75, said
    assert "Traceback" not in said
    assert "give the same command again to continue" in said
    assert gone(children)


# Disk and memory


def test_a_full_disk_is_said_before_anything_starts(suite, tmp_path, monkeypatch, capfd):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    assert cli("run", suite, "--results", tmp_path / "results") == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert str(tmp_path / "results") in line
    assert "9 runs will take about" in line
    assert "100,000 are free" in line
    assert "--results" in line
    assert finished(tmp_path) == []


@pytest.fixture(scope="module")
def run(suite):
    return make_plan(load_suite(str(suite))).runs[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "out of memory: peak"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out of memory",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out of memory"),
        (MemoryError(), "training.micro_batches=2 takes a batch in 2 parts (it does not change the batch)"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.ENOSPC, "x", "/proc/data"), "disk full: /proc/data (No space left on device, 0 bytes free)"),
        (OSError(errno.EDQUOT, "x", "/proc/data"), "disk full: /proc/data (Disk quota exceeded"),
        (
            SafetensorError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'),
            "disk full",
        ),
        (OSError(errno.EROFS, "x", "/data"), "cannot write /data (Read-only file system)"),
        (ValueError("two\nlines"), "ValueError: two lines"),
    ],
)
def test_what_went_wrong_is_said_in_words_that_help(run, error, words):
    said = faults.reason(error, run)
    assert words in said
    assert "\n" not in said
    wrapped = RuntimeError("while saving")
    wrapped.__cause__ = error
    assert words in faults.reason(wrapped, run) or isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [(-9, "(signal 9 SIGKILL; out of memory?)"), (-11, "(signal 11 SIGSEGV)"), (3, "exit code 3"), (-63, "(signal 63")],
)
def test_how_a_worker_died_is_said(exitcode, words):
    assert words in faults.killed(exitcode)
