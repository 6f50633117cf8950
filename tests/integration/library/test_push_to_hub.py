"""The pushes of docs/library.md, through huggingface_hub's own client, to a small hub on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification

from tests import tiny
from tests.loopback_hub import serving

ROOT = Path(__file__).resolve().parents[3]
SNIPPET = next(
    snippet
    for snippet in re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/library.md").read_text("utf-8"), re.M | re.S)
    if "push_to_hub" in snippet
)
SCRIPT = f"""
from transformers import AutoModelForSequenceClassification
from theseus import LinearRate, Theseus

predecessor = AutoModelForSequenceClassification.from_pretrained("my-fine-tuned-bert")
theseus = Theseus(predecessor, layers=6, rate=LinearRate(base=0.3, k=0.0006), seed=0)
{SNIPPET}
theseus.model.push_to_hub("me/gated")
"""


@pytest.mark.slow
def test_what_is_pushed_is_the_successor_and_its_card(tmp_path):
    tiny.bert(12, seed=1).save_pretrained(tmp_path / "my-fine-tuned-bert")
    command = [sys.executable, "-c", SCRIPT]
    with serving(tmp_path / "hub") as hub:
        own = hub.environment(tmp_path / "home") | {"HF_TOKEN": "none", "PYTHONPATH": str(ROOT)}
        environment = os.environ | own
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name in ("six-layers", "gated"):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "hub" / "me" / name, output_loading_info=True
        )
        assert not any(report.values())
        assert model.config.num_hidden_layers == model.config.theseus["layers"] == 6
    assert "BERT-of-Theseus" in (tmp_path / "hub/me/six-layers/README.md").read_text()
