"""Weights that one run hands to another are those that it wrote."""

from __future__ import annotations

import json

import pytest

from benchmarks.runs.execute import weights_of
from benchmarks.runs.predecessor_outputs import weights_hash
from tests import tiny


@pytest.fixture
def folder(tmp_path):
    tiny.bert(2).save_pretrained(tmp_path / "successor")
    manifest = {"successor_hash": weights_hash(tmp_path / "successor")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return tmp_path


def test_weights_are_weights_of(folder):
    assert weights_of(folder) == folder / "successor"


def test_weights_that_were_changed_after_their_run_are_not_trained_from(folder):
    tiny.bert(2, seed=1).save_pretrained(folder / "successor")
    with pytest.raises(RuntimeError, match="are not those its run wrote: remove"):
        weights_of(folder)


def test_a_run_from_before_there_was_a_hash_hands_on_what_it_has(folder):
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    assert weights_of(folder) == folder / "successor"
