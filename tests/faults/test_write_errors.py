"""A write fails, at any of the places where a run writes: nothing finished is touched, nothing is left half-written,
and the same command finishes with the bytes of an undisturbed run.

Python's own writes are counted and failed by an audit hook; what Rust and C++ write (safetensors, parquet) and what is
mapped meets a limit on the size of files instead.
"""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

from benchmarks.plans.planner import make_plan
from benchmarks.runs.execute import RunOptions, execute
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from reports import read
from tests import tiny

OPTIONS = RunOptions(checkpoint_seconds=0.0)  # checkpoints too, as often as they are allowed
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
REFERENCE = ("metrics.jsonl", "predictions.parquet", "config.json", "successor/model.safetensors")


class Grid:
    """A suite with a finished predecessor in its folder `base`, and one run to do; `whole` is what comes out.

    The run is made of everything that writes: tokens, predecessor outputs, checkpoints, log, predictions, weights.
    """

    def __init__(self, folder: Path) -> None:
        encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
        suite = tiny.save_suite(folder, encoder, glue)
        self.plan = make_plan(load_suite(str(suite), ["keep_successors=true", "seeds=[1]"]))
        self.folder, self.base = folder, folder / "base"
        runs = {run.arm: run for run in self.plan.runs}
        self.run = runs["kd"]
        Store(self.base).open()
        Store(self.base).write_suite(self.plan)
        assert in_child(lambda: execute(runs["predecessor"], self.base, OPTIONS)) == 0
        shutil.rmtree(self.base / "cache")
        self.kept = hashes(self.base)
        self.whole = self.copy("whole")
        self.writes = folder / "writes"
        assert in_child(lambda: counted(self, self.whole, None, False)) == 0
        self.count = int(self.writes.read_text())

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.base, self.folder / name))


def in_child(work: Callable[[], object]) -> int:
    """Do it in a process of its own, so that hooks and limits end with it; its exit code."""
    process = get_context("fork").Process(target=work)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def hashes(folder: Path) -> dict[str, str]:
    """Every file of the finished runs."""
    files = (path for path in folder.glob("rte/*/seed-*/**/*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def counted(grid: Grid, results: Path, fails: int | str | None, from_there_on: bool) -> None:
    """Execute the run while its `fails`-th write under `results` fails, or the first whose path holds that name; or
    every one from there on."""
    done, failed = 0, False

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done, failed
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITING:
                return
        elif event in ("os.rename", "os.mkdir", "os.chmod"):
            path = arguments[0]
        else:
            return
        if isinstance(path, str | os.PathLike) and str(path).startswith(str(results)):
            done += 1
            due = done == fails or (isinstance(fails, str) and fails in str(path))
            if (from_there_on and failed) or (due and not failed):
                failed = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    sys.addaudithook(hook)
    with suppress(OSError):
        execute(grid.run, results, OPTIONS)
    if fails is None:
        grid.writes.write_text(str(done))


def limited(grid: Grid, results: Path, size: int) -> None:
    """Execute the run while no file may grow beyond `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with suppress(OSError):
        execute(grid.run, results, OPTIONS)


def survives(grid: Grid, results: Path) -> str:
    """Hold what the fault left against what must be there, then run again; what the run was in between."""
    left = hashes(results)
    assert {name: left.get(name) for name in grid.kept} == grid.kept, "a finished run was touched"
    found = {run.arm: run for run in read(results).runs}
    assert found["predecessor"].status == "done"
    folder, status = results / grid.run.folder, found["kd"].status
    if folder.exists():
        assert status in ("done", "failed"), "a folder without a result"
        names = {path.name for path in folder.iterdir()}
        of_any = {"config.json", "manifest.json", "result.json"}
        assert names == (
            of_any if status == "failed" else {path.name for path in (grid.whole / grid.run.folder).iterdir()}
        )
    if status == "failed":
        assert found["kd"].reason, "a failed run says why"
    Store(results).sweep()
    if not Store(results).settled(grid.run):
        assert in_child(lambda: execute(grid.run, results, OPTIONS)) == 0
    for name in REFERENCE:
        assert (folder / name).read_bytes() == (grid.whole / grid.run.folder / name).read_bytes(), name
    assert not list((results / ".partial").iterdir())
    assert not [path for path in (results / "cache").iterdir() if path.name.startswith(".")]
    shutil.rmtree(results)
    return status


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Grid:
    return Grid(tmp_path_factory.mktemp("grid"))


def fail_at(grid: Grid, write: int | str, from_there_on: bool) -> str:
    results = grid.copy(f"write-{Path(str(write)).name}-{from_there_on}")
    assert in_child(lambda: counted(grid, results, write, from_there_on)) == 0
    return survives(grid, results)


def test_a_write_that_fails_in_the_middle_leaves_a_failed_run_and_nothing_half_written(grid):
    assert fail_at(grid, "successor/config.json", from_there_on=False) == "failed"


def test_a_disk_that_stays_full_leaves_no_run_at_all(grid):
    assert fail_at(grid, "manifest.json", from_there_on=True) == "missing"


def test_a_file_that_cannot_grow_leaves_nothing_half_written(grid):
    results = grid.copy("limit")
    assert in_child(lambda: limited(grid, results, 4000)) == 0
    assert survives(grid, results) in ("failed", "missing")


@pytest.mark.slow
@pytest.mark.parametrize("from_there_on", [False, True])
def test_any_write_may_fail(grid, from_there_on):
    """The n-th write of a run, for every n, alone or with all that follow."""
    assert grid.count > 30
    statuses = [fail_at(grid, write, from_there_on) for write in range(1, grid.count + 1)]
    assert "missing" in statuses
    assert ("failed" in statuses) != from_there_on, "a disk that is full cannot take the news either"


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 100, 1000, 2000, 3000, 10_000, 20_000, 50_000, 100_000, 150_000, 200_000])
def test_any_size_may_be_too_much(grid, size):
    """What Python's hooks do not see: arrays, weights and predictions that stop growing in the middle of a file."""
    results = grid.copy(f"limit-{size}")
    assert in_child(lambda: limited(grid, results, size)) == 0
    survives(grid, results)
