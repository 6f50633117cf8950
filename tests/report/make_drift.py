"""Made-up results folders and their baselines for the tests of the drift gate."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from reports import read
from reports.drift.baseline import accepted, baseline_document
from reports.drift.output import check
from tests.report.make_results import make_results, number, score

TASKS, ARMS, SEEDS = ("cola", "rte"), ("predecessor", "finetune", "kd", "theseus"), (1, 2, 3, 4, 5, 6)
EIGHT = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb")
ELSEWHERE = {"device_name": "another"}  # a manifest of runs whose bits need not repeat


def made(folder, **changes):
    return make_results(folder, **{"tasks": TASKS, "arms": ARMS, "seeds": SEEDS, **changes})


def checked(folder, baseline, exact=False):
    return check(read(folder), baseline, exact)


def freeze(results, margins=None):
    """What `accept` writes."""
    return baseline_document(accepted(results, margins), results.digest)


def write_baseline(folder, path, margins=None):
    path.write_text(json.dumps(freeze(read(folder), margins), indent=1))
    return path


def shifted(task, arm, points):
    """Scores of one cell moved by `points`, a little differently for each seed."""
    return {(task, arm, seed): score(task, arm, seed) + points + 0.1 * (seed % 3) for seed in SEEDS}


def noisy(tasks, arms, seeds, sd=2.0):
    """Scores of all cells, each moved by its own noise."""
    keys = [(task, arm, seed) for task in tasks for arm in arms for seed in seeds]
    return {key: score(*key) + number("again", *key).gauss(0, sd) for key in keys}


def rewrite(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def change_manifests(folder, pattern, **fields):
    for path in folder.glob(f"{pattern}/*/manifest.json"):
        rewrite(path, lambda manifest: manifest.update(fields))


def save_predictions(folder, nudge=0.0):
    """Two examples for every run; `nudge` moves the logits and nothing else."""
    for result in folder.glob("*/*/*/result.json"):
        frame = pd.DataFrame({"checkpoint": "last", "split": "validation", "idx": [0, 1], "label": [0, 1]})
        frame["prediction"] = [0, 1]
        frame["logits"] = [np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0 + nudge], np.float32)]
        frame.to_parquet(result.parent / "predictions.parquet", index=False)


def cell(found, task, arm):
    return next(c for c in found.cells if (c.task, c.arm) == (task, arm))
