"""Files whose headers lie: shapes of weights, types of logits, and a plan of a quarter of a million runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results.format.bundles.safetensors_header import check_safetensors
from results.format.documents.suite import Planned
from results.format.errors import ReportError
from results.format.predictions import read_answers
from results.format.reader import read
from results.format.records import Results, Run
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


def test_grouping_runs_takes_a_time_that_grows_with_their_number(tmp_path: Path) -> None:
    results = read(make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), speed=False))
    planned = Planned("0" * 16, "rte", "kd", "kd", 1, 0, "rte/kd/seed-1-0000000000000000")
    many = Results(**{**vars(results), "runs": tuple(Run(**vars(planned)) for _ in range(250_000))})
    started = time.process_time()
    assert len(many.of("rte", "kd")) == 250_000
    assert time.process_time() - started < 2
