"""Any command ends within two seconds of a signal: exit code 75, one line, no process and no folder left behind.

Real processes get real signals. The fast tier stops each kind of work once, the slow tier at many instants. That `run`
finishes the step under way is in test_runners.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from benchmarks.base.errors import INTERRUPTED, ROOT
from benchmarks.cli.main import app
from benchmarks.machine.signals import SAID
from tests.command import cli

LIMIT = 2.0  # seconds
PREVIEW = str(ROOT / "results/minilm-preview")


class Command:
    """`python -m benchmarks …` in a session of its own, on a machine that knows nothing yet or what `machine` holds."""

    def __init__(self, folder: Path, *arguments: str, machine: Path | None = None) -> None:
        self.folder = folder
        surroundings = {**os.environ, "XDG_CACHE_HOME": str(machine or folder / "machine"), "TMPDIR": str(folder)}
        self.process = psutil.Popen(
            [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, env=surroundings, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def says(self, words: str) -> None:
        """Wait until it says so."""
        assert any(words in line for line in self.process.stderr), f"it ended before it said {words!r}"

    def guarded(self) -> bool:
        """Has it begun to listen to signals? Until then Python itself starts, for a few hundredths of a second."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def stop(self, how: signal.Signals, group: bool = True) -> None:
        """Send the signal, to the whole group as a terminal does or to it alone, and check how it ends."""
        assert self.process.poll() is None, "it ended before it could be stopped"
        children = self.process.children(recursive=True)
        began = time.monotonic()
        (os.killpg if group else os.kill)(self.process.pid, how)
        code = self.process.wait(60)
        took = time.monotonic() - began
        said = self.process.communicate(timeout=10)[1]
        assert (code, said.count(SAID)) == (INTERRUPTED, 1), said
        assert took < LIMIT
        assert not any(word in said for word in ("Traceback", "Exception ignored", "leaked")), said
        assert not psutil.wait_procs(children, timeout=10)[1]
        assert not list(self.folder.glob("speed-*")), "exported models are left"


def test_a_plan_while_it_imports(suite, tmp_path):
    command = Command(tmp_path, "plan", str(suite))
    time.sleep(0.6)
    command.stop(signal.SIGTERM)


@pytest.mark.slow
def test_a_calibration_while_its_workers_start(suite, tmp_path):
    command = Command(tmp_path, "plan", str(suite), "--calibrate", machine=suite.parent)
    command.says("measuring how fast")
    command.stop(signal.SIGTERM, group=False)


@pytest.mark.slow
def test_the_probe_of_a_run(suite, tmp_path):
    command = Command(tmp_path, "run", str(suite), "--results", str(tmp_path / "results"), machine=suite.parent)
    command.says("probing whether training repeats")
    time.sleep(1.5)
    command.stop(signal.SIGINT)


def run_of(suite: Path, results: Path) -> tuple[str, ...]:
    """A predecessor and a pupil, of a second or more of training each."""
    long = ("--set", "training.max_steps=200", "--set", "training.evaluate_every=100", "--set", "keep_successors=true")
    return "run", str(suite), "--results", str(results), "--methods", "kd", "--seeds", "1", "--workers", "1", *long


@pytest.fixture(scope="module")
def undisturbed(suite, tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("undisturbed")
    assert cli(*run_of(suite, results)) == 0
    return results


def numbers(results: Path) -> dict[str, bytes]:
    """The bytes of every file of a run that holds no times."""
    names = ("config.json", "metrics.jsonl", "predictions.parquet", "successor/model.safetensors")
    found = [path for name in names for path in results.glob(f"*/*/*/{name}")]
    assert len(found) == 2 * len(names)
    return {str(path.relative_to(results)): path.read_bytes() for path in found}


class Training(Command):
    """`run` on a machine whose determinism probe is known, as far as the start of its first worker."""

    def __init__(self, suite: Path, folder: Path) -> None:
        self.results = folder / "results"
        self.arguments = run_of(suite, self.results)
        super().__init__(folder, *self.arguments, machine=Path(os.environ["XDG_CACHE_HOME"]))
        self.until(lambda: any("spawn_main" in " ".join(child.cmdline()) for child in self.process.children()))

    def until(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def goes_on_to(self, undisturbed: Path) -> None:
        """Nothing half-written is left, and the same command ends with the bytes of an undisturbed run."""
        assert list(self.results.glob(".leases/*")) == list(self.results.glob(".partial/*")) == []
        assert cli(*self.arguments) == 0
        assert numbers(self.results) == numbers(undisturbed)


@pytest.mark.slow
def test_a_run_while_its_worker_imports(suite, undisturbed, tmp_path):
    command = Training(suite, tmp_path)
    time.sleep(0.5)
    command.stop(signal.SIGTERM, group=False)
    command.goes_on_to(undisturbed)


@pytest.mark.slow
def test_a_run_before_its_first_step(suite, undisturbed, tmp_path):
    """Its worker waits for tokens that another process seems to write: as long as the tokens of a large task take."""
    cache = tmp_path / "results/cache"
    cache.mkdir(parents=True)
    with contextlib.ExitStack() as others:
        for tokens in undisturbed.glob("cache/tokens-*/"):
            others.enter_context(FileLock(cache / f"{tokens.name}.lock"))
        command = Training(suite, tmp_path)
        command.until(lambda: list(command.results.glob(".partial/*")))
        command.stop(signal.SIGINT)
    command.goes_on_to(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0, 1.5, 2.0, 2.5, 2.8, 3.1, 3.4, 3.7, 4.0])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_before_and_after_its_first_step(suite, undisturbed, tmp_path, how, seconds):
    command = Training(suite, tmp_path)
    time.sleep(seconds)
    command.stop(how)
    command.goes_on_to(undisturbed)


def test_a_report(tmp_path):
    command = Command(tmp_path, "report", PREVIEW, "--output", str(tmp_path / "report"))
    time.sleep(0.6)
    command.stop(signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_plan_that_calibrates_at_any_time(suite, tmp_path, how, seconds):
    command = Command(tmp_path, "plan", str(suite), "--calibrate")
    time.sleep(seconds)
    command.stop(how)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0])
