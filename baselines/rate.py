"""A replacing rate as a suite writes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from theseus import AntiLinearRate, ConstantRate, LinearRate, Rate


class RateOptions(BaseModel):
    """For example `{kind = "linear", base = 0.3, reach = 0.5}`.

    linear and anti-linear take `k` (per step, paper section 3.3), or `reach`: where p would be 1, as a step (an
    integer, the paper's own way: 1000, 5000, ...) or as a share of the planned steps (below 1). constant takes
    `p`, and `reach` for the step from which p is 1; without it p stays as it is to the end (paper table 5).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["linear", "constant", "anti-linear"] = "linear"
    base: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    k: Annotated[float, Field(gt=0.0)] | None = None
    p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    reach: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0.0, lt=1.0)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> RateOptions:
        if self.kind == "constant":
            if self.p is None or self.base is not None or self.k is not None:
                raise ValueError("a constant rate takes p and reach (from where p is 1), neither base nor k")
        elif self.base is None or (self.k is None) == (self.reach is None) or self.p is not None:
            raise ValueError(f"a {self.kind} rate takes base and one of k and reach, not p")
        elif self.base == 1.0 and self.reach is not None:
            raise ValueError("a rate that starts at base = 1 has no ramp to reach: give k, or a base below 1")
        return self

    def rate(self, steps: int) -> Rate:
        """The rate for a run of that many optimizer steps."""
        reach = self.reach
        if isinstance(reach, float):
            reach = max(1, round(reach * steps))
        if self.kind == "constant":
            assert self.p is not None
            return ConstantRate(p=self.p, steps=steps if reach is None else reach)
        assert self.base is not None
        linear = LinearRate(self.base, self.k) if self.k is not None else LinearRate.reaching(self.base, reach or 1)
        return linear if self.kind == "linear" else AntiLinearRate(linear.base, linear.k)
