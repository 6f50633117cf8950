"""The protocol of a kind of task: everything that the laboratory asks where kinds differ.

    kind = kinds.find(task.kind)
    kind.check("rte: split train of ...", task, rows)          # before anything runs
    tokens = kind.encode(tokenizer, task, rows, 128)           # a `Tokens`
    scored = kind.score(task, {"validation": logits}, {"validation": tokens})

What methods ask (the losses) is in `baselines.method.Objective`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from baselines.method import Objective
from benchmarks.base.errors import SuiteError
from benchmarks.tasks.own.files import Part, Rows
from benchmarks.tasks.own.labels import Labels
from benchmarks.tasks.settings import OwnData
from benchmarks.tasks.table import AT_CHANCE, CONSTANT, Scored, Task
from benchmarks.tasks.tokens import Tokens
from results.format.documents.run import Answered
from results.format.scores import SUMMED, score

Logits = NDArray[np.float32]


class Kind(Objective, ABC):
    """A kind of task. `model_class`: the transformers class that gives a model of a family its head."""

    model_class: ClassVar[str]
    has_head: ClassVar[bool] = True
    """Whether the model has weights for the task above its encoder."""
    words: ClassVar[bool] = False
    """Whether a text is a list of words, each with a label, so that no part of it may be cut off."""
    windows: ClassVar[bool] = False
    """Whether a row that is scored may give several examples, although one of training gives one."""
    reads_rows: ClassVar[bool] = False
    """Whether scores need the split's texts (`Tokens.rows`)."""
    keeps_head: ClassVar[bool] = False
    """Whether a run starts from the head that was saved with the encoder, if it has one."""
    chunked: ClassVar[bool] = False
    """Whether a user's rows are text without labels, which is cut into chunks of `words` words when it is converted."""
    converts_by: ClassVar[frozenset[str]] = frozenset()
    """Settings that change the rows of a user's task of this kind, and of no other."""

    def config(self, task: Task) -> dict[str, Any]:
        """What a model's config says of the head."""
        return {"id2label": dict(enumerate(task.labels)), "label2id": {name: i for i, name in enumerate(task.labels)}}

    def outputs(self, task: Task) -> int:
        """The columns that an evaluation keeps of a row of outputs: the width of the head, unless they are reduced."""
        return task.outputs

    def wrap(self, model: Any, folder: Path | None) -> Any:
        """What trains, around a loaded `model_class`: the model itself, or a module that runs and saves it. `folder`:
        where it was loaded from, None for random weights."""
        return model

    def width(self, task: Task, hidden_size: int) -> int:
        """The numbers in a row of a model's outputs, as `logits` gives them."""
        return self.outputs(task)

    @abstractmethod
    def check(self, place: str, task: Task, rows: Any) -> None:
        """Raises `SuiteError` for rows (a `datasets.Dataset`) that are not of this kind; `place` names them."""

    def unfolded(self, own: OwnData, rows: Rows) -> Rows:
        """A user's rows as rows of the task: a kind may make several of one, or none."""
        return rows

    def check_range(self, place: str, task: Task, rows: Any) -> None:
        """Raises `SuiteError` for labels outside the scale of a built-in task."""

    def check_settings(self, own: OwnData) -> None:
        """Raises `ValueError` for settings of a user's task that are not of this kind."""

    @abstractmethod
    def find_labels(self, own: OwnData, train: Rows) -> Labels:
        """What the labels of a user's training rows are. Raises `SuiteError` for labels that cannot be learned."""

    @abstractmethod
    def converted(self, own: OwnData, labels: Labels, rows: Rows) -> dict[str, pa.Array]:
        """A user's rows as columns of a task of this kind. Raises `SuiteError` for the first row that does not fit."""

    def compared(self, own: OwnData, labels: Labels, train: Part, dev: Part) -> list[str]:
        """Warnings about a user's splits together. Raises `SuiteError` for splits that cannot be trained and scored."""
        return []

    @abstractmethod
    def encode(self, tokenizer: Any, task: Task, rows: Any, max_length: int, train: bool = False) -> Tokens:
        """Tokenise a split, and cut its examples at `max_length` tokens. `train`: its examples are trained on, so each
        row gives one; elsewhere a kind may make several of a row, all with its `idx`."""

    def check_model(self, model: Any) -> None:
        """Raises `ValueError` for a model, in eval mode, that cannot do what the kind asks."""

    @abstractmethod
    def made_up_labels(self, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Random labels of a task of two classes for examples of these `lengths` (examples,), to time steps."""

    @abstractmethod
    def score(self, task: Task, logits: Mapping[str, Logits], dev: Mapping[str, Tokens]) -> Scored:
        """Score logits by split. Raises `ValueError` for logits that are not the task's, or not finite."""

    @abstractmethod
    def predictions(self, task: Task, logits: Logits, tokens: Tokens) -> Answered:
        """What is stored of a split's answers; one entry for each `idx`."""


class Summed(Kind):
    """A kind whose score is a function of sums over examples, such as right words and words (results/format/scores.py).
    Runs keep the sums of each example, so a report resamples them without knowing the kind."""

    @abstractmethod
    def sums(self, task: Task, logits: Logits, tokens: Tokens) -> NDArray[np.float64]:
        """(examples, sums) in the order of `SUMMED[task.score]`."""

    @abstractmethod
    def constant(self, task: Task, dev: Mapping[str, Tokens]) -> float:
        """The score (0 to 100) of the best answer that ignores its input."""

    def score(self, task: Task, logits: Mapping[str, Logits], dev: Mapping[str, Tokens]) -> Scored:
        """The mean over splits of the score of each."""
        if not logits or logits.keys() != dev.keys():
            raise ValueError(f"{task.name}: logits of {sorted(logits)} and {sorted(dev)} must be the same splits")
        values: dict[str, float] = {}
        flags: list[str] = []
        for split, found in logits.items():
            self._check_logits(task, split, found, dev[split])
            measured, constant = self.measured(task, found, dev[split])
            suffix = split.removeprefix("validation") if len(logits) > 1 else ""
            values |= {name + suffix: value for name, value in measured.items()}
            flags += [f"{CONSTANT} on {split}"] if constant else []
        mean = 100.0 * float(np.mean([value for name, value in values.items() if name.startswith(task.score)]))
        return Scored(values, mean, flags + ([AT_CHANCE] if mean <= self.constant(task, dev) else []))

    def measured(self, task: Task, logits: Logits, tokens: Tokens) -> tuple[dict[str, float], bool]:
        """A split's metrics (0 to 1), and whether all its answers are the same. The names of those that are the score
        begin with the score's (results/format/bundles/consistency.py)."""
        return {task.score: of_sums(task.score, self.sums(task, logits, tokens))}, self.is_constant(logits)

    def is_constant(self, logits: Logits) -> bool:
        """Whether every row of logits gives the same answer."""
        chosen = logits.argmax(axis=1)
        return bool((chosen == chosen[0]).all())

    def _check_logits(self, task: Task, split: str, logits: Logits, tokens: Tokens) -> None:
        if task.score not in SUMMED:
            raise ValueError(f"{task.name}: {task.score} is not a score of this kind of task")
        wanted = (len(tokens.ids), self.outputs(task))
        if logits.shape != wanted:
            raise ValueError(f"{task.name}: logits {logits.shape} on {split}, but its tokens and outputs are {wanted}")
        if not np.isfinite(logits).all():
            raise ValueError(f"{task.name}: logits on {split} must be finite")


def of_sums(name: Any, sums: NDArray[np.float64]) -> float:
    """The score (0 to 1) that the `sums` (examples, sums) of a split give."""
    return float(score(name, {"split": slice(0, len(sums))}, np.zeros(len(sums)), sums[None])[0])


def check_text(place: str, task: Task, rows: Any) -> None:
    """Raises `SuiteError` if a text column of the task is not text, or if values are missing."""
    for column in task.columns:
        text = rows.data[column]
        if not pa.types.is_string(text.type) and not pa.types.is_large_string(text.type):
            raise SuiteError(f"{place}: column {column!r} is {text.type}, not text")
        if text.null_count:  # empty strings are data: QQP's official training split has two
            raise SuiteError(f"{place}: column {column!r} has missing text")


def check_labels(place: str, task: Task, low: Any, high: Any) -> None:
    """Raises `SuiteError` unless labels from `low` to `high` are the task's: class ids, or values on GLUE's scale."""
    top = 5.0 if task.regression else len(task.labels) - 1
    if low < 0 or high > top:
        raise SuiteError(
            f"{place}: labels run from {low} to {high}, but the task's run from 0 to {top} (-1 means hidden labels)"
        )
