"""Runs in bad surroundings, as real processes: folders that are gone or closed, a clock that jumps, disks that fill up
or become read-only, two containers on one folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.base.errors import BAD_INPUT, FAILED, ROOT
from benchmarks.plans.planner import make_plan
from benchmarks.preflight import disk_space
from benchmarks.suites.suite import load_suite
from tests.faults.namespaces import unshared, without_root
from tests.faults.test_runners import RUNNER, finished, log_of

BOTH = ("--seeds", "1", "--methods", "kd", "--workers", "1", "--set", "keep_successors=true")
NOWHERE = "/proc/nowhere/at/all"  # nobody can make it, not even root


class Command:
    """`python -m benchmarks …`, behind what namespaces need; its mounts are seen under `root`."""

    def __init__(
        self, *arguments: object, before: tuple[str, ...] = (), root: bool = True, **surroundings: str
    ) -> None:
        given = {**os.environ, **surroundings}
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "benchmarks", *map(str, arguments)], cwd=ROOT, text=True,
            env={name: value for name, value in given.items() if value}, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=None if root else without_root,
        )  # fmt: skip
        self.root = Path(f"/proc/{self.process.pid}/root")

    def until(self, pattern: str, folder: Path) -> None:
        """Wait until the folder, as the command sees it, holds such a file."""
        deadline = time.monotonic() + 200
        while not list((self.root / folder.relative_to("/")).glob(pattern)):
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def end(self, seconds: int = 900) -> tuple[int, str]:
        said = self.process.communicate(timeout=seconds)
        assert "Traceback" not in said[1], said[1]
        return self.process.returncode, "".join(said)


NINE = ("--workers", "1", "--set", "predecessor.per_seed=true", "--set", "seeds=[1, 2, 3]", "--methods", "finetune,kd")


def each_once(runners: list[subprocess.Popen[str]], results: Path, log: Path) -> None:
    """The runners end well, after the nine runs were started and done once each, and leave no lease."""
    ends = [(runner.communicate(timeout=900)[1], runner.returncode) for runner in runners]
    assert [code for _, code in ends] == [0, 0], ends
    found = log_of(log)
    assert found.started == found.done == {json.loads(path.read_text())["run_id"]: 1 for path in finished(results)}
    assert len(finished(results)) == 9
    assert list((results / ".leases").iterdir()) == list((results / ".partial").iterdir()) == []


def numbers(results: Path) -> dict[str, bytes]:
    """The bytes of every file of a finished run that holds no times."""
    names = ("config.json", "metrics.jsonl", "predictions.parquet", "successor/model.safetensors")
    return {str(p.relative_to(results)): p.read_bytes() for name in names for p in results.glob(f"*/*/*/{name}")}


# Folders


@pytest.mark.parametrize("command", [*(pytest.param(c, marks=pytest.mark.slow) for c in ("plan", "run")), "report"])
def test_no_home_no_cache_and_no_folder_for_temporary_files_are_needed(suite, tmp_path, command) -> None:
    where = {"HOME": NOWHERE, "XDG_CACHE_HOME": "", "HF_HOME": "", "TMPDIR": NOWHERE, "MPLCONFIGDIR": ""}
    preview = (ROOT / "results/minilm-preview", "--output", tmp_path / "report")
    rest = preview if command == "report" else (suite, "--results", tmp_path / "results", *BOTH[:4])
    code, said = Command(command, *rest, **where).end()
    assert code == 0, said
    assert "atplotlib" not in said


@pytest.mark.slow
def test_doctor_needs_no_home(tmp_path) -> None:
    nothing = dict.fromkeys(("XDG_CACHE_HOME", "GLUE_DIR", "ENCODER_DIR"), "")
    code, said = Command("doctor", HOME=NOWHERE, TMPDIR=NOWHERE, **nothing).end(300)
    assert (code, "workers      float32" in said) == (0, True), said


@pytest.mark.parametrize("command", [*(pytest.param(c, marks=pytest.mark.slow) for c in ("plan", "run")), "report"])
def test_a_folder_that_may_not_be_entered_is_one_line(suite, tmp_path, command) -> None:
    results = tmp_path / "closed" / "results"
    results.mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    try:
        rest = (results,) if command == "report" else (suite, "--results", results)
        code, said = Command(command, *rest, root=False).end()
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert (code, len(said.strip().splitlines())) == (BAD_INPUT, 1), said
    assert "closed" in said


@pytest.mark.slow
def test_a_results_folder_that_is_removed_during_a_run_does_not_end_well(suite, tmp_path) -> None:
    results = tmp_path / "results"
    command = Command("run", suite, "--results", results, *BOTH, "--set", "training.max_steps=300")
    command.until(".partial/*", results)
    while results.exists():  # the run goes on writing while the folder is removed
        shutil.rmtree(results, ignore_errors=True)
    code, said = command.end()
    assert code in (FAILED, BAD_INPUT), said
    assert "removed" in said or "failed" in said


# The clock


JUMP = """
import os, time
real = time.time
time.time = lambda: real() + 86400 * {days} * os.path.exists({now!r})
"""


def jumping(folder: Path, days: int, now: Path) -> dict[str, str]:
    """Surroundings in which every process has another clock from the moment when the file `now` is there."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(JUMP.format(days=days, now=str(now)), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


