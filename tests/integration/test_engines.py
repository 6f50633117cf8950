"""An engine and a suite, each added in one file from outside the package, through the public command."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest

from benchmarks.base import stop
from benchmarks.base.errors import SuiteError
from benchmarks.engine.protocol import Answer, Job, perform
from benchmarks.engine.schedule import ENGINES, find_engine
from benchmarks.machine.settings import Device
from benchmarks.machine.signals import STOPS
from benchmarks.machine.workers import set_environment, start_worker
from benchmarks.plans.planner import make_plan
from benchmarks.runs.execute import RunOptions
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from tests import tiny
from tests.command import cli

FEW = ("--workers", "2", "--methods", "kd,theseus", "--seeds", "1", "--set", "keep_successors=true")


# --- the engine ------------------------------------------------------------------------------------------------------


class Forks:
    """A process for every run, forked from the runner. (A fork cannot use CUDA; local's processes are spawned.)"""

    def __init__(self, size: int, device: Device) -> None:
        self.size, self.device = size, device
        self.jobs: dict[connection.Connection, tuple[Job, Any]] = {}
        set_environment(device)

    @property
    def active(self) -> list[Job]:
        return [job for job, _ in self.jobs.values()]

    @property
    def free(self) -> int:
        return self.size - len(self.jobs)

    def start(self, job: Job) -> None:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        process = context.Process(target=self.work, args=(theirs, job))
        process.start()
        theirs.close()
        self.jobs[ours] = job, process

    def work(self, pipe: connection.Connection, job: Job) -> None:
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda *_: stop.ask())
        start_worker(self.device)
        pipe.send(perform(job))

    def wait(self, timeout: float, also: Iterable[Any] = ()) -> list[Answer]:
        return [self.answer(end) for end in connection.wait([*self.jobs, *also], timeout) if end in self.jobs]

    def answer(self, pipe: connection.Connection) -> Answer:
        job, process = self.jobs.pop(pipe)
        try:
            result = pipe.recv()
        except EOFError:
            result = None
        process.join()
        pipe.close()
        return Answer(job, result, process.exitcode)

    def stop(self, run_ids: Iterable[str] | None = None) -> None:
        for job, process in self.jobs.values():
            if run_ids is None or job.run.id in run_ids:
                os.kill(process.pid, signal.SIGUSR1)

    def close(self, patience: float = 0.0) -> None:
        for _, process in self.jobs.values():
            process.kill()
            process.join()


# --- what it is held to ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    return tiny.save_suite(folder, encoder, glue)


@pytest.fixture(scope="module")
def local(suite, tmp_path_factory) -> dict[str, bytes]:
    results = tmp_path_factory.mktemp("local")
    assert cli("run", suite, "--results", results, *FEW) == 0
    return files(results)


def files(results: Path) -> dict[str, bytes]:
    """The bytes of every file of a run that holds no times: settings, metrics, predictions and weights."""
    names = ("config.json", "metrics.jsonl", "predictions.parquet", "successor/model.safetensors")
    found = {
        str((folder / name).relative_to(results)): (folder / name).read_bytes()
        for folder in results.glob("rte/*/seed-*")
        for name in names
    }
    assert len(found) == 3 * len(names)  # the predecessor, KD and Theseus
    return found


def left(results: Path) -> list[Path]:
    """What a runner that has ended may not leave behind."""
    return [*(results / ".leases").iterdir(), *(results / ".partial").iterdir()]


def test_an_engine_from_outside_gives_the_bits_of_local(suite, local, tmp_path, monkeypatch):
    opened: list[int] = []

    def open_forks(size: int, device: Device) -> Forks:
        opened.append(size)
        return Forks(size, device)

    monkeypatch.setitem(ENGINES, "forks", open_forks)
    assert cli("run", suite, "--results", tmp_path, "--engine", "forks", *FEW) == 0
    assert opened == [2]
    assert files(tmp_path) == local
    assert left(tmp_path) == []


def test_a_worker_of_its_own_that_dies_costs_one_repetition(suite, local, tmp_path, monkeypatch, capfd):
    died = tmp_path / "died"

    class Dying(Forks):
        def work(self, pipe: connection.Connection, job: Job) -> None:
            if job.run.arm == "kd" and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            super().work(pipe, job)

    monkeypatch.setitem(ENGINES, "dying", Dying)
    assert cli("run", suite, "--results", tmp_path / "results", "--engine", "dying", *FEW) == 0
    assert "kd seed 1: its worker was killed by the system (signal 9" in capfd.readouterr().err
    assert files(tmp_path / "results") == local
    assert left(tmp_path / "results") == []


def test_its_runs_stop_after_the_step_under_way(suite, tmp_path, monkeypatch):
    deadline = time.monotonic() + 60

    class Stopped(Forks):
        def wait(self, timeout: float, also: Iterable[Any] = ()) -> list[Answer]:
            assert time.monotonic() < deadline
            if list((tmp_path / ".partial").iterdir()):  # a run is under way
                os.kill(os.getpid(), signal.SIGTERM)
            return super().wait(min(timeout, 0.05), also)

    runs = make_plan(load_suite(str(suite), ["training.max_steps=1000000"])).runs[:1]
    Store(tmp_path).start().rmdir()
    monkeypatch.setitem(ENGINES, "stopped", Stopped)
    with pytest.raises(KeyboardInterrupt):
        find_engine("stopped")(runs, tmp_path, 1, print, {run.id: RunOptions() for run in runs}, print)
    assert list(tmp_path.glob("rte/*/*/result.json")) == left(tmp_path) == []


def test_an_unknown_engine_is_answered_with_the_nearest_one(monkeypatch):
    monkeypatch.setitem(ENGINES, "forks", Forks)
    for name, words in [("locl", "did you mean 'local'?"), ("fork", "'forks'"), ("xyz", "there are: local, forks")]:
        with pytest.raises(SuiteError) as refused:
            find_engine(name)
        assert str(refused.value).startswith(f"unknown engine {name!r}: ")
        assert words in str(refused.value)


# --- a suite in one file ---------------------------------------------------------------------------------------------

MINE = """
extends = "demo-ci"
name = "mine"
tasks = ["syn-cola"]
seeds = [1]
[training]
max_steps = 2
[arms.cooler]
method = "kd"
title = "KD at temperature 2"
options = { temperature = 2.0 }
"""


@pytest.mark.slow  # a grid of its own is trained
def test_a_suite_in_one_file_from_outside_runs_and_changes_only_what_it_names(tmp_path, monkeypatch):
    monkeypatch.setitem(ENGINES, "forks", Forks)
    (tmp_path / "mine.toml").write_text(MINE, encoding="utf-8")
    results = tmp_path / "results"
    assert cli("run", tmp_path / "mine.toml", "--results", results, "--engine", "forks", "--workers", "1") == 0
    (run,) = results.glob("syn-cola/kd/seed-1-*")
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert (config["suite"], config["options"]["temperature"], config["training"]["max_steps"]) == ("mine", 2.0, 2)
    assert config["training"]["learning_rate"] == 5e-4  # the demo's
    assert json.loads((run / "result.json").read_text(encoding="utf-8"))["status"] == "done"
