"""A small suite, a results folder that agrees with itself, and its bundle, each made once for a file of tests."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from results.format.bundles.pack import pack
from tests import tiny
from tests.faults.bundles import consistent


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    return tiny.save_suite(folder, encoder, glue)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    root = consistent(tmp_path_factory.mktemp("from") / "glue")
    weights = next(root.glob("rte/theseus/seed-1-*")) / "successor"
    weights.mkdir()
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (weights / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    (weights / "config.json").write_text('{"model_type": "bert"}')
    return root


@pytest.fixture(scope="module")
def bundle(results) -> Path:
    return pack(results, results.parent / "glue.zip").file
