"""What the tests of whole commands share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def probed_here() -> Iterator[None]:
    """The determinism probe in this process: a worker takes seconds to start, and tests/faults/test_determinism.py has
    one."""
    from benchmarks.preflight import determinism

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(determinism, "probe_in_worker", determinism.probe)
        yield
