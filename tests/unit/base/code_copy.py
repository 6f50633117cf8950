"""The ids of methods as a copy of our code gives them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

HASHES = """
import json
import baselines
from benchmarks.base.code_hash import code_hash
print(json.dumps({name: code_hash(name, "classification") for name in baselines.names()}))
"""


def every_second(edits: Iterable[str]) -> list[Any]:
    """The edits as parameters of a test. Every second one is slow, because each starts an interpreter."""
    slow = pytest.mark.slow
    return [pytest.param(edit, marks=slow) if number % 2 else pytest.param(edit) for number, edit in enumerate(edits)]


def hashes(tree: Path) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", HASHES], cwd=tree, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
