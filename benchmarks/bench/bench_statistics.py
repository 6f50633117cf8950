"""The statistics of the largest planned suite, with a limit on time and memory: `make bench`.

Eight tasks scored like GLUE's, twelve arms, twenty seeds, 40,000 dev examples each, 10,000 bootstrap draws: intervals
of every cell and macro, every difference from the leading arm, every claim's verdict, loyalty, calibration and flips.
Predictions are made up and held in memory, so the time does not include reading them.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from reports.claims.verdicts import verdicts
from reports.statistics import loyalty
from reports.statistics.cells import MACRO, Cells
from reports.statistics.differences import Differences, comparisons
from reports.statistics.intervals import Estimator
from results.format.documents.speed import Speed
from results.format.predictions import Answers
from results.format.records import Arm, Checkpoint, Results, Run, Suite, SuiteEncoder, Task
from results.format.scores import Kind, score

EXAMPLES, SEEDS, DRAWS = 40_000, tuple(range(1, 21)), 10_000
KINDS: dict[str, Kind] = {
    "CoLA": "matthews_correlation", "MNLI": "accuracy", "MRPC": "f1_accuracy", "QNLI": "accuracy",
    "QQP": "f1_accuracy", "RTE": "accuracy", "SST-2": "accuracy", "STS-B": "pearson_spearman",
}  # fmt: skip
ROWS = ("BERT-base", "Fine-tuning", "Vanilla KD", "BERT-PKD", "LayerDrop", "DistilBERT", "Constant", "Anti-curriculum",
        "Curriculum", "other", "another", "BERT-of-Theseus")  # fmt: skip
SECONDS, BYTES = 60, 4 * 2**30


def made_up(title: str, kind: Kind, rng: np.random.Generator) -> Answers:
    """Made-up answers; as with real ones, an example is equally difficult for all runs."""
    classes = 3 if title == "MNLI" else 2
    labels = rng.integers(0, classes, EXAMPLES) if kind != "pearson_spearman" else rng.uniform(0, 5, EXAMPLES)
    half = {"validation_matched": slice(0, 20_000), "validation_mismatched": slice(20_000, EXAMPLES)}
    bounds = half if title == "MNLI" else {"validation": slice(0, EXAMPLES)}
    found = Answers(title.lower(), kind, bounds, np.arange(EXAMPLES), labels)
    ease = rng.normal(1, 1, EXAMPLES).astype(np.float32)
    for level in range(len(ROWS)):
        found.given[f"arm-{level}"], found.logits[f"arm-{level}"] = {}, {}
        for seed in SEEDS:
            noise = rng.standard_normal(EXAMPLES, np.float32)
            if kind == "pearson_spearman":
                logits = (labels + (1.2 - 0.02 * level) * noise).astype(np.float32)[:, None]
                given = logits[:, 0].astype(np.float64)
            else:
                logits = np.zeros((EXAMPLES, classes), np.float32)
                logits[np.arange(EXAMPLES), labels] = ease + 0.02 * level + 0.7 * noise
                given = logits.argmax(axis=1)
            found.given[f"arm-{level}"][seed], found.logits[f"arm-{level}"][seed] = given, logits
    return found


def suite(answers: dict[str, Answers]) -> Results:
    tasks = tuple(
        Task(t.lower(), t, t, kind, True, None, dict.fromkeys(answers[t.lower()].bounds), ())
        for t, kind in KINDS.items()
    )
    arms = tuple(
        Arm(f"arm-{i}", row, "predecessor" if row == "BERT-base" else "kd", 12 if row == "BERT-base" else 6, row)
        for i, row in enumerate(ROWS)
    )
    runs = []
    for task in tasks:
        found = answers[task.name]
        for arm in arms:
            given = np.stack([found.given[arm.name][seed] for seed in SEEDS])
            scores = 100 * score(found.kind, found.bounds, found.labels, given)
            for seed, value in zip(SEEDS, scores, strict=True):
                last = Checkpoint(1, 1.0, {}, float(value), ())
                runs.append(
                    Run("x", task.name, arm.name, arm.method, seed, 0, "x", status="done", last=last, parameters=1)
                )
    plan = Suite(
        name="bench", title="bench", description="", synthetic=False, comparable=True, comparison="", table=None,
        protocol="last", statistic="mean", held_out=0.0, unequal_budget=False, steps=(), contrasts=(), x_title=None,
        encoder=SuiteEncoder("bench", layers=12), successor_layers=6, tasks=tasks, arms=arms, seeds=SEEDS,
        predecessor_per_seed=True,
    )  # fmt: skip
    return Results(Path("."), plan, tuple(runs), Speed(), 0, (), "")


def statistics(results: Results, answers: dict[str, Answers]) -> int:
    """Everything that the report computes from predictions; the number of intervals."""
    estimator = Estimator(Cells.of(results), "last", DRAWS)
    estimator.__dict__["answers"] = answers
    compared = Differences(estimator)
    tasks = [*(task.name for task in results.suite.tasks), MACRO]
    cells = [estimator.score(task, arm.name) for task in tasks for arm in results.suite.arms]
    differences = comparisons(compared)
    found, _ = verdicts(compared)
    rows = loyalty.loyalties(results.suite, answers)
    flips = list(loyalty.all_flips(results.suite, answers, ("arm-11",)))
    assert all(cell is not None and cell.basis == "seeds and examples" for cell in cells)
    assert all(d.basis == "seeds and examples" for d in differences)
    assert len(rows) == len(ROWS) * len(KINDS)
    assert len(flips) == (len(ROWS) - 1) * (len(KINDS) - 1)
    assert found
    return len(cells) + len(differences)


def bench_largest_suite(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    answers = {title.lower(): made_up(title, kind, rng) for title, kind in KINDS.items()}
    results = suite(answers)
    assert benchmark.pedantic(statistics, args=(results, answers), rounds=1) == 9 * 12 + 9 * 11
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    benchmark.extra_info["peak_bytes"] = peak
    if benchmark.stats is not None:
        assert benchmark.stats.stats.max < SECONDS
    assert peak < BYTES
