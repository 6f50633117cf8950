"""Every model of the zoo passes all checks or is refused with the true reason, as docs/architectures.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.checks import CHECKS
from tests.contract.table import row_of
from tests.contract.zoo import CHOSEN, ZOO

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "architectures.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| model |")]
SEED = [name for name in ZOO if name.startswith(("bert-", "roberta-", "xlmr-", "gpt2-"))]

# What is true of the models that are refused.
REASONS = {
    "deberta-v2-conv": "more between its layers than calling one after the other (conv)",
    "albert": "the same weights again and again",
    "funnel": "in stages (funnel.encoder.blocks)",
    "swin": "in stages (swin.encoder.layers)",
    "xlm": "lists side by side (transformer.attentions, ",
    "t5-s2s": "an encoder and a decoder (encoder.block, decoder.block)",
    "bart-s2s": "an encoder and a decoder (model.encoder.layers, model.decoder.layers)",
    "bart-cls": "an encoder and a decoder (model.encoder.layers, model.decoder.layers)",
    "whisper": "an encoder and a decoder (model.encoder.layers, model.decoder.layers)",
    "gemma3-7layers": "7 layers cannot be split into 2 modules of equal size",
}
FAST = ("bert-QuestionAnswering", "xlmr-TokenClassification", "gpt2-lm", *REASONS)
SLOW = [name for name in (*ZOO, *CHOSEN) if name not in FAST]


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_model_does_what_the_page_says(name):
    index = [*ZOO, *CHOSEN].index(name)
    assert row_of(name) == ROWS[index]


def test_the_page_has_no_model_that_is_accepted_and_broken():
    assert len(ROWS) == len(ZOO) + len(CHOSEN)
    assert len(ZOO) == 99
    assert len(CHECKS) == 21
    for row in ROWS:
        assert " | all | " in row or " | refused: " in row, row


def test_the_page_counts_what_passes():
    passed = [name for name, row in zip(ZOO, ROWS, strict=False) if " | all | " in row]
    assert len(passed) >= 85
    assert set(SEED) <= set(passed)
    assert f"{len(passed)} of {len(ZOO)} pass everything, {len(ZOO) - len(passed)} are refused" in PAGE
    assert set(ZOO) - set(passed) == set(REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_a_refusal_names_what_is_true_of_the_model(name):
    row = ROWS[list(ZOO).index(name)]
    assert REASONS[name] in row
    assert ZOO[name][0] in row or name.startswith("gemma3")