def test_doctor_at_any_time(tmp_path, seconds):
    command = Command(tmp_path, "doctor")
    time.sleep(seconds)
    command.stop(signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0])
def test_speed_at_any_time(suite, tmp_path, seconds):
    """Of models exported, compiled and quantised, too; twenty batch sizes take minutes."""
    many = ("--matrix", "--set", "speed.lengths=[8, 64]", "--set", f"speed.batch_sizes={list(range(1, 21))}")
    command = Command(tmp_path, "speed", str(suite), "--results", str(tmp_path / "results"), *many)
    time.sleep(seconds)
    command.stop(signal.SIGTERM)


@pytest.mark.slow
def test_what_speed_has_measured_is_kept(suite, tmp_path):
    long = "speed={batch_sizes=[1, 32], lengths=[8, 64], min_rounds=20, max_rounds=40, max_seconds=600}"
    command = Command(tmp_path, "speed", str(suite), "--results", str(tmp_path / "results"), "--set", long)
    command.says("length 8, 1 thread")
    while not (tmp_path / "results/speed.json").exists():
        time.sleep(0.001)
    command.stop(signal.SIGTERM)
    document = json.loads((tmp_path / "results/speed.json").read_text(encoding="utf-8"))
    assert document["conditions"]
    assert (document["complete"], document["key"]) == (False, None)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.15, 0.2, 0.25, 0.3])  # an export takes half a second
@pytest.mark.parametrize("name", ["report", "export", "drift"])
def test_what_reads_results_at_any_time(tmp_path, name, seconds):
    where = ("--output", str(tmp_path / "out")) if name != "drift" else ()
    command = Command(tmp_path, name, PREVIEW, *where)
    time.sleep(seconds)
    command.stop(signal.SIGTERM)


# What each command is given; the tests above stop some of them at many instants.
EVERY: dict[str, tuple[str, ...]] = {
    "plan": ("SUITE",), "status": ("SUITE",), "run": ("SUITE", "--dry-run"), "reproduce": ("SUITE",),
    "report": (PREVIEW, "--output", "OUT"), "export": (PREVIEW, "--output", "OUT"),
    "bundle": (PREVIEW, "--output", "OUT"), "import": ("OUT",), "accept": (PREVIEW, "--output", "OUT"),
    "drift": (PREVIEW,), "choose": (PREVIEW, "SUITE"), "convert": ("OUT", "OUT"), "speed": ("SUITE",),
    "submit": ("SUITE", "--output", "OUT"), "doctor": (), "new": ("OUT", "--data", "OUT", "--encoder", "OUT"),
    "check-data": ("--set", "seeds=[1]", "SUITE"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", EVERY)
def test_every_command_as_soon_as_it_listens(suite, tmp_path, name, how):
    given = [{"SUITE": str(suite), "OUT": str(tmp_path / "out")}.get(word, word) for word in EVERY[name]]
    here = ("--results", str(tmp_path / "results")) if "SUITE" in EVERY[name][:1] else ()
    command = Command(tmp_path, name, *given, *here)
    while not command.guarded():
        time.sleep(0.001)
    command.stop(how)


def test_no_command_is_forgotten():
    assert set(EVERY) == {command.name or command.callback.__name__ for command in app.registered_commands}


BUSY = """
import hashlib
from benchmarks.machine.signals import guard
guard()
print("busy", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


def test_a_long_call_into_a_library_does_not_delay_the_end():
    """Python runs its own handlers only when the call returns, here after minutes."""
    with psutil.Popen([sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(0.3)  # by now it is in the call
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == INTERRUPTED
        assert time.monotonic() - began < LIMIT


@pytest.mark.parametrize("arguments", [("--help",), ("export", PREVIEW)])
def test_a_reader_that_goes_away_ends_a_command_without_a_word(tmp_path, arguments):
    command = Command(tmp_path, *arguments)
    command.process.stdout.close()
    assert command.process.wait(60) == INTERRUPTED
    assert command.process.stderr.read() == ""
