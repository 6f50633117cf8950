"""BERT-of-Theseus as a `Method`, like its rivals; the method itself is in the `theseus` library.

The options are the points on which the paper, its released code and its README differ or are silent
(docs/fidelity.md); `benchmarks/suites/presets.toml` has the three readings as named sets of options.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from baselines.method import Given, Method, Parts, Stage
from baselines.parts.replacing_rate import RateOptions
from theseus import unreached_warning
from theseus.replacing import Theseus


class Init(BaseModel):
    """What the successor layers start as."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: Literal["predecessor", "pretrained"] = "predecessor"
    """The fine-tuned predecessor (the released code) or the pretrained encoder (the paper, section 4.2)."""
    layers: Literal["bottom", "top", "interleaved"] = "bottom"
    """Which of its layers are copied (paper footnote 4)."""


class SuccessorPhase(BaseModel):
    """Successor fine-tuning as a stage of its own, from the step where p is 1: it has a new optimizer, and a new
    learning-rate schedule over the steps that remain."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    trainable: Parts = frozenset({"layers"})
    """Parts that train in this stage: `"layers"`, `"embeddings"`, `"head"`."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the stage. Default: the run's."""


class GatedModel(nn.Module):
    """Wraps the `Theseus` object in a module, because the runner handles modules."""

    def __init__(self, theseus: Theseus) -> None:
        super().__init__()
        self.theseus = theseus
        self.gated = theseus.model

    def forward(self, **inputs: Any) -> Any:
        return self.gated(**inputs)


