"""The table of tasks: columns, labels and their order, splits with row counts, score.

glue.toml and demo.toml list the tasks. The score of a task follows the paper (its Table 2): Matthews for CoLA, the mean
of F1 and accuracy for MRPC and QQP, of Pearson and Spearman for STS-B, of matched and mismatched accuracy for MNLI,
accuracy elsewhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.base.errors import SuiteError, nearest
from benchmarks.tasks.kinds import CLASSIFICATION

Score = Literal["matthews_correlation", "accuracy", "f1_accuracy", "pearson_spearman", "token_accuracy", "entity_f1",
                "span_f1", "cosine_spearman", "masked_accuracy", "likelihood"]  # fmt: skip


# Flags of a degenerate score; benchmarks.tasks.metrics sets them.
CONSTANT = "constant predictions"
ONE_CLASS = "one class in the labels"
AT_CHANCE = "no better than a constant answer"


@dataclass(frozen=True)
class Scored:
    """Raw metrics by name, the task's score (0 to 100 by the paper's convention), and flags of degenerate cases."""

    metrics: dict[str, float]
    score: float
    flags: list[str]


@dataclass(frozen=True)
class Task:
    """`labels` are class names in id order; a classification without any is a regression. `dev` maps each dev split to
    its row count."""

    name: str
    title: str
    columns: tuple[str, ...]  # one text column, or two for a pair
    score: Score
    train_rows: int
    dev: dict[str, int] = field(hash=False)
    labels: tuple[str, ...] = ()
    published: str | None = None  # the column's name in the paper's tables
    max_length: int = 128
    in_macro: bool = True
    synthetic: bool = False
    kind: str = CLASSIFICATION  # of benchmarks/tasks/kinds
    scale: tuple[float, float] | None = None  # lowest and highest score, for a kind that trains on a share of it
    notes: tuple[str, ...] = ()

    @property
    def regression(self) -> bool:
        return self.kind == CLASSIFICATION and not self.labels

    @property
    def outputs(self) -> int:
        """Width of the head."""
        return len(self.labels) or 1


def _read(file: str) -> tuple[Task, ...]:
    """The tasks of a TOML file in this folder."""
    tables: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    tuples = {"columns", "labels", "notes", "scale"}
    for table in tables.values():
        table |= {key: tuple(table[key]) for key in tuples & table.keys()}
    return tuple(Task(name, **table) for name, table in tables.items())


GLUE = _read("glue.toml")
DEMO = _read("demo.toml")
TASKS = {task.name: task for task in (*GLUE, *DEMO)}


def find_task(name: str, own: Iterable[str] = ()) -> Task:
    """The task of that name. For an unknown name it raises `SuiteError`, which names the nearest task, also of the
    user's `own`."""
    if name not in TASKS:
        raise SuiteError(f"unknown task {name!r}: {nearest(name, [*own, *TASKS])}")
    return TASKS[name]
