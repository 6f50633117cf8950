"""What a runner does with its runs, with workers that end as the test wants: order, suspects, other runners."""

from __future__ import annotations

import errno
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.base.stop import Stopped
from benchmarks.engine import schedule
from benchmarks.engine.lease import Leases
from benchmarks.engine.local import LocalWorkers
from benchmarks.engine.protocol import Answer, Job
from benchmarks.plans.planner import make_plan
from benchmarks.plans.run import Run
from benchmarks.runs import record
from benchmarks.runs.execute import RunOptions
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from results.format.documents.codec import document, joined
from results.format.documents.run import Checkpoint, Manifest, Outcome, Result
from tests import tiny

CHECKPOINT = Checkpoint(6, 1.0, {"accuracy": 0.5}, 50.0, ())
DONE = Outcome("done", last=CHECKPOINT, selected=CHECKPOINT, train_seconds=1.0)
How = Callable[[Job], Answer]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Run]:
    """A predecessor, and four arms of two seeds, three of which depend on it."""
    folder = tmp_path_factory.mktemp("inputs")
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    return make_plan(load_suite(str(tiny.save_suite(folder, encoder, glue)))).runs


def finish(run: Run, results: Path, **outcome: Any) -> Outcome:
    """What a worker leaves behind, without the work."""
    store = Store(results)
    folder = store.start()
    written = record.write(run, folder, datetime.now(UTC), replace(DONE, **outcome), Manifest(), None, None)
    if written.status == "done" and run.keep_successor:
        (folder / "successor").mkdir()
    store.finish(run, folder)
    return written


def done(job: Job) -> Answer:
    return Answer(job, finish(job.run, job.results))


def killed(job: Job) -> Answer:
    return Answer(job, None, exitcode=-9)


class Workers:
    """An engine without processes: a job ends at the next look, in the way that `how` says for its run."""

    def __init__(self, size: int, how: dict[str, list[How]]) -> None:
        self.size, self.how = size, how
        self.active: list[Job] = []
        self.started: list[Run] = []
        self.beside: list[int] = []  # how many others ran when a run was started
        self.between: Callable[[], None] = lambda: None
        self.stopped: list[str] = []

    @property
    def free(self) -> int:
        return self.size - len(self.active)

    def start(self, job: Job) -> None:
        self.beside.append(len(self.active))
        self.active.append(job)
        self.started.append(job.run)

    def wait(self, timeout: float, also: Any = ()) -> list[Answer]:
        self.between()
        if not self.active:
            return []
        job = self.active.pop(0)
        ways = self.how.get(job.run.id, [])
        return [(ways.pop(0) if ways else done)(job)]

    def stop(self, run_ids: Any = None) -> None:
        self.stopped += [job.run.id for job in self.active if run_ids is None or job.run.id in run_ids]

    def close(self, patience: float = 0.0) -> None:
        self.active.clear()


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Executes `runs` on that engine; what was reported, what was said, and its workers."""
    monkeypatch.setattr(schedule, "LOOK", 0.0)

    def work_on(
        runs: list[Run], size: int = 2, between: Callable[[], None] | None = None, **how: list[How]
    ) -> SimpleNamespace:
        workers = Workers(size, how)
        workers.between = between or workers.between
        reported: dict[str, Outcome] = {}
        said: list[str] = []
        options = {run.id: RunOptions() for run in runs}

        def report(run: Run, result: dict[str, Any]) -> None:
            assert run.id not in reported
            reported[run.id] = result

        schedule.execute_runs(lambda *_: workers, runs, tmp_path, size, report, options, said.append)
        return SimpleNamespace(workers=workers, reported=reported, said=said, results=tmp_path)

    return work_on


def test_each_run_is_started_once_after_its_predecessor_and_no_more_at_once_than_workers(runs, work):
    found = work(runs)
    assert Counter(run.id for run in found.workers.started) == {run.id: 1 for run in runs}
    assert found.workers.started[0].arm == "predecessor"
    assert max(found.workers.beside) == 1
    assert {result.status for result in found.reported.values()} == {"done"}
    assert list((found.results / ".leases").iterdir()) == []


def test_a_run_whose_worker_is_killed_runs_again_alone_and_the_others_go_on(runs, work):
    victim = next(run for run in runs if run.arm == "kd")
    found = work(runs, **{victim.id: [killed]})
    assert len(found.reported) == len(runs)
    assert found.reported[victim.id].status == "done"
    assert found.workers.started[-1] == victim  # when nothing else can run
    assert found.workers.beside[-1] == 0
    (line,) = found.said
    assert "kd seed 1" in line
    assert "signal 9" in line


def test_a_run_that_is_killed_alone_too_has_failed_and_says_so_in_its_result(runs, work):
    victim = next(run for run in runs if run.arm == "kd")
    found = work(runs, **{victim.id: [killed, killed]})
    assert Counter(result.status for result in found.reported.values()) == {"done": len(runs) - 1, "failed": 1}
    folder = found.results / victim.folder
    result = json.loads((folder / "result.json").read_text())
    assert result == document(joined(Result, found.reported[victim.id], run_id=victim.id))
    assert "killed by the system (signal 9" in result["reason"]
    assert "out of memory?" in result["reason"]
    assert json.loads((folder / "config.json").read_text()) == json.loads(json.dumps(victim.config.content))
    assert json.loads((folder / "manifest.json").read_text())["run_id"] == victim.id
    assert not Store(found.results).settled(victim)  # the next `run` tries again


def test_what_depends_on_a_killed_predecessor_is_named(runs, work):
    predecessor = runs[0]
    found = work(runs, **{predecessor.id: [killed, killed]})
    assert found.reported[predecessor.id].status == "failed"
    refused = [result.reason for result in found.reported.values() if "not started" in (result.reason or "")]
    assert len(refused) == 6
    started = f"not started: its predecessor {predecessor.id} failed: its worker was killed by the system (signal 9"
    assert all(reason.startswith(started) and reason.endswith("repeat the command") for reason in refused)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (None, "was not run: repeat the command"),
        ({"status": "failed", "reason": "disk full"}, "failed: disk full; mend that and repeat the command"),
        ({"status": "diverged", "reason": "at step 3"}, "diverged: at step 3; train it otherwise"),
    ],
)
def test_why_an_input_has_no_weights_is_said(runs, tmp_path, outcome, words):
    predecessor, pupil = runs[0], next(run for run in runs if run.predecessor)
    id_ = predecessor.id
    if outcome:
        finish(predecessor, tmp_path, **outcome)
    from_start = replace(pupil, predecessor=None, start=id_, start_folder=predecessor.folder)
    for run, what in ((pupil, f"its predecessor {id_}"), (from_start, f"the run that it starts from, {id_},")):
        reason = Store(tmp_path).cannot_start(run)
        assert reason.startswith(f"{what} {words}")
        assert "\n" not in reason


def test_what_another_runner_has_is_waited_for_and_counted_when_it_is_there(runs, work, tmp_path):
    other, looks = Leases(tmp_path), []
    assert other.acquire(runs[0].id)

    def later() -> None:
        looks.append(1)
        if len(looks) == 10:
            finish(runs[0], tmp_path)
            other.release(runs[0].id)

    found = work(runs, between=later)
    assert len(looks) >= 10
    assert found.said == ["waiting for other runners (1 run(s) under way there)"]
    assert isinstance(found.reported[runs[0].id], record.Elsewhere)
    assert runs[0] not in found.workers.started
    assert len(found.workers.started) == len(runs) - 1  # its pupils came after it


@pytest.mark.parametrize(("status", "left"), [("done", 1), ("failed", 0)])
def test_a_worker_in_which_a_run_failed_gets_no_other(runs, status, left):
    """After an error of CUDA's everything in that process fails."""
    pool, (ours, theirs) = LocalWorkers(2, tiny.CPU), multiprocessing.Pipe()
    worker = SimpleNamespace(
        job=SimpleNamespace(run=runs[0]), connection=ours, process=SimpleNamespace(kill=list, join=list, exitcode=0)
    )
    pool._workers = [worker]
    theirs.send(Outcome(status))
    (answer,) = pool._answer(worker)
    assert answer.result == Outcome(status)
    assert len(pool._workers) == left
    assert pool.free == 2


