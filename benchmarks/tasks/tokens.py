"""A tokenised split, kept flat: the token ids of all examples lie end to end, and `offsets` says where each begins.

So a split holds no padding, and one indexing takes any examples out of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray

from baselines.method import Objective, Output
from benchmarks.tasks import kinds

IGNORED = -100  # the label of a token that is not scored; torch's own default


@dataclass(frozen=True)
class Tokens:
    """One tokenised split; example i has the tokens `ids[offsets[i]:offsets[i + 1]]`.

    `ids` (tokens,) int32, `types` (tokens,) uint8, `offsets` (examples + 1,), `idx` (examples,). `labels`: of each
    example (examples, ...), or of each token (tokens,) if the kind of task labels tokens. `kind`: its name. Of a kind
    that needs them: `spans` (tokens, 2) int32, the characters of a text that a token stands for, from the first to
    after the last, -1 elsewhere; `rows`, the split's `datasets.Dataset`, whose rows `idx` names; `words` (examples,),
    those of each example's text.
    """

    ids: torch.Tensor
    types: torch.Tensor | None
    offsets: torch.Tensor
    labels: torch.Tensor
    idx: torch.Tensor
    pad_id: int
    kind: str = kinds.CLASSIFICATION
    spans: torch.Tensor | None = None
    rows: Any = None
    words: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> torch.Tensor:
        return self.offsets.diff()

    @property
    def objective(self) -> Objective:
        """The kind of task, as a method sees it."""
        return kinds.find(self.kind)

    def places(self, rows: torch.Tensor) -> torch.Tensor:
        """The indices into `ids` of the tokens of `rows` (n,), example after example (tokens of these rows,)."""
        lengths = self.lengths[rows]
        # An example's first token has index offset in `ids` and position p in the result; both count up in step inside
        # the example, so that index = position + (offset - p) for each of its tokens.
        starts = self.offsets[rows] - (lengths.cumsum(0) - lengths)
        return torch.repeat_interleave(starts, lengths) + torch.arange(int(lengths.sum()))

    def rows_of(self, output: Output, rows: torch.Tensor) -> torch.Tensor:
        """Where the values of the examples `rows` (n,) lie in a predecessor's output of the whole split."""
        return self.places(rows) if self.by_token(output) else rows

    def by_token(self, output: Output) -> bool:
        """Whether an output has a row for each token instead of one for each example."""
        return output.tokens == "all" or (output.what == "logits" and self.objective.per_token)

    def scored(self, logits: NDArray[Any]) -> NDArray[Any]:
        """The rows of per-token `logits` that have a label."""
        return logits[(self.labels != IGNORED).numpy()]

    def units(self, rows: torch.Tensor) -> int:
        """How many units the loss of these `rows` (n,) is a mean over."""
        return self.objective.units(self.labels[self.places(rows) if self.objective.per_token else rows])

    def select(self, rows: torch.Tensor) -> Tokens:
        """Some of the examples, in the order of `rows` (n,)."""
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), self.lengths[rows].cumsum(0)])
        flat = self.places(rows)
        types = None if self.types is None else self.types[flat]
        labels = self.labels[flat if self.objective.per_token else rows]
        spans = None if self.spans is None else self.spans[flat]
        words = None if self.words is None else self.words[rows]
        own = replace(self, ids=self.ids[flat], types=types, offsets=offsets, labels=labels, idx=self.idx[rows])
        return replace(own, spans=spans, words=words)

    def collate(self, rows: torch.Tensor, device: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Inputs padded to the longest of `rows` (n,), and labels, on `device`."""
        # `flat` (n, longest) runs past the end of a shorter example into the next one; `mask` replaces those by padding
        lengths = self.lengths[rows]
        position = torch.arange(int(lengths.max()))
        mask = position < lengths[:, None]
        flat = self.offsets[rows][:, None] + position
        flat = flat.clamp(max=len(self.ids) - 1)
        inputs = {"input_ids": self.ids[flat].long().masked_fill(~mask, self.pad_id), "attention_mask": mask.long()}
        if self.types is not None:
            inputs["token_type_ids"] = self.types[flat].long().masked_fill(~mask, 0)
        labels = self.labels[flat].masked_fill(~mask, IGNORED) if self.objective.per_token else self.labels[rows]
        return {name: onto(tensor, device) for name, tensor in inputs.items()}, onto(labels, device)


def onto(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Copy a CPU tensor to `device`. A GPU gets it from pinned memory, because `.to` from other memory waits until the
    GPU has finished all queued work, once per tensor and step."""
    if not device.startswith("cuda"):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
