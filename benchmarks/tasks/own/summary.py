"""What a task's data holds, in one line: `python -m benchmarks check-data`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
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
    columns = [rows.data[column].to_pylist() for column in task.columns]
    return [
        tuple(" ".join(part) if isinstance(part, list) else part for part in row) for row in zip(*columns, strict=True)
    ]


def _labels(task: Task, rows: Dataset) -> str:
    """Examples (or words) by label, the range of the scores, or the questions without an answer."""
    labels = rows.data["label"]
    if pa.types.is_list(labels.type) and pa.types.is_string(labels.type.value_type):
        return f"{pc.sum(pc.equal(pc.list_value_length(labels), 0)).as_py():,} without an answer"
    if pa.types.is_list(labels.type):
        labels = pc.list_flatten(labels)
    if pa.types.is_floating(labels.type):
        low, high = (value.as_py() for value in pc.min_max(labels).values())
        return f"scores {low:g} to {high:g}"
    if not task.labels:
        return "no labels"
    counts = Counter(labels.to_pylist())
    return listed(tuple(f"{name} {counts[i]:,}" for i, name in enumerate(task.labels)))
