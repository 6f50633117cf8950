"""What the tests of whole commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def probed_here() -> Iterator[None]:
    """What a plan asks of a machine (determinism, tokenizers, first steps) in this process: a worker takes seconds to
    start. tests/faults/test_determinism.py and tests/faults/test_plan_is_run.py have the workers."""
    from benchmarks.preflight import determinism, first_step, token_facts, tokenizer_probe

    def here(workers: int, device: object, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        return [work(*arguments)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(determinism, "probe_in_worker", determinism.probe)
        patch.setattr(first_step, "side_by_side", here)
        patch.setattr(token_facts, "side_by_side", here)
        # without the limit on the time of this process
        patch.setattr(token_facts, "ask", lambda pairs, _: [tokenizer_probe._facts(*pair) for pair in pairs])
        yield
