"""Replacing rates p(t): the probability that a module is replaced at optimizer step t.

Rates are pure functions of the step (0 for the first), so a resumed run needs no scheduler state. Paper section 3.2
has the constant rate with a later successor phase (`steps_for_replacing` in the released code), section 3.3 the
curriculum p = min(1, k*t + b), and section 5.3 the curriculum's reverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from theseus.errors import TheseusError

# 0.3 + 1000 * 0.0007 is 0.9999999999999999 in doubles. Without this tolerance the paper's 1000-step ramp would reach 1
# one step late, and a module could still be left undrawn with probability 1e-16.
SNAP = 1e-9


@runtime_checkable
class Rate(Protocol):
    """A call gives p(t) for a step t >= 0; `full_from` gives the first step from which p stays 1 (None: never)."""

    def __call__(self, step: int) -> float: ...

    def full_from(self) -> int | None: ...


def _probability(name: str, value: float) -> None:
    if not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise TheseusError(f"{name} must be a probability between 0 and 1, not {value!r}")


def _check_step(step: int) -> None:
    if step < 0:
        raise TheseusError(f"step must be 0 or more, not {step!r}")


@dataclass(frozen=True)
class ConstantRate:
    """p for the first `steps` optimizer steps, then 1 (the successor phase).

    Raises `TheseusError` for p outside [0, 1] or negative `steps`.
    """

    p: float
    steps: int

    def __post_init__(self) -> None:
        _probability("p", self.p)
        if self.steps < 0:
            raise TheseusError(f"steps must be 0 or more, not {self.steps!r}")

    def __call__(self, step: int) -> float:
        _check_step(step)
        return self.p if step < self.steps else 1.0

    def full_from(self) -> int | None:
        return 0 if self.p == 1.0 else self.steps


@dataclass(frozen=True)
class LinearRate:
    """The paper's curriculum, p(t) = min(1, base + k*t) (section 3.3).

    Raises `TheseusError` for a base outside [0, 1] or k <= 0.
    """

    base: float
    k: float

    def __post_init__(self) -> None:
        _probability("base", self.base)
        if not (math.isfinite(self.k) and self.k > 0):
            raise TheseusError(f"k must be above 0 (the paper's curriculum rises), not {self.k!r}")

    @classmethod
    def reaching(cls, base: float, steps: int) -> LinearRate:
        """The curriculum that starts at `base` < 1 and is 1 from `steps` on, as the paper states its grid."""
        _probability("base", base)
        if steps < 1 or base == 1.0:
            raise TheseusError(f"a ramp needs base < 1 and at least 1 step, not base={base!r}, steps={steps!r}")
        return cls(base=base, k=(1.0 - base) / steps)

    def __call__(self, step: int) -> float:
        _check_step(step)
        value = self.base + self.k * step
        return 1.0 if value >= 1.0 - SNAP else value

    def full_from(self) -> int | None:
        first = max(0, math.ceil((1.0 - SNAP - self.base) / self.k))
        while self(first) < 1.0:  # the division may round down
            first += 1
        return first


@dataclass(frozen=True)
class AntiLinearRate:
    """The anti-curriculum of section 5.3: 1 - LinearRate(base, k). It ends at 0, so it has no successor phase."""

    base: float
    k: float

    def __post_init__(self) -> None:
        LinearRate(self.base, self.k)

    def __call__(self, step: int) -> float:
        return 1.0 - LinearRate(self.base, self.k)(step)

    def full_from(self) -> int | None:
        return None


def unreached_warning(rate: Rate, steps: int) -> str | None:
    """One line if p is not 1 during any of the planned `steps` (0 to steps - 1), else None.

    The README command of the released code is such a case: p = 0.5 for 2,500 steps of a 1,725-step run.
    """
    first = rate.full_from()
    if first is None:
        return f"{rate} never reaches 1: the successor is never trained alone (no successor phase)"
    if first >= steps:
        return f"{rate} reaches 1 at step {first:,}, but only {steps:,} steps are planned: no successor phase"
    return None
