"""GLUE metrics: against scikit-learn and scipy or by hand, the score conventions, refusals, degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.tasks.metrics import METRICS, Accuracy, F1Accuracy, Matthews, PearsonSpearman, predict, score
from benchmarks.tasks.table import find_task


def test_values_by_hand():
    """Predictions 1 1 1 0 against 1 1 0 0: 2 true and 1 false positive, 1 true and no false negative."""
    given, true = [1, 1, 1, 0], [1, 1, 0, 0]
    assert Accuracy().compute(predictions=given, references=true) == {"accuracy": 0.75}
    assert F1Accuracy().compute(predictions=given, references=true) == {"f1": pytest.approx(0.8), "accuracy": 0.75}
    mcc = (2 * 1 - 1 * 0) / np.sqrt(3 * 2 * 2 * 1)
    assert Matthews().compute(predictions=given, references=true)["matthews_correlation"] == pytest.approx(mcc)


def test_correlations_by_hand():
    """Ranks 1 2 3 4 against 1 2 4 3: Spearman 1 - 6 * 2 / (4 * 15) = 0.8."""
    given, true = [1.0, 2.0, 3.0, 9.0], [0.5, 1.0, 4.0, 3.0]
    found = PearsonSpearman().compute(predictions=given, references=true)
    assert found["spearman"] == pytest.approx(0.8)
    assert found["pearson"] == pytest.approx(np.corrcoef(given, true)[0, 1])
    assert found["pearson"] == pytest.approx(stats.pearsonr(given, true).statistic)


@pytest.mark.parametrize("metric", METRICS.values())
@pytest.mark.parametrize(
    ("given", "true"),
    [([], []), ([1, 0], [1]), ([1, float("nan")], [1, 0]), ([[1, 0]], [[1, 0]])],
)
def test_what_is_no_prediction_is_refused(metric, given, true):
    with pytest.raises(ValueError, match="must be"):
        metric().compute(predictions=given, references=true)


def test_floats_for_classes_and_hidden_labels_are_refused():
    with pytest.raises(ValueError, match="integers"):
        Accuracy().compute(predictions=[1.7, 0.2], references=[1, 0])
    with pytest.raises(ValueError, match="hidden"):
        Accuracy().compute(predictions=[1, 0], references=[-1, -1])


def test_degenerate_predictions_have_a_defined_value_and_a_flag():
    one_class = np.tile([2.0, -1.0], (4, 1)).astype(np.float32)
    scored = score(find_task("cola"), {"validation": one_class}, {"validation": np.array([0, 1, 1, 0])})
    assert scored.score == 0.0
    assert scored.flags == ["constant predictions on validation", "no better than a constant answer"]
    constant = np.full((4, 1), 2.5, dtype=np.float32)
    scored = score(find_task("stsb"), {"validation": constant}, {"validation": np.array([0.0, 1, 2, 3])})
    assert scored.metrics == {"pearson": 0.0, "spearman": 0.0}
    assert scored.flags


def test_task_scores_follow_the_papers_conventions():
    logits = np.array([[0, 1], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    labels = np.array([1, 1, 0, 0])
    assert score(find_task("mrpc"), {"validation": logits}, {"validation": labels}).score == pytest.approx(77.5)
    assert score(find_task("rte"), {"validation": logits}, {"validation": labels}).score == pytest.approx(75.0)
    matched, mismatched = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[1, 1, 1]]
    scored = score(
        find_task("mnli"),
        {"validation_matched": matched, "validation_mismatched": mismatched},
        {"validation_matched": np.arange(3), "validation_mismatched": np.arange(3)},
    )
    assert scored.metrics == {"accuracy_matched": 1.0, "accuracy_mismatched": pytest.approx(1 / 3)}
    assert scored.score == pytest.approx(100 * 2 / 3)


def test_predictions_are_the_largest_logit_or_the_value():
    assert predict(find_task("rte"), np.array([[0.1, 0.2], [3, 1]], dtype=np.float32)).tolist() == [1, 0]
    assert predict(find_task("stsb"), np.array([[2.5]], dtype=np.float32)).tolist() == [2.5]