def test_a_run_that_failed_elsewhere_is_not_tried_here_again(runs, work, tmp_path):
    victim = next(run for run in runs if run.arm == "finetune")
    other = Leases(tmp_path)
    assert other.acquire(victim.id)

    def later() -> None:
        if other.held(victim.id):
            finish(victim, tmp_path, status="failed", reason="a fault")
            other.release(victim.id)

    found = work(runs, between=later)
    assert found.reported[victim.id].status == "failed"
    assert victim not in found.workers.started


def test_a_failure_of_before_is_tried_again(runs, work, tmp_path):
    finish(runs[0], tmp_path, status="failed", reason="a fault")
    assert work(runs).reported[runs[0].id].status == "done"


def test_a_run_that_is_taken_from_us_is_told_to_stop_and_its_result_is_not_written(runs, work, tmp_path):
    """As when this runner slept for a minute: the lease has gone on to generation 2."""
    run = next(run for run in runs if run.arm == "finetune")

    def stolen(job: Job) -> Answer:
        job.ticket.path.rename(tmp_path / ".leases" / f"{run.id}.2")
        assert not job.ticket.held()
        finish(run, tmp_path)  # the other runner's
        (tmp_path / ".leases" / f"{run.id}.2").unlink()
        with pytest.raises(Stopped):
            finish(run, tmp_path, train_seconds=99.0)  # ours, too late
        return Answer(job, Outcome("interrupted"))

    found = work([run], **{run.id: [stolen]})
    assert isinstance(found.reported[run.id], record.Elsewhere)
    assert found.reported[run.id].train_seconds == 1.0
    assert list((tmp_path / ".partial").iterdir()) == []


def test_a_disk_without_room_for_a_lease_fails_the_run_in_words(runs, work, monkeypatch):
    def full(self: Leases, run_id: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self.folder / f"{run_id}.1"))

    monkeypatch.setattr(Leases, "acquire", full)
    found = work(runs[:2])
    for result in found.reported.values():
        assert result.status == "failed"
        assert "disk full" in result.reason or "was not run: repeat the command" in result.reason
