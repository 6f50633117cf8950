"""Theseus under Trainer on two processes (DDP with gloo): one draw for both, one set of weights, resumed to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


def run(folder: Path, checkpoint: str = "", **options: Any) -> list[dict[str, Any]]:
    """What the two processes ended with."""
    folder.mkdir(exist_ok=True)
    script = str(ROOT / "tests" / "integration" / "library" / "ddp_run.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(folder), checkpoint, json.dumps(options)], env=environment, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*.json"))]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 2},
        {"activation_checkpointing": True, "gradient_accumulation_steps": 2},
        {"activation_checkpointing": True, "ddp_find_unused_parameters": True},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_both_processes_draw_and_learn_the_same_and_resume_to_the_bit(options, tmp_path):
    one, other = run(tmp_path / "whole", **options)
    assert one == other
    assert len(one["drawn"]) == 12
    assert [False] * 3 in one["drawn"]  # a step in which nothing was drawn is among them
    model, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "whole" / "checkpoint-12", output_loading_info=True
    )
    assert not any(report.values())
    assert model.config.num_hidden_layers == 3
    resumed, _ = run(tmp_path / "resumed", str(tmp_path / "whole" / "checkpoint-6"), **options)
    assert resumed["drawn"] == one["drawn"][6:]
    assert resumed["weights"] == one["weights"]


def test_checkpointing_changes_no_weight(tmp_path):
    """With it every weight gets a gradient; the optimizer must not see the zeros of a module that was not drawn."""
    plain, _ = run(tmp_path / "plain")
    checkpointed, _ = run(tmp_path / "checkpointed", activation_checkpointing=True)
    assert checkpointed["drawn"] == plain["drawn"]
    assert checkpointed["weights"] == plain["weights"]


def test_frozen_gradients_are_refused_before_training(tmp_path):
    assert run(tmp_path, frozen_gradients=True) == []
    said = [path.read_text() for path in tmp_path.glob("refused-*")]
    assert ["frozen_gradients needs a single process" in text for text in said] == [True, True]
