"""What the suite knows of each task: columns, labels and their order, splits with row counts, metric,
convention.

GLUE's nine tasks in the schema of `nyu-mll/glue`; the row counts are that dataset card's. The score of a task
is the paper's convention (its Table 2): Matthews for CoLA, the mean of F1 and accuracy for MRPC and QQP, of
Pearson and Spearman for STS-B, of matched and mismatched accuracy for MNLI, accuracy elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from benchmarks.errors import SuiteError, nearest

Score = Literal["matthews_correlation", "accuracy", "f1_accuracy", "pearson_spearman"]


# Flags of a score that says nothing; benchmarks.metrics raises them.
CONSTANT = "constant predictions"
ONE_CLASS = "one class in the labels"
AT_CHANCE = "no better than a constant answer"


@dataclass(frozen=True)
class Task:
    """`labels` are class names in id order; empty means regression. `dev` maps each dev split to its row count."""

    name: str
    title: str
    columns: tuple[str, ...]  # one text column, or two for a pair
    labels: tuple[str, ...]
    score: Score
    train_rows: int
    dev: dict[str, int] = field(hash=False)
    published: str | None = None  # the column's name in the paper's tables
    max_length: int = 128
    in_macro: bool = True
    synthetic: bool = False
    tokens: float = 0.0  # mean tokens of a training example under the uncased BERT vocabulary, for estimates
    notes: tuple[str, ...] = ()

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def outputs(self) -> int:
        """Width of the head."""
        return len(self.labels) or 1


VALIDATION = "validation"
ENTAILMENT = ("entailment", "not_entailment")

# tokens: measured with the uncased WordPiece vocabulary at the task's max_length on the training split (MNLI: matched
# dev; QNLI: a 10 % and QQP: a 6.5 % sample of train).
GLUE = (
    Task(
        "cola",
        "CoLA",
        ("sentence",),
        ("unacceptable", "acceptable"),
        "matthews_correlation",
        8_551,
        {VALIDATION: 1_043},
        "CoLA",
        tokens=11.3,
    ),
    Task(
        "mnli",
        "MNLI",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        "accuracy",
        392_702,
        {"validation_matched": 9_815, "validation_mismatched": 9_832},
        "MNLI",
        tokens=39.1,
        notes=("mean of matched and mismatched accuracy",),
    ),
    Task(
        "mrpc",
        "MRPC",
        ("sentence1", "sentence2"),
        ("not_equivalent", "equivalent"),
        "f1_accuracy",
        3_668,
        {VALIDATION: 408},
        "MRPC",
        tokens=53.2,
        notes=("mean of F1 and accuracy",),
    ),
    Task(
        "qnli",
        "QNLI",
        ("question", "sentence"),
        ENTAILMENT,
        "accuracy",
        104_743,
        {VALIDATION: 5_463},
        "QNLI",
        max_length=256,
        tokens=49.3,
    ),
    Task(
        "qqp",
        "QQP",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        "f1_accuracy",
        363_846,
        {VALIDATION: 40_430},
        "QQP",
        tokens=30.7,
        notes=("mean of F1 and accuracy",),
    ),
    Task(
        "rte", "RTE", ("sentence1", "sentence2"), ENTAILMENT, "accuracy", 2_490, {VALIDATION: 277}, "RTE", tokens=66.6
    ),
    Task(
        "sst2",
        "SST-2",
        ("sentence",),
        ("negative", "positive"),
        "accuracy",
        67_349,
        {VALIDATION: 872},
        "SST-2",
        tokens=13.3,
    ),
    Task(
        "stsb",
        "STS-B",
        ("sentence1", "sentence2"),
        (),
        "pearson_spearman",
        5_749,
        {VALIDATION: 1_500},
        "STS-B",
        tokens=27.8,
        notes=("mean of Pearson and Spearman",),
    ),
    Task(
        "wnli",
        "WNLI",
        ("sentence1", "sentence2"),
        ("not_entailment", "entailment"),
        "accuracy",
        635,
        {VALIDATION: 71},
        None,
        in_macro=False,
        tokens=37.1,
        notes=("left out of the macro: its dev set is adversarial to its training set",),
    ),
)

# The demo's synthetic tasks are shaped like four of them; benchmarks/demo makes their data.
DEMO = (
    Task(
        "syn-cola",
        "syn-CoLA",
        ("sentence",),
        ("unacceptable", "acceptable"),
        "matthews_correlation",
        1_670,
        {VALIDATION: 800},
        synthetic=True,
        max_length=48,
    ),
    Task(
        "syn-sst2",
        "syn-SST-2",
        ("sentence",),
        ("negative", "positive"),
        "accuracy",
        1_670,
        {VALIDATION: 800},
        synthetic=True,
        max_length=48,
    ),
    Task(
        "syn-stsb",
        "syn-STS-B",
        ("sentence1", "sentence2"),
        (),
        "pearson_spearman",
        1_424,
        {VALIDATION: 600},
        synthetic=True,
        max_length=48,
    ),
    Task(
        "syn-mnli",
        "syn-MNLI",
        ("premise", "hypothesis"),
        ("entailment", "neutral", "contradiction"),
        "accuracy",
        1_424,
        {"validation_matched": 500, "validation_mismatched": 500},
        synthetic=True,
        max_length=48,
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in (*GLUE, *DEMO)}


def find_task(name: str) -> Task:
    """The task of that name. Raises `SuiteError` naming the nearest one otherwise."""
    if name not in TASKS:
        raise SuiteError(f"unknown task {name!r}: {nearest(name, TASKS)}")
    return TASKS[name]
