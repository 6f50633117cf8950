"""LayerDrop (Fan et al. 2020, arXiv 1909.11556): whole layers dropped at random in training, then every other one kept.

The paper runs it "on BERT weights to prune the model on downstream tasks" (section 4.2) and states no rate. Here the
whole pretrained encoder is fine-tuned, and each layer is left out of a step with probability `rate`. The pruned model
is evaluated and kept without further training.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from baselines.method import Given, Method
from theseus import choose_layers, find_blocks, keep_layers


class DroppedLayer(nn.Module):
    """A layer that is left out of a training step when `dropped`, and of evaluation unless `kept`."""

    def __init__(self, layer: nn.Module, kept: bool) -> None:
        super().__init__()
        self.layer = layer
        self.kept = kept
        self.dropped = False

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """The model calls this as it calls a layer; `hidden_states` is (batch, length, hidden)."""
        if self.dropped if self.training else not self.kept:
            return hidden_states
        return self.layer(hidden_states, *args, **kwargs)


class DroppingModel(nn.Module):
    """The whole encoder with droppable layers, and the generator that draws them."""

    def __init__(self, model: Any, layers: int, rate: float, seed: int) -> None:
        super().__init__()
        self.model = model
        self.rate = rate
        self.generator = torch.Generator(device="cpu").manual_seed(seed)
        self.stack = find_blocks(model)
        self.blocks = list(self.stack.layers)
        self.kept = choose_layers("interleaved", len(self.blocks), layers)
        self.dropping = [DroppedLayer(block, kept=i in self.kept) for i, block in enumerate(self.blocks)]
        self.stack.replace(nn.ModuleList(self.dropping))
        self.draw()

    def forward(self, **inputs: Any) -> Any:
        return self.model(**inputs)

    def draw(self) -> None:
        """Draw the layers that are left out of the next step, each independently."""
        draws = torch.rand(len(self.dropping), generator=self.generator, dtype=torch.float64, device="cpu")
        for layer, dropped in zip(self.dropping, (draws < self.rate).tolist(), strict=True):
            layer.dropped = dropped

    def pruned(self) -> Any:
        """A plain model of the kept layers."""
        gated = self.stack.layers
        self.stack.replace(nn.ModuleList(self.blocks))
        try:
            return keep_layers(self.model, self.kept)
        finally:
            self.stack.replace(gated)


class LayerDrop(Method):
    """The whole encoder is fine-tuned with layers dropped at random; then every other layer is kept."""

    rate: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Probability that a layer is left out of an optimizer step. Fan et al. derive 1 - k/n as the best for keeping k of
    n layers (their section 5.2), 0.5 for half; they train with 0.2 where the depth is not fixed."""

    def trained_layers(self, encoder: int, layers: int) -> int:
        return encoder

    def build(self, given: Given) -> nn.Module:
        return DroppingModel(given.pretrained(), given.layers, self.rate, given.gates_seed)

    def stack(self, model: nn.Module) -> nn.ModuleList:
        assert isinstance(model, DroppingModel)
        return model.stack.layers

    def after_step(self, model: nn.Module) -> None:
        assert isinstance(model, DroppingModel)
        model.draw()

    def state(self, model: nn.Module) -> dict[str, torch.Tensor]:
        assert isinstance(model, DroppingModel)
        dropped = torch.tensor([layer.dropped for layer in model.dropping])
        return {"generator": model.generator.get_state(), "dropped": dropped}

    def restore(self, model: nn.Module, state: dict[str, torch.Tensor]) -> None:
        assert isinstance(model, DroppingModel)
        model.generator.set_state(state["generator"])
        for layer, dropped in zip(model.dropping, state["dropped"].tolist(), strict=True):
            layer.dropped = dropped

    def successor(self, model: nn.Module) -> Any:
        assert isinstance(model, DroppingModel)
        return model.pruned()

    def work(self, encoder: int, layers: int, steps: int) -> float:
        return 3.0 * encoder * (1.0 - self.rate)


METHOD = LayerDrop
