"""The `[training]` section of a suite."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchmarks.base.config import Config


class Training(Config):
    """The optimizer loop (AdamW), the same for all arms unless a section overrides it."""

    epochs: Annotated[float, Field(gt=0)] = 3.0
    """Passes over the training set; a fraction is allowed."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """An upper limit on optimizer steps."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Examples of one optimizer step."""
    length_groups: Annotated[int, Field(ge=1)] = 8
    """A batch is cut by length into at most so many groups, which saves padding. Its members and, to rounding, its
    gradient stay the same."""
    micro_batches: Annotated[int, Field(ge=1)] = 1
    """A batch is computed in so many parts, which saves memory. Its members and, to rounding, its gradient stay the
    same."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    """The peak learning rate."""
    schedule: Literal["linear", "constant"] = "linear"
    """After warm-up: linear decay to 0 over the planned steps, or constant."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Linear warm-up, as a share of the planned steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decoupled weight decay."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """The largest gradient norm; a larger gradient is scaled down to it."""
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """AdamW's epsilon."""
    evaluate_every: Annotated[int, Field(ge=1)] | Literal["epoch"] = "epoch"
    """Optimizer steps between evaluations on dev, or `"epoch"`."""
