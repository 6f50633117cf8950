"""GLUE's metrics as `evaluate.Metric` subclasses, and the score of a task.

`evaluate.load("glue", ...)` downloads and runs unpinned code and fails offline, so this module computes the metrics
with scikit-learn and scipy. The downloaded ones fail silently (they truncate float predictions, and give nan for empty
input). These refuse invalid predictions, and give degenerate cases a defined value and a flag:

| case | value | flag |
| --- | --- | --- |
| one class or value predicted | Matthews and correlations 0, F1 and accuracy as they are | constant predictions |
| one class or value in the labels | the same | one class in the labels |
| no better than the best constant answer | as it is | no better than a constant answer |
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sklearn_metrics

from benchmarks.tasks.table import AT_CHANCE, CONSTANT, ONE_CLASS, Score, Scored, Task


class _Glue(evaluate.Metric, ABC):
    """One metric of GLUE; subclasses set `dtype` and define `_compute`."""

    dtype = "int64"
    binary = False
    about = ""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {"predictions": datasets.Value(self.dtype), "references": datasets.Value(self.dtype)}
        )
        return evaluate.MetricInfo(description=self.about, citation="Wang et al. 2019, GLUE", features=features)

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float]:
        """Raw values by name. Raises `ValueError` for empty, unequal, non-finite or wrongly typed input."""
        given, true = _array(predictions, "predictions"), _array(references, "references")
        if given.size == 0 or given.shape != true.shape or given.ndim != 1:
            raise ValueError(
                f"predictions {given.shape} and references {true.shape} must be equally long and not empty"
            )
        for values, side in ((given, "predictions"), (true, "references")):
            kind = values.dtype
            if self.dtype == "int64" and not np.issubdtype(kind, np.integer):
                raise ValueError(f"class ids must be integers, not {kind} ({side})")
            if not (np.issubdtype(kind, np.integer) or np.issubdtype(kind, np.floating)):
                raise ValueError(f"values must be numbers, not {kind} ({side})")
            if not np.isfinite(values).all():
                raise ValueError(f"{side} must be finite")
        if self.dtype == "int64":
            if (true < 0).any():
                raise ValueError("references hold -1: these labels are hidden, so nothing can be scored")
            if (given < 0).any():
                raise ValueError("predictions hold a class id below 0: predict with the task's own head")
        if self.binary and max(given.max(), true.max()) > 1:
            raise ValueError("class ids of a task of two classes must be 0 or 1")
        return self._compute(given, true)

    @abstractmethod
    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]: ...


class Accuracy(_Glue):
    about = "share of right labels"

    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]:
        return {"accuracy": float(sklearn_metrics.accuracy_score(references, predictions))}


class F1Accuracy(_Glue):
    binary = True
    about = "F1 of class 1, and accuracy (MRPC, QQP)"

    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]:
        f1 = sklearn_metrics.f1_score(references, predictions, zero_division=0.0)
        return {"f1": float(f1), "accuracy": float(sklearn_metrics.accuracy_score(references, predictions))}


class Matthews(_Glue):
    binary = True
    about = "Matthews correlation; 0 by definition where only one class is predicted (CoLA)"

    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]:
        if _constant(predictions) or _constant(references):
            return {"matthews_correlation": 0.0}
        return {"matthews_correlation": float(sklearn_metrics.matthews_corrcoef(references, predictions))}


class PearsonSpearman(_Glue):
    about = "Pearson and Spearman correlation; 0 by definition where either side is constant (STS-B)"
    dtype = "float64"

    def _compute(self, predictions: NDArray[Any], references: NDArray[Any]) -> dict[str, float]:
        if _constant(predictions) or _constant(references):
            return {"pearson": 0.0, "spearman": 0.0}
        return {
            "pearson": _pearson(predictions, references),
            "spearman": float(stats.spearmanr(predictions, references).statistic),
        }


def _array(values: Any, side: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{side} must be one number per example: {error}") from None


def _constant(values: NDArray[Any]) -> bool:
    """Whether all values are equal. There is no subtraction, because the spread of very large values overflows."""
    return bool((values == values[0]).all())


def _pearson(predictions: NDArray[Any], references: NDArray[Any]) -> float:
    """scipy's Pearson correlation; 0 if floating point cannot compute it: a side's spread rounds to 0 or overflows."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy warns about such sides; the code below handles them
        value = float(stats.pearsonr(predictions, references).statistic)
        if not math.isfinite(value):
            one, other = (_unit(np.asarray(side, dtype=np.float64)) for side in (predictions, references))
            value = float(stats.pearsonr(one, other).statistic)
    return value if math.isfinite(value) else 0.0


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values, scaled to at most 1 in size: a correlation does not change, and nothing overflows."""
    return values / np.abs(values).max()


METRICS: dict[Score, type[_Glue]] = {
    "accuracy": Accuracy,
    "f1_accuracy": F1Accuracy,
    "matthews_correlation": Matthews,
    "pearson_spearman": PearsonSpearman,
}


def predict(task: Task, logits: NDArray[np.float32]) -> NDArray[Any]:
    """Class ids, or values for a regression task, (examples,), from logits (examples, outputs)."""
    return logits[:, 0].astype(np.float64) if task.regression else logits.argmax(axis=1)


def score(task: Task, logits: dict[str, NDArray[np.float32]], labels: dict[str, NDArray[Any]]) -> Scored:
    """Score dev logits by split, (examples, outputs) each. Several splits (MNLI's two) count alike in the mean.

    Raises `ValueError` for logits or labels that are not the task's, or not finite.
    """
    _check(task, logits, labels)
    predictions = {split: predict(task, values) for split, values in logits.items()}
    values = _values(task, predictions, labels)
    flags = [f"{CONSTANT} on {split}" for split, given in predictions.items() if _constant(given)]
    flags += [f"{ONE_CLASS} of {split}" for split in predictions if _constant(np.asarray(labels[split]))]
    found = 100.0 * float(np.mean(list(values.values())))
    if found <= best_constant(task, labels):
        flags.append(AT_CHANCE)
    return Scored(values, found, flags)


def _check(task: Task, logits: dict[str, NDArray[np.float32]], labels: dict[str, NDArray[Any]]) -> None:
    """Check what a metric can no longer see: argmax gives a class for NaN, and for a head of another width."""
    if not logits or logits.keys() != labels.keys():
        raise ValueError(
            f"{task.name}: logits of {sorted(logits)} and labels of {sorted(labels)} must be the same splits"
        )
    for split, given in logits.items():
        true = np.asarray(labels[split])
        if given.ndim != 2 or given.shape[1] != task.outputs:
            raise ValueError(f"{task.name}: logits {given.shape} on {split}, but the task has {task.outputs} outputs")
        if not np.isfinite(given).all():
            raise ValueError(f"{task.name}: logits on {split} must be finite")
        if not task.regression and true.size and np.issubdtype(true.dtype, np.integer) and true.max() >= task.outputs:
            raise ValueError(f"{task.name}: label {true.max()} on {split}, but class ids run to {task.outputs - 1}")


def best_constant(task: Task, labels: dict[str, NDArray[Any]]) -> float:
    """The score (0 to 100) of the best answer that ignores its input: one class, or no correlation."""
    if task.regression:
        return 0.0
    if task.score == "accuracy":  # that of the most frequent class, in one pass, because a task may have 1,024
        shares = [np.bincount(true, minlength=task.outputs) / len(true) for true in labels.values()]
        return 100.0 * float(np.mean(shares, axis=0).max())
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
