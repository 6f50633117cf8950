"""What a task's data holds, in one line: `python -m benchmarks check-data`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from benchmarks.tasks.data import TRAIN, Source, load_splits
from benchmarks.tasks.own.facts import listed
from benchmarks.tasks.table import Task

if TYPE_CHECKING:  # it takes a second to import
    from datasets import Dataset


def summary(source: Source) -> str:
    """Rows and labels of each split, repeated and empty texts, and where the data comes from."""
    task, splits = source.task, load_splits(source)
    texts = {split: _texts(task, rows) for split, rows in splits.items()}
    known = set(texts[TRAIN])
    parts = [f"{split} {len(rows):,} rows ({_labels(task, rows)})" for split, rows in splits.items()]
    for split in task.dev:
        parts.append(f"{sum(text in known for text in texts[split]):,} texts of {split} are in {TRAIN} too")
    empty = sum(not part.strip() for found in texts.values() for text in found for part in text)
    parts.append(f"{empty:,} empty texts")
    place = source.given or source.folder or (f"{source.dataset}@{source.revision}" if source.revision else "")
    return f"{task.name}: {'; '.join(parts)}; from {place or source.dataset}"


def _texts(task: Task, rows: Dataset) -> list[tuple[str, ...]]:
    return list(zip(*(rows.data[column].to_pylist() for column in task.columns), strict=True))


def _labels(task: Task, rows: Dataset) -> str:
    """Examples by label, or the range of the scores."""
    if task.regression:
        low, high = (value.as_py() for value in pc.min_max(rows.data["label"]).values())
        return f"scores {low:g} to {high:g}"
    if not task.labels:
        return "no labels"
    counts = Counter(rows.data["label"].to_pylist())
    return listed(tuple(f"{name} {counts[i]:,}" for i, name in enumerate(task.labels)))
