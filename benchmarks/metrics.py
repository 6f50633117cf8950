"""GLUE's metrics as `evaluate.Metric` subclasses, and the score of a task.

`evaluate.load("glue", ...)` downloads and runs unpinned code and dies offline, so the metrics live here,
computed by scikit-learn and scipy. The ready-made ones fail silently (float predictions truncated, empty input
nan): these refuse what is not a prediction, and give degenerate cases a defined value and a flag.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sklearn_metrics

from benchmarks.tasks import AT_CHANCE, CONSTANT, Score, Task


class _Glue(evaluate.Metric, ABC):
    """One metric of GLUE; subclasses set `dtype` and say `_compute`."""

    dtype = "int64"
    about = ""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {"predictions": datasets.Value(self.dtype), "references": datasets.Value(self.dtype)}
        )
        return evaluate.MetricInfo(description=self.about, citation="Wang et al. 2019, GLUE", features=features)

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float]:
        """Raw values by name. Raises `ValueError` for empty, unequal, non-finite or wrongly typed input."""
        given, true = np.asarray(predictions), np.asarray(references)
        if given.size == 0 or given.shape != true.shape or given.ndim != 1:
            raise ValueError(
                f"predictions {given.shape} and references {true.shape} must be equally long and not empty"
            )
        if self.dtype == "int64" and not (
            np.issubdtype(given.dtype, np.integer) and np.issubdtype(true.dtype, np.integer)
        ):
            raise ValueError(f"class ids must be integers, not {given.dtype} and {true.dtype}")
        if not (np.isfinite(given).all() and np.isfinite(true).all()):
            raise ValueError("predictions and references must be finite")
        if (true < 0).any() and self.dtype == "int64":
            raise ValueError("references hold -1: these labels are hidden, nothing can be scored")
        return self._compute(given, true)

    @abstractmethod
    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]: ...


class Accuracy(_Glue):
    about = "share of right labels"

    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]:
        return {"accuracy": float(sklearn_metrics.accuracy_score(references, predictions))}


class F1Accuracy(_Glue):
    about = "F1 of class 1, and accuracy (MRPC, QQP)"

    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]:
        f1 = sklearn_metrics.f1_score(references, predictions, zero_division=0.0)
        return {"f1": float(f1), "accuracy": float(sklearn_metrics.accuracy_score(references, predictions))}


class Matthews(_Glue):
    about = "Matthews correlation; 0 by definition where only one class is predicted (CoLA)"

    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]:
        return {"matthews_correlation": float(sklearn_metrics.matthews_corrcoef(references, predictions))}


class PearsonSpearman(_Glue):
    about = "Pearson and Spearman correlation; 0 by definition where either side is constant (STS-B)"
    dtype = "float64"

    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]:
        if np.ptp(predictions) == 0 or np.ptp(references) == 0:
            return {"pearson": 0.0, "spearman": 0.0}
        return {
            "pearson": float(stats.pearsonr(predictions, references).statistic),
            "spearman": float(stats.spearmanr(predictions, references).statistic),
        }


METRICS: dict[Score, type[_Glue]] = {
    "accuracy": Accuracy,
    "f1_accuracy": F1Accuracy,
    "matthews_correlation": Matthews,
    "pearson_spearman": PearsonSpearman,
}


@dataclass(frozen=True)
class Scored:
    """Raw metrics by name, the task's score (0 to 100 by the paper's convention), and flags of degenerate cases."""

    metrics: dict[str, float]
    score: float
    flags: list[str]


def predict(task: Task, logits: NDArray[np.float32]) -> NDArray[Any]:
    """Class ids, or values for a regression task, (examples,), from logits (examples, outputs)."""
    return logits[:, 0].astype(np.float64) if task.regression else logits.argmax(axis=1)


def score(task: Task, logits: dict[str, NDArray[np.float32]], labels: dict[str, NDArray[Any]]) -> Scored:
    """Score dev logits by split, (examples, outputs) each. Several splits (MNLI's two) count alike in the mean."""
    predictions = {split: predict(task, values) for split, values in logits.items()}
    values = _values(task, predictions, labels)
    flags = [f"{CONSTANT} on {split}" for split, given in predictions.items() if np.ptp(given) == 0]
    found = 100.0 * float(np.mean(list(values.values())))
    if found <= best_constant(task, labels):
        flags.append(AT_CHANCE)
    return Scored(values, found, flags)


def best_constant(task: Task, labels: dict[str, NDArray[Any]]) -> float:
    """The score (0 to 100) of the best answer that does not look at its input: one class, or no correlation."""
    if task.regression:
        return 0.0
    answers = ({split: np.full_like(true, label) for split, true in labels.items()} for label in range(task.outputs))
    return 100.0 * max(float(np.mean(list(_values(task, answer, labels).values()))) for answer in answers)


def _values(task: Task, predictions: dict[str, NDArray[Any]], labels: dict[str, NDArray[Any]]) -> dict[str, float]:
    metric = METRICS[task.score]()
    values: dict[str, float] = {}
    for split, given in predictions.items():
        suffix = split.removeprefix("validation") if len(predictions) > 1 else ""
        result = metric.compute(predictions=given, references=labels[split])
        values |= {name + suffix: value for name, value in result.items()}
    return values
