"""What was found in a user's own data, beside the rows: written when the data is converted, read by every plan."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.tasks.table import Score

SHOWN = 12  # classes named in a line


@dataclass(frozen=True)
class Facts:
    """`labels` are the classes in id order, `scale` the lowest and highest score of a regression. `rows`: by split.
    `held_out`: dev is a part of the training data. `warnings`: what a user should know before training."""

    kind: str
    score: Score
    labels: tuple[str, ...]
    scale: tuple[float, float] | None
    rows: dict[str, int] = field(hash=False)
    held_out: bool
    warnings: tuple[str, ...]

    def line(self) -> str:
        """The facts in words."""
        train, dev = (f"{count:,}" for count in self.rows.values())
        rows = f"{train} rows to train and {dev} {'of the same file held out as' if self.held_out else 'of'} dev"
        if self.scale:
            return f"{self.kind}, {rows}, scores from {self.scale[0]:g} to {self.scale[1]:g}, scored by {self.score}"
        if not self.labels:
            return f"{self.kind}, {rows}, scored by {self.score}"
        return f"{self.kind}, {rows}, {len(self.labels)} labels ({listed(self.labels)}), scored by {self.score}"


def listed(names: tuple[str, ...]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
