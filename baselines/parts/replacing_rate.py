"""The section of a suite that describes a replacing rate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from theseus import AntiLinearRate, ConstantRate, LinearRate, Rate


class RateOptions(BaseModel):
    """The replacing rate p(t), for example `{kind = "linear", base = 0.3, reach = 0.5}`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    kind: Literal["linear", "constant", "anti-linear"] = "linear"
    """Linear (the paper's curriculum) and anti-linear take `base` and one of `k` and `reach`; constant takes `p`, and
    may take `reach`."""
    base: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    """p at the first step; an anti-linear rate starts at 1 - `base`."""
    k: Annotated[float, Field(gt=0.0)] | None = None
    """Change of p per optimizer step (paper section 3.3); an anti-linear rate falls by it."""
    p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """The constant rate."""
    reach: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Where p becomes 1 (anti-linear: 0): a whole number is a step (the paper's way: 1000, 5000, ...), a number below 1
    is a share of the planned steps. A constant rate without it stays at `p` to the end (paper table 5)."""

    @model_validator(mode="after")
    def _complete(self) -> RateOptions:
        if self.kind == "constant":
            if self.p is None or self.base is not None or self.k is not None:
                raise ValueError("a constant rate takes p and reach (the step from which p is 1), neither base nor k")
        elif self.base is None or (self.k is None) == (self.reach is None) or self.p is not None:
            raise ValueError(f"a {self.kind} rate takes base and one of k and reach, not p")
        elif self.base == 1.0 and self.reach is not None:
            raise ValueError("a rate that starts at base = 1 has no ramp to reach: give k, or a base below 1")
        return self

    def rate(self, steps: int) -> Rate:
        """The rate for a run of `steps` optimizer steps."""
        reach = self.reach
        if isinstance(reach, float):
            reach = max(1, round(reach * steps))
        if self.kind == "constant":
            assert self.p is not None
            return ConstantRate(p=self.p, steps=steps if reach is None else reach)
        assert self.base is not None
        linear = LinearRate(self.base, self.k) if self.k is not None else LinearRate.reaching(self.base, reach or 1)
        return linear if self.kind == "linear" else AntiLinearRate(linear.base, linear.k)
