"""Named random streams of a run: data, head, dropout, gates.

Each draw has an address, (seed, stream, position), instead of coming from one generator that moves on. Two methods with
one seed therefore see the same examples in the same order and the same dropout seed at every step, whatever else they
draw, and a resumed run needs no generator state. (In the released code gates and shuffling share one generator.)
"""

from __future__ import annotations

import hashlib
from typing import Literal

import torch

Stream = Literal["data", "head", "dropout", "gates"]


def stream_seed(seed: int, stream: Stream, position: int = 0) -> int:
    """A 63-bit seed for one position (epoch, step, ...) of a run's stream."""
    digest = hashlib.sha256(f"{seed}/{stream}/{position}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def epoch_order(seed: int, epoch: int, examples: int) -> torch.Tensor:
    """The order of the examples in an epoch (0 for the first): a permutation, (examples,) int64."""
    generator = torch.Generator().manual_seed(stream_seed(seed, "data", epoch))
    return torch.randperm(examples, generator=generator)