LONG = (*BOTH, "--set", "training.max_steps=100", "--checkpoint-seconds", "0")


@pytest.fixture(scope="module")
def undisturbed(suite, tmp_path_factory) -> dict[str, bytes]:
    results = tmp_path_factory.mktemp("undisturbed") / "results"
    assert Command("run", suite, "--results", results, *LONG).end()[0] == 0
    return numbers(results)


@pytest.mark.slow
@pytest.mark.parametrize("days", [400, -400])
@pytest.mark.parametrize("when", [None, ".partial/*", ".checkpoints/*/step-*"])
def test_a_clock_that_jumps_changes_no_number(suite, tmp_path, undisturbed, days, when) -> None:
    """Before the command starts, when it has begun a run, and between two steps."""
    results, now = tmp_path / "results", tmp_path / "now"
    surroundings = jumping(tmp_path / "clock", days, now)
    if when is None:
        now.touch()
    command = Command("run", suite, "--results", results, *LONG, **surroundings)
    if when is not None:
        command.until(when, results)
        now.touch()
    code, said = command.end()
    assert code == 0, said
    assert numbers(results) == undisturbed != {}
    for path in finished(results):
        assert 0 < json.loads(path.read_text(encoding="utf-8"))["train_seconds"] < 1000
    code, said = Command("report", results, "--output", tmp_path / "page", **surroundings).end()
    assert code == 0, said


@pytest.mark.slow
def test_two_runners_whose_clocks_jump_apart_do_every_run_exactly_once(suite, tmp_path) -> None:
    results, log, now = tmp_path / "results", tmp_path / "log", tmp_path / "now"
    clocks = [jumping(tmp_path / f"clock{days}", days, now) for days in (400, -400)]
    command = [sys.executable, str(RUNNER), str(log), "run", str(suite), "--results", str(results), *NINE]
    runners = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **clock}, stderr=subprocess.PIPE, text=True)
        for clock in clocks
    ]
    deadline = time.monotonic() + 200
    while not finished(results):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    now.touch()
    each_once(runners, results, log)


# Disks


def mounted(results: Path, megabytes: int) -> tuple[str, ...]:
    """What starts a command that sees a small disk in place of the results folder."""
    results.mkdir()
    mount = f'mount -t tmpfs -o size={megabytes}m none "{results}" && exec "$@"'
    return (*unshared("--mount"), "sh", "-c", mount, "sh")


@pytest.mark.slow
def test_a_disk_that_fills_up_during_a_run_fails_it_in_words(suite, tmp_path) -> None:
    """And once there is room, the same command in the same folder ends with the numbers of an undisturbed run."""
    results, quiet = tmp_path / "results", tmp_path / "quiet"
    more = (*BOTH, "--set", "training.max_steps=300", "--checkpoint-seconds", "0")
    command = Command("run", suite, "--results", results, *more, before=mounted(results, 40))
    command.until(".checkpoints/*/step-*", results)
    seen = command.root / results.relative_to("/")
    with (seen / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(2**16)):
            pass  # until there is no space left
    code, said = command.end()
    assert (code, "disk full" in said) == (FAILED, True), said
    assert Command("run", suite, "--results", quiet, *more).end()[0] == 0


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_during_a_run_fails_it_in_words(suite, tmp_path) -> None:
    results = tmp_path / "results"
    more = (*BOTH, "--set", "training.max_steps=2000", "--checkpoint-seconds", "0")
    command = Command("run", suite, "--results", results, *more, before=mounted(results, 200))
    command.until(".checkpoints/*/step-*", results)
    enter = ["nsenter", f"--target={command.process.pid}", "--mount", *(["--user"] if os.geteuid() else [])]
    for _ in range(2000):  # it is busy while a file is open for writing
        if subprocess.run([*enter, "mount", "-o", "remount,ro", results], capture_output=True).returncode == 0:
            break
    else:
        pytest.fail("the disk never became read-only")
    code, said = command.end()
    assert code in (FAILED, BAD_INPUT), said
    assert "ead-only" in said


def test_the_disk_must_have_room_for_the_private_copies_of_a_runs_inputs(suite, tmp_path) -> None:
    """A run reads copies of its encoder and data, in the results folder."""
    plan = make_plan(load_suite(str(suite), ["seeds=[1]"]))
    folders = {run.tokenizer: suite.parent / "encoder" for run in plan.runs}
    one, two = (disk_space.needed(plan.runs, 32, folders, workers)["private inputs"] for workers in (1, 2))
    given = sum(path.stat().st_size for place in ("encoder", "glue/rte") for path in (suite.parent / place).iterdir())
    assert given < one < 4 * given  # and the predecessor's weights
    assert one < two <= 2 * one


# Containers


@pytest.mark.slow
def test_two_runners_in_two_containers_do_every_run_exactly_once(suite, tmp_path) -> None:
    """Both call their process 1 or 2, so a process id alone says nothing about a lease."""
    results, log = tmp_path / "results", tmp_path / "log"
    before = (*unshared("--pid", "--fork", "--mount-proc"), sys.executable, str(RUNNER), str(log))
    command = [*before, "run", str(suite), "--results", str(results), *NINE]
    runners = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    each_once(runners, results, log)