class TheseusMethod(Method):
    """Modules of the predecessor are replaced at random by successor layers, under the task loss alone (paper sections
    3.1 to 3.3)."""

    rate: RateOptions = RateOptions(kind="linear", base=0.3, reach=0.5)
    """The replacing rate p(t)."""
    init: Init = Init()
    """What the successor layers start as."""
    trainable: Parts = frozenset({"layers"})
    """Parts that train: `"layers"`, which is required, `"embeddings"`, `"head"`."""
    clip: Literal["trainable", "all"] = "trainable"
    """Clipping takes the gradient norm over what trains, or over all weights, frozen ones too (the released code)."""
    undrawn: Literal["skipped", "momentum"] = "skipped"
    """A module that was not drawn is skipped by the optimizer, or still moved by Adam's momentum (the released code
    with the torch of its time)."""
    draw: Literal["step", "forward"] = "step"
    """Modules are drawn once per optimizer step, or at every forward pass (the released code)."""
    mix: Literal["draw", "blend"] = "draw"
    """`"blend"` runs both versions of every module and mixes their outputs, p being the successor's share."""
    replace: list[Annotated[int, Field(ge=1)]] | None = None
    """The modules that can be replaced, counted from 1 as the paper does. Default: all."""
    successor_phase: SuccessorPhase | None = None
    """Successor fine-tuning as a stage of its own. Default: one stage for the whole run."""

    @model_validator(mode="after")
    def _stands(self) -> TheseusMethod:
        if "layers" not in self.trainable:
            raise ValueError("trainable must hold layers: they are the successor")
        if self.mix == "blend" and self.undrawn == "momentum":
            raise ValueError("a blend draws no modules, so undrawn has no effect: leave it at skipped")
        return self

    @property
    def uses_predecessor(self) -> bool:
        return True

    @property
    def trains(self) -> Parts:
        return self.trainable

    def trained_layers(self, encoder: int, layers: int) -> int:
        return len(set(self.replace or range(layers)))

    def check(self, encoder: int, layers: int) -> None:
        super().check(encoder, layers)
        if encoder % layers:
            raise ValueError(f"successor_layers = {layers} does not divide the encoder's {encoder} layers")
        if self.replace is not None and (not self.replace or max(self.replace) > layers):
            raise ValueError(f"replace = {self.replace}: the modules are 1 to {layers}")

    def depth(self, encoder: int, layers: int) -> int:
        return encoder - (encoder // layers - 1) * len(set(self.replace or range(layers)))

    def build(self, given: Given) -> nn.Module:
        theseus = Theseus(
            given.predecessor(), layers=given.layers, rate=self.rate.rate(given.steps), seed=given.gates_seed,
            init=self.init.layers,
            init_from=given.pretrained() if self.init.source == "pretrained" else None,
            trainable=self.trainable,
            replace=None if self.replace is None else [number - 1 for number in self.replace],
            mix=self.mix, draw=self.draw, frozen_gradients=self.clip == "all",
        )  # fmt: skip
        return GatedModel(theseus)

    def stack(self, model: nn.Module) -> nn.ModuleList:
        return self._theseus(model).stack

    def parameters(self, model: nn.Module) -> list[nn.Parameter]:
        return self._theseus(model).trainable_parameters()

    def clipped(self, model: nn.Module) -> list[nn.Parameter]:
        return list(model.parameters()) if self.clip == "all" else self.parameters(model)

    @property
    def keeps_gradients(self) -> bool:
        return self.undrawn == "momentum"

    def stages(self, steps: int) -> list[Stage]:
        full = self.rate.rate(steps).full_from()
        if self.successor_phase is None or full is None or not 0 < full < steps:
            return [Stage()]
        return [Stage(), Stage(full, self.successor_phase.learning_rate)]

    def begin_stage(self, model: nn.Module, index: int) -> None:
        if index == 1:
            assert self.successor_phase is not None
            self._theseus(model).train_parts(self.successor_phase.trainable)

    def after_step(self, model: nn.Module) -> None:
        self._theseus(model).step()

    def state(self, model: nn.Module) -> dict[str, torch.Tensor]:
        return self._theseus(model).state_dict()

    def restore(self, model: nn.Module, state: dict[str, torch.Tensor]) -> None:
        self._theseus(model).load_state_dict(state)

    def replacing_rate(self, model: nn.Module) -> float | None:
        return self._theseus(model).rate

    def successor(self, model: nn.Module) -> Any:
        return self._theseus(model).successor()

    def warning(self, steps: int) -> str | None:
        return unreached_warning(self.rate.rate(steps), steps)

    def work(self, encoder: int, layers: int, steps: int) -> float:
        """The expected cost of a step, averaged over the steps.

        A module runs its successor layer with probability `new`, its `size` predecessor layers with probability `old`
        (a blend runs both). A successor layer costs 2: its forward pass and the gradients of its weights. A predecessor
        layer costs 1, its forward pass, and `weights` for gradients of frozen weights. Either costs 1 more, for the
        gradient of its input, if something below trains; `below` is the probability of that. Modules are drawn
        independently, so after a module nothing trains up to there with probability (1 - below) * (1 - new).
        """
        rate, size = self.rate.rate(steps), encoder // layers
        everything = self.clip == "all" or "embeddings" in self.trainable
        weights = 1.0 if self.clip == "all" else 0.0  # gradients of frozen weights, which only clipping reads
        replaced = set(self.replace or range(1, layers + 1))

        def of_step(p: float) -> float:
            total, below = 0.0, 1.0 if everything else 0.0
            for module in range(1, layers + 1):
                own = p if module in replaced else 0.0
                old = 1.0 - own if self.mix == "draw" else 1.0
                new = own if self.mix == "draw" else float(module in replaced)
                total += new * (2.0 + below) + old * size * (1.0 + weights + below)
                below = 1.0 - (1.0 - below) * (1.0 - new)
            return total

        counted = Counter(rate(step) for step in range(steps))
        return sum(of_step(p) * times for p, times in counted.items()) / max(1, steps)

    @staticmethod
    def _theseus(model: nn.Module) -> Theseus:
        assert isinstance(model, GatedModel)
        return model.theseus


METHOD = TheseusMethod
