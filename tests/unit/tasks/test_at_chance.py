"""When a score is no better than a constant answer."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tasks.metrics import best_constant, score
from benchmarks.tasks.table import AT_CHANCE, find_task


def one_hot(classes: np.ndarray, outputs: int) -> np.ndarray:
    return np.eye(outputs, dtype=np.float32)[classes]


@pytest.mark.parametrize(
    ("name", "labels", "best"),
    [
        ("rte", [0, 0, 0, 1], 75.0),
        ("cola", [0, 1, 1, 1], 0.0),  # a constant answer has no correlation
        ("mrpc", [0, 1, 1, 1], 100 * (6 / 7 + 3 / 4) / 2),  # all equivalent: F1 2 * 3 / (3 + 4), accuracy 3 / 4
        ("stsb", [0.5, 4.0, 2.0, 1.0], 0.0),
    ],
)
def test_a_constant_answer_is_at_chance(name: str, labels: list[float], best: float) -> None:
    task = find_task(name)
    true = np.asarray(labels, dtype=np.float64 if task.regression else np.int64)
    assert best_constant(task, {"validation": true}) == pytest.approx(best)
    logits = np.ones((4, 1), np.float32) if task.regression else one_hot(np.ones(4, int), task.outputs)
    if name == "rte":
        logits = one_hot(np.zeros(4, int), 2)
    constant = score(task, {"validation": logits}, {"validation": true})
    assert constant.score == pytest.approx(best)
    assert AT_CHANCE in constant.flags
    right = true[:, None].astype(np.float32) if task.regression else one_hot(true, task.outputs)
    perfect = score(task, {"validation": right}, {"validation": true})
    assert perfect.score == pytest.approx(100.0)
    assert AT_CHANCE not in perfect.flags


def test_a_model_that_answers_at_random_below_the_largest_class_is_at_chance() -> None:
    true = np.array([0, 0, 0, 1])
    worse = score(find_task("rte"), {"validation": one_hot(np.array([0, 0, 1, 1]), 2)}, {"validation": true})
    assert worse.score == 75.0
    assert worse.flags == [AT_CHANCE]  # no better, though it is not constant
