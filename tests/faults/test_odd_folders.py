"""Odd things in a results folder: damaged documents, files for folders, strangers' entries, another suite's plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.plans.planner import make_plan
from benchmarks.runs.execute import execute
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from results.format import layout, staging
from tests import tiny
from tests.command import cli


def changed(**keys: object) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        document = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({k: v for k, v in (document | keys).items() if v is not None}), encoding="utf-8")

    return change


def folder_for(path: Path) -> None:
    path.unlink()
    path.mkdir()


def looped(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "a list": lambda path: path.write_text("[]"),
    "without keys": changed(status=None, seconds=None),
    "deep": lambda path: path.write_text("[" * 30_000 + "]" * 30_000),
    "a folder": folder_for,
    "a loop": looped,
    "text for numbers": changed(seconds="x", train_seconds="x"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite file, and beside it the results of its one run."""
    folder = tmp_path_factory.mktemp("odd")
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    suite = tiny.save_suite(folder, encoder, glue)
    plan = make_plan(load_suite(str(suite), ["seeds=[1]"]))
    store = Store(folder / "results")
    store.open()
    store.write_suite(plan)
    run = next(run for run in plan.runs if run.arm == "finetune")
    assert execute(run, store.path).status == "done"
    return suite


@pytest.fixture
def lab(finished: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """The suite, a copy of the results, and the folder of the run in it."""
    results = shutil.copytree(finished.parent / "results", tmp_path / "results")
    return finished, results, next(results.glob("rte/finetune/seed-1-*"))


def said(capfd: pytest.CaptureFixture[str]) -> str:
    text = capfd.readouterr().err
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("name", ["result.json", "manifest.json"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_document_is_named_and_blocks_no_plan(lab, capfd, kind: str, name: str) -> None:
    suite, results, run = lab
    DAMAGE[kind](run / name)
    assert cli("plan", suite, "--results", results, "--set", "seeds=[1]", "--json") == 0
    text = said(capfd)
    if kind not in ("a folder", "a loop", "without keys", "text for numbers") or name == "result.json":
        unreadable = kind not in ("a folder", "a loop")
        assert (name in text) == unreadable
        assert text.count("counts as not there") == unreadable
    assert cli("report", results) in (0, 2)
    assert len(said(capfd).strip().splitlines()) <= 1


@pytest.mark.parametrize("place", ["rte", "rte/finetune"])
def test_a_folder_that_is_a_loop_is_one_line(lab, capfd, place: str) -> None:
    suite, results, _ = lab
    shutil.rmtree(results / place)
    (results / place).symlink_to(Path(place).name)
    for arguments in (("plan", suite, "--results", results), ("report", results)):
        assert cli(*arguments) == 2
        (line,) = said(capfd).strip().splitlines()
        assert place in line


@pytest.mark.slow
def test_a_run_whose_result_is_damaged_is_made_again_and_the_damaged_folder_is_kept(lab, capfd) -> None:
    suite, results, run = lab
    before = (run / "predictions.parquet").read_bytes()
    (run / "result.json").write_text("{", encoding="utf-8")
    assert cli("run", suite, "--results", results, "--set", "seeds=[1]", "--methods", "finetune", "--workers", 1) == 0
    assert json.loads((run / "result.json").read_text(encoding="utf-8"))["status"] == "done"
    assert (run / "predictions.parquet").read_bytes() == before
    kept = list((results / ".damaged").glob("*/run/result.json"))
    assert [path.read_text(encoding="utf-8") for path in kept] == ["{"]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "odd", ["{machine}-abc-x", "{machine}-1" + "0" * 30 + "-x", "{machine}--x", "somebody", "{machine}-7"]
)
def test_a_strangers_entry_among_the_half_filled_folders_is_left_alone(tmp_path: Path, odd: str) -> None:
    entry = tmp_path / layout.STAGING / odd.format(machine=layout.MACHINE)
    entry.mkdir(parents=True)
    staging.sweep(tmp_path)
    assert entry.is_dir()


def test_what_a_process_of_another_boot_or_machine_of_this_name_fills_is_never_swept(tmp_path: Path) -> None:
    """Two machines of one host name share the folder: each process id means another process there."""
    host = layout.MACHINE.rpartition("-")[0]
    dead = 2**22 - 3  # above the largest process id of most systems, so that no process has it
    theirs, ours = (tmp_path / layout.STAGING / f"{m}-{dead}-a" for m in (f"{host}-0123456789ab", layout.MACHINE))
    for folder in (theirs, ours):
        folder.mkdir(parents=True)
    staging.sweep(tmp_path)
    assert (theirs.is_dir(), ours.is_dir()) == (True, False)


SLOWER = [pytest.param(name, marks=pytest.mark.slow) for name in (layout.STAGING, layout.CACHE)]


@pytest.mark.parametrize("name", [layout.LEASES, layout.SUITE, *SLOWER])
def test_a_file_for_a_folder_or_a_folder_for_a_file_is_one_line(lab, capfd, name: str) -> None:
    suite, results, run = lab
    shutil.rmtree(run)
    path = results / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if name == layout.SUITE:
        path.mkdir()
    else:
        path.write_text("", encoding="utf-8")
    code = cli("run", suite, "--results", results, "--set", "seeds=[1]", "--methods", "finetune", "--workers", 1)
    text = said(capfd)
    assert code in (1, 2)
    assert name in text


def test_another_suite_is_refused_in_a_suites_folder(lab, capfd, tmp_path: Path) -> None:
    suite, results, _ = lab
    other = tmp_path / "other.toml"
    other.write_text(
        suite.read_text(encoding="utf-8").replace('name = "tiny"\ntitle', 'name = "other"\ntitle'), "utf-8"
    )
    kept = (results / "suite.json").read_bytes()
    for command in ("run", "plan", "status"):
        assert cli(command, other, "--results", results) == 2
        assert "holds the results of suite tiny: give those of other a folder of their own" in said(capfd)
    assert (results / "suite.json").read_bytes() == kept


def test_a_results_folder_below_a_file_is_one_line(lab, capfd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert cli("run", lab[0], "--results", tmp_path / "file" / "results") == 2
    assert len(said(capfd).strip().splitlines()) == 1
