"""BERT-of-Theseus behind the interface its rivals answer; the method itself is the `theseus` library."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from baselines.method import Given, Method
from theseus import AntiLinearRate, ConstantRate, LinearRate, Rate, Theseus, unreached_warning


class RateOptions(BaseModel):
    """A replacing rate as a suite writes it: `{kind = "linear", base = 0.3, reach = 0.5}`.

    linear and anti-linear take `k` (per step, paper section 3.3), or `reach`: where p would be 1, as a step (an
    integer, the paper's own way: 1000, 5000, ...) or as a share of the planned steps (below 1). constant takes
    `p`, and `reach` for the step from which p is 1.
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
            if self.p is None or self.reach is None or self.base is not None or self.k is not None:
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
            assert reach is not None
            return ConstantRate(p=self.p, steps=reach)
        assert self.base is not None
        linear = LinearRate(self.base, self.k) if self.k is not None else LinearRate.reaching(self.base, reach or 1)
        return linear if self.kind == "linear" else AntiLinearRate(linear.base, linear.k)


class GatedModel(nn.Module):
    """Carries the `Theseus` object through the runner, which knows modules only."""

    def __init__(self, theseus: Theseus) -> None:
        super().__init__()
        self.theseus = theseus
        self.gated = theseus.model

    def forward(self, **inputs: Any) -> Any:
        return self.gated(**inputs)


class TheseusMethod(Method):
    """Task loss only; successor layers only; modules drawn once per optimizer step (paper sections 3.1 to 3.3)."""

    uses_predecessor: ClassVar[bool] = True

    rate: RateOptions = RateOptions(kind="linear", base=0.3, reach=0.5)

    def build(self, given: Given) -> nn.Module:
        rate = self.rate.rate(given.steps)
        return GatedModel(Theseus(given.predecessor(), layers=given.layers, rate=rate, seed=given.gates_seed))

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        return self._theseus(model).trainable_parameters()

    def after_step(self, model: nn.Module) -> None:
        self._theseus(model).step()

    def replacing_rate(self, model: nn.Module) -> float | None:
        return self._theseus(model).rate

    def successor(self, model: nn.Module) -> Any:
        return self._theseus(model).successor()

    def warning(self, steps: int) -> str | None:
        return unreached_warning(self.rate.rate(steps), steps)

    @staticmethod
    def _theseus(model: nn.Module) -> Theseus:
        assert isinstance(model, GatedModel)
        return model.theseus


METHOD = TheseusMethod
