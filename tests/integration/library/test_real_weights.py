"""Real weights and real data: a successor that was trained for a minute beats the same layers without training."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.library import real_weights

pytestmark = pytest.mark.nightly


def folder(variable: str) -> Path:
    """Fails, not skips, so that a run of this tier without its inputs is never taken for a pass."""
    place = os.environ.get(variable)
    if place is None or not Path(place).is_dir():
        pytest.fail(f"{variable} is {place!r}: this test needs a folder there")
    return Path(place)


def test_sentence_similarity():
    found = real_weights.similarity(str(folder("ENCODER_DIR")), folder("GLUE_DIR"))
    assert found["untrained half"] + 0.1 < found["theseus"] < found["predecessor"]


def test_parts_of_speech():
    found = real_weights.tags(str(folder("ENCODER_DIR")), folder("EXTRA_DIR") / "ud_english_ewt")
    assert found["untrained half"] + 0.02 < found["theseus"]
    assert found["predecessor"] - 0.05 < found["theseus"]
