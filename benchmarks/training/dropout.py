"""Dropout masks that cost little on a CPU, from a stream of their own.

On a CPU, `torch.nn.functional.dropout` draws one Bernoulli variate per element from a serial generator: 5.3 ms for the
0.86 M elements of one MiniLM layer's output on RTE, a fifth of a whole step once padding is gone. Sixteen random bits
and a comparison take 0.8 ms (SFC64 fills the bits at 9 GB/s). The rate is then a multiple of 2^-16, so 0.1 is 0.100006.
On a GPU torch's own dropout is fused and stays.

Every optimizer step restarts the stream from the run's seed (`benchmarks.training.randomness`), so the stream has no
state to save.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

# The integer type of each float type's width.
_BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
_LEVELS = 2**16


class MaskStream:
    """The dropout masks of one optimizer step, in the order of their use."""

    def __init__(self) -> None:
        self.restart(0)

    def restart(self, seed: int) -> None:
        """Begin the stream of `seed` (any non-negative integer)."""
        self._bits = np.random.SFC64(seed)

    def mask(self, shape: torch.Size | tuple[int, ...], rate: float, dtype: torch.dtype) -> torch.Tensor:
        """0 with probability `rate` (to 2^-16), else 1 / (1 - rate); `dtype` is bfloat16, float32 or float64.

        A 64-bit draw gives four 16-bit words. Read as signed, a word is uniform over -2^15 .. 2^15 - 1, so it is at
        least rate * 2^16 - 2^15 with probability 1 - rate. The comparison writes 0 or 1 over the word. That times the
        bits of the float 1 / (1 - rate), taken as an integer of the same width, is the bits of 0.0 or of that float, so
        the mask needs no floating-point arithmetic.
        """
        count = math.prod(shape)
        words = self._bits.random_raw(-(-count // 4)).view(np.int16)[:count]
        kept = torch.from_numpy(words).ge_(round(rate * _LEVELS) - _LEVELS // 2)  # 0 or 1, in place
        scale = int(torch.tensor(1.0 / (1.0 - rate), dtype=dtype).view(_BITS[dtype]))
        return kept.to(_BITS[dtype]).mul_(scale).view(dtype).view(shape)

    def drop(self, values: torch.Tensor, rate: float) -> torch.Tensor:
        """`values` with a share `rate` set to 0 and the rest scaled up; on a CPU this stream gives the mask."""
        if not 0.0 < rate < 1.0 or values.device.type != "cpu" or values.dtype not in _BITS:
            return F.dropout(values, rate)
        return values * self.mask(values.shape, rate, values.dtype)


class StreamedDropout(nn.Module):
    """Replaces an `nn.Dropout` of rate `p` while a model trains."""

    def __init__(self, p: float, stream: MaskStream) -> None:
        super().__init__()
        self.p = p
        self.stream = stream

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.stream.drop(values, self.p) if self.training and self.p else values


@contextmanager
def streamed(model: nn.Module, stream: MaskStream) -> Iterator[None]:
    """While open, every `nn.Dropout` of `model` draws from `stream`; afterwards the model is as before."""
    found = [(owner, name, child) for owner in model.modules() for name, child in owner.named_children()
             if type(child) is nn.Dropout]  # fmt: skip
    for owner, name, child in found:
        setattr(owner, name, StreamedDropout(child.p, stream).train(child.training))
    try:
        yield
    finally:
        for owner, name, child in found:
            setattr(owner, name, child.train(getattr(owner, name).training))
