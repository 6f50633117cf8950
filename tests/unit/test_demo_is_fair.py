"""The demo's accepted results: no arm is degenerate, so that a newcomer's first page favours none by construction.

In the first demo fine-tuning had a third of its predecessor's score and gave constant answers on one task.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ACCEPTED = Path(__file__).resolve().parents[2] / "results" / "accepted"
LEAST = {"demo": 0.8, "demo-ci": 0.6}  # share of the predecessor's score; demo-ci trains half as long


@pytest.mark.parametrize("suite", LEAST)
def test_every_run_of_every_arm_keeps_most_of_its_predecessors_score(suite: str) -> None:
    cells = json.loads((ACCEPTED / f"{suite}.json").read_text(encoding="utf-8"))["cells"]
    scores = {(cell["task"], cell["arm"]): [run["score"] for run in cell["runs"]] for cell in cells}
    assert {arm for _, arm in scores} >= {"predecessor", "finetune", "kd", "pkd", "theseus"}
    for (task, arm), found in scores.items():
        (top,) = scores[task, "predecessor"]
        assert min(found) >= LEAST[suite] * top, (task, arm)
