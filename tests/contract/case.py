"""A model to check and how it is compressed, and what every check compares with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from theseus import ConstantRate, Theseus, find_blocks
from theseus.models.probing import small_input, tensors

NEVER, ALWAYS, HALF = ConstantRate(0.0, 10**9), ConstantRate(1.0, 0), ConstantRate(0.5, 10**9)
Verdict = str | None


@dataclass
class Case:
    """A model and how it is compressed: to `layers` modules, with these further arguments."""

    model: Any
    given: dict[str, Any]
    layers: int = 2

    def theseus(self, rate: ConstantRate = NEVER, **switches: Any) -> Theseus:
        return Theseus(self.model, layers=self.layers, rate=rate, **{**self.given, **switches})

    @property
    def depth(self) -> int:
        return len(find_blocks(self.model, self.given.get("stack")).layers)

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """Two examples, the second with padding where the model takes a mask and sentences."""
        one = small_input(self.model)
        two = {
            name: torch.cat([value, value.flip(-1) if value.is_floating_point() else value])
            for name, value in one.items()
        }
        if "input_ids" in two and "attention_mask" in two and two["input_ids"].ndim == 2 and not self.causal:
            two["attention_mask"][1, -2:] = 0
        return two

    @property
    def causal(self) -> bool:
        return type(self.model).__name__.endswith(("CausalLM", "LMHeadModel")) or getattr(
            self.model.config, "is_encoder_decoder", False
        )


def run(model: Any, inputs: dict[str, torch.Tensor], **more: Any) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return tensors(model(**inputs, **more))


def differ(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], tolerance: float = 1e-5) -> Verdict:
    if first.keys() != second.keys() or not first:
        return f"outputs {sorted(first)} and {sorted(second)}"
    for name in first:
        scale = float(first[name].float().abs().max().clamp(min=1.0))
        difference = float((first[name].float() - second[name].float()).abs().max())
        if not difference <= tolerance * scale:
            return f"{name} differs by {difference:.3g}"
    return None


def first_of(*verdicts: Verdict) -> Verdict:
    return next((verdict for verdict in verdicts if verdict is not None), None)
