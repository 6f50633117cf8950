"""Leases: one holder a run, a dead one's is taken over, one that slept has lost, and no clock is believed."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.base import stop
from benchmarks.engine.lease import LOOK, PATIENCE, Leases
from benchmarks.engine.process_owner import Owner

ROOT = Path(__file__).resolve().parents[2]
RUN = "0123456789abcdef"


class Clock:
    """Monotonic, and moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def far(name: str = "far") -> Owner:
    """Of another machine: what it does can only be seen in its files."""
    return dataclasses.replace(Owner.of(), machine=f"{name}/another-boot")


def names(results: Path) -> list[str]:
    return sorted(path.name for path in (results / ".leases").iterdir())


def watch(leases: Leases, seconds: float, every: float = 5.0) -> None:
    """Look at what others have, for so long by its own clock."""
    clock = leases.clock
    assert isinstance(clock, Clock)
    until = clock.now + seconds
    while clock.now < until:
        leases.elsewhere()
        clock.now += every
    leases.elsewhere()


def test_a_run_has_one_holder_until_it_is_given_back(tmp_path):
    first, second = Leases(tmp_path), Leases(tmp_path)
    assert first.acquire(RUN)
    assert second.acquire(RUN) is None
    assert (first.held(RUN), second.held(RUN)) == (True, False)
    assert (first.elsewhere(), second.elsewhere()) == (set(), {RUN})
    second.release(RUN)  # not its own
    assert first.held(RUN)
    first.release(RUN)
    assert names(tmp_path) == []
    assert second.acquire(RUN)


WORK = """
import os, random, sys
from pathlib import Path
from benchmarks.engine.lease import Leases
results, log = Path(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
open_ = [f"{number:016x}" for number in range(60)]
print("ready", flush=True)
sys.stdin.readline()
with Leases(results) as leases:
    while open_:
        run = random.choice(open_)
        if (results / run).exists():
            open_.remove(run)
        elif leases.acquire(run):
            if not (results / run).exists():
                os.write(log, f"begin {run}\\n".encode())
                (results / run).touch()
                os.write(log, f"end {run}\\n".encode())
            leases.release(run)
"""


def test_many_processes_take_every_run_exactly_once(tmp_path):
    log = tmp_path / "log"
    log.touch()
    command = [sys.executable, "-c", WORK, str(tmp_path), str(log)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(6)]
    for process in processes:
        process.stdout.readline()
    for process in processes:  # all are up: now
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 6
    lines = log.read_text().splitlines()
    assert Counter(line.split()[0] for line in lines) == {"begin": 60, "end": 60}
    assert len(set(lines)) == 120
    assert names(tmp_path) == []


HOLD = """
import sys, time
from pathlib import Path
from benchmarks.engine.lease import Leases
Leases(Path(sys.argv[1])).acquire(sys.argv[2])
print("held", flush=True)
time.sleep(60)
"""


def test_a_killed_owners_run_is_taken_over_at_once(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), RUN], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    taker = Leases(tmp_path)
    assert taker.acquire(RUN) is None
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has asked for its exit code yet
    assert taker.elsewhere() == set()
    assert taker.acquire(RUN)
    holder.communicate()
    assert names(tmp_path) == [f"{RUN}.2"]


def test_a_process_id_that_is_used_again_is_no_life(tmp_path):
    before = dataclasses.replace(Owner.of(), started="1")  # as if this process had the id of one that is gone
    assert before.gone()
    assert not Owner.of().gone()
    assert not dataclasses.replace(before, machine="far/another-boot").gone()  # nothing is known of that one
    Leases(tmp_path, before).acquire(RUN)
    assert Leases(tmp_path).acquire(RUN)


def test_a_counter_that_stands_still_for_long_enough_is_a_dead_owner(tmp_path):
    Leases(tmp_path, far()).acquire(RUN)
    taker = Leases(tmp_path, clock=Clock())
    watch(taker, PATIENCE - 10)
    assert taker.acquire(RUN) is None
    watch(taker, 10)
    assert taker.elsewhere() == set()
    assert taker.acquire(RUN)


def test_a_counter_that_goes_on_is_a_life(tmp_path):
    with Leases(tmp_path, far(), beat=0.02) as holder:
        holder.acquire(RUN)
        taker = Leases(tmp_path, clock=Clock())
        for _ in range(3):
            before = (tmp_path / ".leases" / f"{RUN}.1").read_bytes()
            watch(taker, PATIENCE - 10)
            deadline = time.monotonic() + 10
            while (tmp_path / ".leases" / f"{RUN}.1").read_bytes() == before:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert taker.elsewhere() == {RUN}
    assert names(tmp_path) == []


