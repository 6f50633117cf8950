"""`python -m benchmarks.gpu.study` as it travels: packed here, run elsewhere, stopped in time, gone on with later."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.study import main
from results.format.reader import read
from tests.command import cli
from tests.tiny import save_encoder, save_glue, save_suite

ROOT = Path(__file__).resolve().parents[2]
ARM = '[arms.theseus]\nmethod = "theseus"\ntitle = "Theseus"\n'
GRID = 'grid = { "training.learning_rate" = [1e-3, 2e-3] }\n'


def study(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu.study", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, text=True, capture_output=True, timeout=300, check=False
    )


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A folder that needs nothing else on this machine: the encoder and the data that it was made from are gone."""
    encoder, glue = save_encoder(tmp_path / "encoder"), save_glue(tmp_path / "glue", "rte")
    suite = save_suite(tmp_path, encoder, glue)
    text = suite.read_text(encoding="utf-8").replace(f'path = "{encoder}"\n', "").replace(f'path = "{glue}"\n', "")
    before = text.partition("[arms.finetune]")[0].replace('name = "tiny"', 'name = "tiny-search"', 1)
    (tmp_path / "tiny-search.toml").write_text(before.replace("[1, 2]", "[101]") + ARM + GRID)
    (tmp_path / "tiny.toml").write_text('extends = "tiny-search"\nname = "tiny"\nseeds = [1]\n' + ARM)
    folder = tmp_path / "packed"
    done = study(
        "pack", folder, "--search", tmp_path / "tiny-search.toml", "--study", tmp_path / "tiny.toml",
        GLUE_DIR=str(glue), ENCODER_DIR=str(encoder),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    encoder.rename(tmp_path / "away")
    glue.rename(tmp_path / "gone")
    return folder


@pytest.mark.slow  # eight commands, each with an interpreter of its own
def test_search_choice_and_confirmation_come_back_as_bundles(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped = study("run", packed, out, "--minutes", "0.9", "--device", "cpu", "--workers", "1")
    assert stopped.returncode == 75, stopped.stderr  # the time was over before the first step
    whole = study("run", packed, out, "--minutes", "9", "--device", "cpu", "--workers", "1")
    assert whole.returncode == 0, whole.stderr
    assert "[task.rte.settings.theseus]" in (out / "study.toml").read_text(encoding="utf-8")
    for name, runs in (("search", 3), ("study", 2)):
        assert cli("import", out / f"{name}.zip", "--results", tmp_path / name) == 0
        found = read(tmp_path / name).runs
        assert [run.status for run in found] == ["done"] * runs
        assert {run.config.device.device for run in found} == {"cpu"}
    shutil.rmtree(packed / "results")  # another machine, which is given the bundles
    for name in ("search", "study"):
        shutil.copy2(out / f"{name}.zip", packed)
    again = study("run", packed, out, "--minutes", "9", "--device", "cpu", "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert "3 of 3 runs done, 0 to do" in again.stdout
    assert "2 of 2 runs done, 0 to do" in again.stdout


def test_what_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (("pack", tmp_path / "packed"), "GLUE_DIR must name a folder: see docs/study.md"),
        (("run", tmp_path, tmp_path / "out"), f"{tmp_path}: not a packed study; `pack` writes one"),
    ):
        monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
        monkeypatch.setenv("GLUE_DIR", "")
        monkeypatch.setenv("ENCODER_DIR", str(tmp_path))
        assert (main(), capsys.readouterr().err) == (2, f"error: {said}\n")
