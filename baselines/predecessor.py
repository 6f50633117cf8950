"""The predecessor: the whole pretrained encoder, fine-tuned on the task. Other runs take this run as input."""

from __future__ import annotations

from torch import nn

from baselines.method import Given, Method


class Predecessor(Method):
    """Fine-tuning of all layers and the head. `[predecessor]` describes it; it cannot be an arm."""

    def depth(self, encoder: int, layers: int) -> int:
        return encoder

    def trained_layers(self, encoder: int, layers: int) -> int:
        return encoder

    def build(self, given: Given) -> nn.Module:
        model: nn.Module = given.pretrained()
        return model


METHOD = Predecessor
