from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.base.errors import ROOT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of our code."""
    for package in ("theseus", "baselines", "benchmarks", "results"):
        for file in (ROOT / package).rglob("*.py"):
            place = tmp_path / file.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)
    return tmp_path
