"""Made-up studies for the drift gate: accepted and new scores of 8 tasks x 4 arms, drawn with a stated noise.

An accepted score and its rerun are two independent draws, so that their difference has sqrt(2) times the sd of one.
The new runs have another device, so that no bits need repeat.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from reports.drift.compare import Drift, compare
from reports.drift.margins import macro_margin
from reports.drift.snapshot import Cell, Outcome, Snapshot

TASKS = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb")
MARGINS = {task: 1.0 if task in ("mnli", "qnli", "qqp", "sst2") else 2.0 for task in TASKS}  # the defaults on GLUE
ARMS = ("finetune", "kd", "pkd", "theseus")
PAIRED_SD = 2.0
ONE = dict.fromkeys(TASKS, PAIRED_SD)
# A factor of 12 between tasks; the mean square, and so the spread of a macro, is that of `ONE`.
_UNLIKE = np.geomspace(0.3, 3.6, len(TASKS)) / math.sqrt(np.mean(np.geomspace(0.3, 3.6, len(TASKS)) ** 2))
UNLIKE = dict(zip(("qqp", "mnli", "qnli", "stsb", "sst2", "mrpc", "cola", "rte"), PAIRED_SD * _UNLIKE, strict=True))

Falls = Mapping[tuple[str, str], float]


def study(
    rng: np.random.Generator, seeds: int, spread: Mapping[str, float], falls: Falls | None = None, common: float = 0.0
) -> Drift:
    """One comparison. `falls`: points by (task, arm); `common`: sd of what all arms and seeds of a task share."""
    then, now = {}, {}
    for task in TASKS:
        shared = rng.normal(0, common) if common else 0.0
        for arm in ARMS:
            old, new = 60 + rng.normal(0, spread[task] / math.sqrt(2), (2, seeds))
            then[task, arm] = _cell(task, arm, old, "one")
            now[task, arm] = _cell(task, arm, new + shared - (falls or {}).get((task, arm), 0.0), "another")
    accepted = Snapshot("study", "last", then, (), MARGINS, TASKS)
    accepted = replace(accepted, macro_margin=macro_margin(accepted))
    return compare(accepted, Snapshot("study", "last", now, (), {}, TASKS))


def _cell(task: str, arm: str, scores: np.ndarray, device: str) -> Cell:
    runs = {seed: Outcome(seed, f"{task}-{arm}-{seed}", "done", score, 100, None, None, None, None,
                          {"device_name": device}) for seed, score in enumerate(scores.tolist(), 1)}  # fmt: skip
    return Cell(task, arm, arm, 0, runs, {})
