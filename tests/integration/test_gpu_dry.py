"""`python -m benchmarks.gpu --dry` as a user runs it, without the packages that a GPU machine may lack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Python runs a module of this name at start, in the workers too. What is hidden is not found, as if it were not there.
HIDING = """
import importlib.machinery
HIDDEN = {"pandas", "pyarrow", "datasets", "sklearn", "matplotlib", "evaluate", "psutil", "onnx", "accelerate"}
find = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else find(name, path, target)
importlib.machinery.PathFinder.find_spec = staticmethod(find_spec)
"""


@pytest.mark.slow
def test_dry_run(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    command = [sys.executable, "-m", "benchmarks.gpu", "--output", str(tmp_path / "out"), "--dry"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=400,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out" / "gpu.json").read_text())
    rows = [*document["cases"], *document["inference"], *document["determinism"]]
    assert [row for row in rows if row["status"] != "done"] == []
    assert {case["runs"] for case in document["cases"]} == {1, 2}
    assert {case["compiled"] for case in document["cases"]} == {False, True}
    assert set(document["projection"]["best"]) == {"float32", "bfloat16"}
    page = (tmp_path / "out" / "gpu.md").read_text()
    assert all(f"## {title}" in page for title in ("Matrix products", "Table 2", "Training", "Inference", "Left out"))
