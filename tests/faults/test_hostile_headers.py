"""Files whose headers lie: shapes of weights, types of logits, and a plan of a quarter of a million runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reports import render
from results.format.bundles.safetensors_header import check_safetensors
from results.format.errors import ReportError
from results.format.predictions import read_answers
from results.format.reader import read
from tests.report.make_results import make_results


def weights(path: Path, shape: object, offsets: object = (0, 4)) -> Path:
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    return path


def test_honest_weights_pass(tmp_path: Path) -> None:
    for shape in ([1], [1, 1, 1], []):
        check_safetensors(weights(tmp_path / "w", shape))


@pytest.mark.parametrize(
    "shape", [[1] * 40_000, [-1, -1], [2**60, 0], [True], [1.0], "1", None, {}, [[1]], [2**40] * 16], ids=str
)
def test_a_shape_that_no_tensor_has_is_refused_at_once(tmp_path: Path, shape: object) -> None:
    started = time.process_time()
    with pytest.raises(ReportError, match="impossible type, shape or place"):
        check_safetensors(weights(tmp_path / "w", shape))
    assert time.process_time() - started < 1


@pytest.mark.parametrize("offsets", [[0], [0, 4, 8], [4, 0], [-4, 0], [0.0, 4], "04", None])
def test_offsets_that_are_none_are_refused(tmp_path: Path, offsets: object) -> None:
    with pytest.raises(ReportError, match="impossible type, shape or place"):
        check_safetensors(weights(tmp_path / "w", [1], offsets))


@pytest.mark.parametrize("kind", ["nested", "text", "null"])
def test_logits_that_are_not_lists_of_numbers_are_one_line(tmp_path: Path, kind: str) -> None:
    root = make_results(tmp_path, tasks=("rte",), arms=("kd", "theseus"), seeds=(1,), predictions=True)
    path = next(root.glob("rte/kd/seed-1-*/predictions.parquet"))
    table = pq.read_table(path)
    rows = table["logits"].to_pylist()
    made = {
        "nested": lambda: pa.array([[row] for row in rows]),
        "text": lambda: pa.array([[str(value) for value in row] for row in rows]),
        "null": lambda: pa.array([None, *rows[1:]]),
    }[kind]()
    pq.write_table(table.set_column(table.schema.get_field_index("logits"), "logits", made), path)
    with pytest.raises(ReportError, match="logits are not lists of numbers"):
        read_answers(read(root), "last")


def plan_of(folder: Path, runs: int, arms: int = 1) -> Path:
    """A results folder whose suite.json plans that many runs in its first cell, and has that many more arms."""
    root = make_results(folder, tasks=("rte",), arms=("predecessor", "kd"), seeds=(1,), speed=False)
    document = json.loads((root / "suite.json").read_text(encoding="utf-8"))
    run, arm = document["runs"][0], document["arms"][-1]
    document["runs"] += [
        {**run, "run_id": f"{i:016x}", "seed": i + 2, "folder": f"{Path(run['folder']).parent}/seed-{i + 2}-{i:016x}"}
        for i in range(runs)
    ]
    document["arms"] += [{**arm, "name": f"arm{i}"} for i in range(arms - 1)]
    (root / "suite.json").write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
    return root


def test_the_time_of_a_report_grows_with_the_number_of_runs(tmp_path: Path) -> None:
    """It grew with its square, and nobody would have waited for the report of 250,000 runs in a cell."""
    root = plan_of(tmp_path, 10_000)
    started = time.process_time()
    assert render(root).is_file()
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("runs", "arms", "what"), [pytest.param(201_000, 1, "runs", marks=pytest.mark.slow), (1, 1_000, "cells")]
)
def test_a_plan_larger_than_any_is_a_limit_that_is_said(tmp_path: Path, runs: int, arms: int, what: str) -> None:
    root = plan_of(tmp_path, runs, arms)
    started = time.process_time()
    with pytest.raises(ReportError, match=f"[0-9] {what}, and [0-9,]+ is the limit of a suite"):
        read(root)
    assert time.process_time() - started < 10
