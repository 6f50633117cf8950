"""Fine-tuning of the shallow model: the bottom k layers of the *pretrained* encoder under a fresh head.

The paper's weakest baseline ("Fine-tuning", Table 2). Its authors tried the top and interleaved layers too and
found the bottom ones best (footnote 4).
"""

from __future__ import annotations

from torch import nn

from baselines.method import Given, Method
from theseus import keep_layers


def bottom_layers(given: Given) -> nn.Module:
    """The first `given.layers` layers of the pretrained encoder, with its embeddings and the seed's fresh head."""
    model: nn.Module = keep_layers(given.pretrained(), range(given.layers))
    return model


class Finetune(Method):
    """Plain task loss; everything trains."""

    def build(self, given: Given) -> nn.Module:
        return bottom_layers(given)


METHOD = Finetune
