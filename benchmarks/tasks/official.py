"""How many examples of each label GLUE's splits have, to hold a user's files against.

Counted on files whose size is, to the byte, the one that the card of nyu-mll/glue publishes. Of MNLI, QNLI and QQP only
the splits below could be counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

LABELS = {
    ("cola", "train"): (2528, 6023),
    ("cola", "validation"): (322, 721),
    ("mnli", "validation_matched"): (3479, 3123, 3213),
    ("mrpc", "train"): (1194, 2474),
    ("mrpc", "validation"): (129, 279),
    ("qnli", "validation"): (2702, 2761),
    ("rte", "train"): (1249, 1241),
    ("rte", "validation"): (146, 131),
    ("sst2", "train"): (29780, 37569),
    ("sst2", "validation"): (428, 444),
    ("wnli", "train"): (323, 312),
    ("wnli", "validation"): (40, 31),
}


def other_counts(task: str, split: str, labels: Iterable[int]) -> str | None:
    """What differs from the official split, or None. Swapped labels would train, and score, without a word."""
    official = LABELS.get((task, split))
    if official is None:  # of other kinds of task too, whose labels are lists
        return None
    counts = Counter(labels)
    if all(counts[label] == count for label, count in enumerate(official)):
        return None
    found = ", ".join(f"{counts[label]:,}" for label in range(len(official)))
    return f"examples by label are {found}, in the official split {', '.join(f'{count:,}' for count in official)}"