def test_an_observer_that_slept_begins_to_look_anew(tmp_path):
    Leases(tmp_path, far()).acquire(RUN)
    clock = Clock()
    taker = Leases(tmp_path, clock=clock)
    taker.elsewhere()
    clock.now += 10 * PATIENCE  # both may have been asleep: the owner gets its minute
    assert taker.acquire(RUN) is None
    watch(taker, PATIENCE - LOOK)
    assert taker.acquire(RUN) is None


def test_no_clock_of_the_wall_and_no_time_of_a_file_is_believed(tmp_path, monkeypatch):
    """Set back, set forward, or other than on the next machine: nobody looks."""

    def jumping() -> float:
        raise AssertionError("a lease asked for the time of day")

    monkeypatch.setattr(time, "time", jumping)
    holder, taker = Leases(tmp_path, far()), Leases(tmp_path, clock=Clock())
    holder.acquire(RUN)
    for moment in (0, 2**33):
        os.utime(tmp_path / ".leases" / f"{RUN}.1", (moment, moment))
        assert taker.elsewhere() == {RUN}
        assert taker.acquire(RUN) is None
    assert holder.held(RUN)


def test_an_owner_that_slept_has_lost_its_run_and_takes_nothing_back(tmp_path):
    sleeper = Leases(tmp_path, far("sleeper"))
    ticket = sleeper.acquire(RUN)
    taker = Leases(tmp_path, far("taker"), clock=Clock())
    watch(taker, PATIENCE)
    assert taker.acquire(RUN)
    assert ticket is not None
    for _ in range(2):  # while the taker has it, and when a third has begun anew at the first generation
        assert not ticket.held()
        assert not sleeper.held(RUN)
        assert not sleeper._renew(ticket)
        taker.release(RUN)
        assert names(tmp_path) == []
        assert not sleeper._renew(ticket)
        assert names(tmp_path) == []
        taker = Leases(tmp_path, far("third"))
        assert taker.acquire(RUN)
    sleeper.release(RUN)
    assert taker.held(RUN)


def test_the_heartbeat_finds_what_was_lost(tmp_path):
    with Leases(tmp_path, far(), beat=0.01) as sleeper:
        ticket = sleeper.acquire(RUN)
        assert ticket is not None
        ticket.path.rename(tmp_path / ".leases" / f"{RUN}.2")  # a higher generation
        deadline = time.monotonic() + 10
        while sleeper.lost() != {RUN}:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_somebody_began_to_write_is_given_its_time(tmp_path):
    (tmp_path / ".leases").mkdir()
    (tmp_path / ".leases" / f"{RUN}.7").touch()  # its maker may be about to say who it is
    (tmp_path / ".leases" / "notes.txt").write_text("a stranger's")
    taker = Leases(tmp_path, clock=Clock())
    assert taker.elsewhere() == {RUN}
    watch(taker, PATIENCE)
    assert taker.acquire(RUN)
    assert names(tmp_path) == [f"{RUN}.8", "notes.txt"]


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"pid": 1}', '{"machine": 1, "pid": "x", "started": 0, "token": []}']
)
def test_a_lease_that_says_nothing_is_nobodys_death(tmp_path, text):
    (tmp_path / ".leases").mkdir()
    (tmp_path / ".leases" / f"{RUN}.1").write_text(text)
    assert Leases(tmp_path).acquire(RUN) is None


def test_what_a_dead_owner_left_on_a_finished_run_is_cleared_and_nothing_else(tmp_path):
    gone = dataclasses.replace(Owner.of(), started="1")
    for run_id, owner in (("dead", gone), ("open", gone), ("far", far()), ("alive", Owner.of())):
        assert Leases(tmp_path, owner).acquire(run_id)
    Leases(tmp_path).clear(["dead", "far", "alive"])
    assert names(tmp_path) == ["alive.1", "far.1", "open.1"]


def test_a_worker_whose_lease_is_lost_knows_it(tmp_path):
    holder = Leases(tmp_path)
    ticket = holder.acquire(RUN)
    assert ticket is not None
    stop.begin(ticket.held)
    try:
        assert not stop.lost()
        holder.release(RUN)
        assert stop.lost()
    finally:
        stop.begin(None)
    assert not stop.lost()
