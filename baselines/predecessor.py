"""The predecessor: the whole pretrained encoder, fine-tuned on the task. A run of its own that others take as input."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from baselines.method import Given, Method


class Predecessor(Method):
    """Fine-tuning of all layers and the head."""

    full_depth: ClassVar[bool] = True

    def build(self, given: Given) -> nn.Module:
        model: nn.Module = given.pretrained()
        return model


METHOD = Predecessor
