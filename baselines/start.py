"""What a shallow model starts as, and which of its parts train: shared by fine-tuning and the distilled baselines.

The paper's baselines take the bottom k layers of the *pretrained* encoder under a fresh head and train all of it.
Theseus starts from the *fine-tuned* predecessor's layers and keeps that one's embeddings and head, frozen. These
options give either start to every baseline, so that the two differences can be told apart.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator
from torch import nn

from baselines.method import Given, Method, Parts
from theseus import choose_layers, find_blocks, keep_layers, parameters_by_part


class Start(BaseModel):
    """`source`: the pretrained encoder, or the fine-tuned predecessor with its head. `layers`: which of its layers
    (paper footnote 4). `frozen`: parts that do not train."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Literal["pretrained", "predecessor"] = "pretrained"
    layers: Literal["bottom", "top", "interleaved"] = "bottom"
    frozen: Parts = frozenset()

    @model_validator(mode="after")
    def _stands(self) -> Start:
        if "layers" in self.frozen:
            raise ValueError("frozen takes embeddings and head: with frozen layers nothing is learned")
        if "head" in self.frozen and self.source == "pretrained":
            raise ValueError("the head of a pretrained start is untrained: it cannot be frozen")
        return self


class Shallow(Method):
    """A method that trains a shallow model alone."""

    start: Start = Start()

    @property
    def uses_predecessor(self) -> bool:
        return self.start.source == "predecessor"

    @property
    def trains(self) -> Parts:
        return super().trains - self.start.frozen

    def build(self, given: Given) -> nn.Module:
        whole: nn.Module = given.predecessor() if self.start.source == "predecessor" else given.pretrained()
        depth = len(find_blocks(whole).layers)
        model = keep_layers(whole, choose_layers(self.start.layers, depth, given.layers))
        for part, parameters in parameters_by_part(model).items():
            for parameter in parameters:
                parameter.requires_grad_(part in self.trains)
        return model
