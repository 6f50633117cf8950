"""One label a text, or a pair of texts: a class, or a value (regression, for a task without class names)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from baselines.method import PerExample
from benchmarks.base.errors import SuiteError
from benchmarks.tasks.kind import Kind, Logits, check_labels, check_text
from benchmarks.tasks.own.checks import check_classes_of_splits, check_texts
from benchmarks.tasks.own.files import Part, Rows
from benchmarks.tasks.own.labels import Labels, encoded, find_labels
from benchmarks.tasks.settings import OwnData
from benchmarks.tasks.table import Scored, Task
from benchmarks.tasks.tokens import Tokens
from results.format.documents.run import Answered


class Classification(PerExample, Kind):
    """A class id, or a float value, for each example."""

    model_class = "AutoModelForSequenceClassification"

    def config(self, task: Task) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"} if task.regression else super().config(task)

    def check(self, place: str, task: Task, rows: Any) -> None:
        check_text(place, task, rows)
        _check_labels(place, task, rows)

    def check_range(self, place: str, task: Task, rows: Any) -> None:
        low, high = (value.as_py() for value in pc.min_max(rows.data["label"]).values())
        if task.regression and high <= 1:
            raise SuiteError(f"{place}: labels run from {low:g} to {high:g}; is the scale 0 to 1? The task's is 0 to 5")
        check_labels(place, task, low, high)

    def find_labels(self, own: OwnData, train: Rows) -> Labels:
        return find_labels(own, train)

    def converted(self, own: OwnData, labels: Labels, rows: Rows) -> dict[str, pa.Array]:
        check_texts(own, rows)
        values = pa.array(encoded(labels, own.label, rows), pa.int64() if labels.labels else pa.float32())
        return {name: pa.array(rows.columns[name], pa.string()) for name in own.columns} | {"label": values}

    def compared(self, own: OwnData, labels: Labels, train: Part, dev: Part) -> list[str]:
        return check_classes_of_splits(own, labels, train, dev)

    def encode(self, tokenizer: Any, task: Task, rows: Any, max_length: int, train: bool = False) -> Tokens:
        texts = [rows.data[column].to_pylist() for column in task.columns]
        encoded = tokenizer(*texts, max_length=max_length, truncation=True, padding=False, return_attention_mask=False)
        ids = encoded["input_ids"]
        types = encoded.get("token_type_ids")
        labels = torch.tensor(rows.data["label"].to_pylist(), dtype=torch.float32 if task.regression else torch.int64)
        return Tokens(
            ids=torch.tensor([i for row in ids for i in row], dtype=torch.int32),
            types=None if types is None else torch.tensor([i for row in types for i in row], dtype=torch.uint8),
            offsets=torch.tensor([0, *np.cumsum([len(row) for row in ids])]),
            labels=labels,
            idx=torch.tensor(rows.data["idx"].to_pylist(), dtype=torch.int64),
            pad_id=tokenizer.pad_token_id,
            kind=task.kind,
        )

    def made_up_labels(self, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(0, 2, (len(lengths),), generator=generator)

    def score(self, task: Task, logits: Mapping[str, Logits], dev: Mapping[str, Tokens]) -> Scored:
        return _metrics().score(task, dict(logits), {split: tokens.labels.numpy() for split, tokens in dev.items()})

    def predictions(self, task: Task, logits: Logits, tokens: Tokens) -> Answered:
        return Answered(
            label=tokens.labels.numpy(),
            prediction=_metrics().predict(task, logits),
            logits=list(logits),
        )


def _plain(names: Iterable[str]) -> list[str]:
    return [name.lower() for name in names]  # POSITIVE is positive


def _metrics() -> Any:
    from benchmarks.tasks import metrics  # loads datasets and scikit-learn: two seconds that a plan saves

    return metrics


def _check_labels(place: str, task: Task, rows: Any) -> None:
    from datasets import ClassLabel  # takes a second to import, which a plan of checked data saves

    labels = rows.data["label"]
    feature = rows.features["label"]
    if isinstance(feature, ClassLabel) and _plain(feature.names) != _plain(task.labels):
        raise SuiteError(
            f"{place}: labels are {feature.names}, but the task's order is {list(task.labels)}: reorder the file"
        )
    if labels.null_count:
        raise SuiteError(f"{place}: column 'label' has missing values")
    fits = pa.types.is_floating if task.regression else pa.types.is_integer
    if not fits(labels.type):
        kind = "float scores" if task.regression else "integer class ids"
        raise SuiteError(f"{place}: column 'label' is {labels.type}, but the task needs {kind}")
    if task.regression and not pc.all(pc.is_finite(labels)).as_py():
        raise SuiteError(f"{place}: column 'label' has scores that are not finite")


KIND = Classification()
