"""The smallest difference that matters in practice, in points of the 0 to 100 scale.

One point on a task of 10,000 training examples or more and on the macro score; two on a smaller task, whose seeds alone
differ by as much. It is this suite's convention (a region of practical equivalence, ROPE) and not the paper's.
"""

from __future__ import annotations

from reports.statistics.cells import MACRO
from results.format.records import Suite

LARGE, LARGE_MARGIN, SMALL_MARGIN = 10_000, 1.0, 2.0  # training examples; points


def practical_margin(suite: Suite, task: str) -> float:
    """The margin of a task, or of the macro score."""
    if task == MACRO:
        return LARGE_MARGIN
    examples = next(found.train_examples for found in suite.tasks if found.name == task)
    return LARGE_MARGIN if (examples or 0) >= LARGE else SMALL_MARGIN
