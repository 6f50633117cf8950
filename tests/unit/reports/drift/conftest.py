from __future__ import annotations

import pytest

from tests.report.make_drift import made, write_baseline


@pytest.fixture
def accepted(tmp_path):
    """The baseline file of a finished suite."""
    return write_baseline(made(tmp_path / "accepted"), tmp_path / "baseline.json")
