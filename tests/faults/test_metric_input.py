"""Metrics refuse what is no prediction and give what is degenerate a defined value and a flag, whatever comes in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmarks.tasks.metrics import METRICS, Accuracy, F1Accuracy, Matthews, PearsonSpearman, score
from benchmarks.tasks.table import GLUE, find_task
from results.format.scores import score as scored_again
from tests.faults.fuzz import EXAMPLES, JSON, fuzz

CLASSES = [Accuracy, F1Accuracy, Matthews]
VALIDATION = "validation"


def one(task: str, outputs: Any, labels: Any):
    return score(find_task(task), {VALIDATION: np.asarray(outputs, np.float32)}, {VALIDATION: np.asarray(labels)})


def two_class(given: list[int]) -> np.ndarray:
    """Logits that predict these classes."""
    return np.eye(2, dtype=np.float32)[given]


@pytest.mark.parametrize("metric", METRICS.values())
@pytest.mark.parametrize(
    "given",
    [
        [], [1], [[1, 0]], ["1", "0"], [None, 1], [1, [0]], [1, math.nan], [1, math.inf], [1j, 0], [10**400, 0],
        [b"1", b"0"], {"a": 1}, "10", [object(), object()], [True, False],
    ],
    ids=lambda given: repr(given).partition(" at 0x")[0],
)  # fmt: skip
def test_what_is_no_prediction_is_refused_on_either_side(metric, given):
    good = [1, 0] if metric in CLASSES else [1.0, 0.0]
    for sides in ({"predictions": given, "references": good}, {"predictions": good, "references": given}):
        with pytest.raises(ValueError, match=r"must|hidden|below 0"):
            metric().compute(**sides)


@pytest.mark.parametrize("metric", CLASSES)
def test_floats_are_no_class_ids_even_where_they_are_whole(metric):
    for sides in (([1.0, 0.0], [1, 0]), ([1, 0], [1.0, 0.0])):
        with pytest.raises(ValueError, match="class ids must be integers"):
            metric().compute(predictions=sides[0], references=sides[1])


def test_class_ids_that_a_task_lacks_are_refused():
    with pytest.raises(ValueError, match="below 0"):
        Accuracy().compute(predictions=[-1, 0], references=[1, 0])
    for metric in (F1Accuracy, Matthews):
        with pytest.raises(ValueError, match="must be 0 or 1"):
            metric().compute(predictions=[2, 0], references=[1, 0])
    with pytest.raises(ValueError, match="class ids run to 1"):
        one("rte", two_class([0, 1]), [0, 2])


def test_logits_that_are_not_the_tasks_are_refused():
    with pytest.raises(ValueError, match="must be finite"):
        one("rte", [[math.nan, 0.0], [0.0, 1.0]], [0, 1])
    with pytest.raises(ValueError, match="the task has 2 outputs"):
        one("rte", np.zeros((2, 3)), [0, 1])
    with pytest.raises(ValueError, match="must be the same splits"):
        score(find_task("mnli"), {"validation_matched": np.eye(3, dtype=np.float32)}, {})
    with pytest.raises(ValueError, match="equally long"):
        one("rte", two_class([0, 1]), [0, 1, 1])
    with pytest.raises(ValueError, match="not empty"):
        one("rte", np.zeros((0, 2)), np.zeros(0, dtype=int))


@pytest.mark.parametrize(
    ("task", "given", "labels", "value", "flag"),
    [
        ("cola", [1, 1, 1], [0, 1, 1], 0.0, "constant predictions"),
        ("cola", [0, 1, 1], [1, 1, 1], 0.0, "one class in the labels"),
        ("cola", [1, 1, 1], [1, 1, 1], 0.0, "one class in the labels"),
        ("mrpc", [0, 0, 0], [0, 0, 0], 50.0, "one class in the labels"),
        ("mrpc", [0, 0, 0], [0, 1, 1], 100 / 6, "constant predictions"),
        ("rte", [1, 1], [1, 1], 100.0, "constant predictions"),
        ("rte", [1], [0], 0.0, "constant predictions"),
    ],
)
def test_one_class_has_a_defined_value_and_a_flag(task, given, labels, value, flag):
    found = one(task, two_class(given), labels)
    assert found.score == pytest.approx(value)
    assert any(flag in said for said in found.flags)


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ([2.5, 2.5, 2.5], [0.0, 1.0, 2.0]),
        ([0.0, 1.0, 2.0], [3.0, 3.0, 3.0]),
        ([1.0], [2.0]),
        ([3e38, -3e38, 3e38], [1.0, 1.0, 1.0]),
    ],
)
def test_a_constant_side_correlates_with_nothing(given, labels):
    found = one("stsb", np.asarray(given)[:, None], labels)
    assert found.metrics == {"pearson": 0.0, "spearman": 0.0}
    assert [flag for flag in found.flags if "constant predictions" in flag or "one class" in flag]


def test_correlations_of_very_large_and_very_near_values_are_numbers():
    for given in ([1e308, -1e308, 5e307], [1e-320, 2e-320, 3e-320], [1.0, 1.0 + 1e-16, 1.0 + 4e-16]):
        found = PearsonSpearman().compute(predictions=given, references=[1.0, 2.0, 3.0])
        assert all(-1 - 1e-9 <= value <= 1 + 1e-9 for value in found.values())


@EXAMPLES
@pytest.mark.parametrize("metric", METRICS.values())
def test_any_input_gives_values_in_range_or_a_valueerror(metric, examples):
    def check(given: Any, true: Any) -> None:
        try:
            found = metric().compute(predictions=given, references=true)
        except ValueError:
            return
        assert all(isinstance(v, float) and -1 - 1e-9 <= v <= 1 + 1e-9 for v in found.values()), (given, true)

    ids = st.lists(st.integers(-1, 3), max_size=8)
    values = st.lists(st.floats() | st.integers(-5, 5), max_size=8)
    side = st.one_of(ids, values, JSON, arrays.arrays(arrays.scalar_dtypes(), st.integers(0, 5)))
    fuzz(check, examples, given=side, true=side)


@EXAMPLES
def test_a_report_computes_the_score_that_the_run_stated(examples):
    """`reports` has its own formulas, without scikit-learn: they agree on every task, degenerate cases included."""

    def check(name: str, seed: int, count: int, classes: int, coarse: bool) -> None:
        task, draw = find_task(name), np.random.default_rng(seed)
        outputs = {split: draw.normal(size=(count, task.outputs)).astype(np.float32) for split in task.dev}
        if coarse:
            outputs = {split: values.round() for split, values in outputs.items()}
        width = min(classes, task.outputs)
        labels = {
            split: draw.integers(0, 6, count) / 2 if task.regression else draw.integers(0, width, count)
            for split in task.dev
        }
        found = score(task, outputs, labels)
        bounds = {split: slice(i * count, (i + 1) * count) for i, split in enumerate(task.dev)}
        given = [v[:, 0].astype(np.float64) if task.regression else v.argmax(axis=1) for v in outputs.values()]
        again = scored_again(task.score, bounds, np.concatenate(list(labels.values())), np.concatenate(given)[None, :])
        assert 100 * again[0] == pytest.approx(found.score, abs=1e-6)

    fuzz(
        check, examples, name=st.sampled_from([task.name for task in GLUE]), seed=st.integers(0, 2**32 - 1),
        count=st.integers(1, 12), classes=st.integers(1, 3), coarse=st.booleans(),
    )  # fmt: skip
