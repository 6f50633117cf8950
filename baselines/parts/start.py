"""The start of a shallow model and its trainable parts, for fine-tuning and the distilled baselines.

The paper's baselines take the bottom k layers of the *pretrained* encoder under a fresh head and train the whole model.
Theseus starts from the *fine-tuned* predecessor's layers and keeps its embeddings and head frozen. These options give
either start to every baseline, so that the effects of the two differences can be separated.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator
from torch import nn

from baselines.method import Given, Method, Parts
from theseus import choose_layers, find_blocks, keep_layers, parameters_by_part


class Start(BaseModel):
    """What a shallow model starts as, and which of its parts stand still."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    source: Literal["pretrained", "predecessor"] = "pretrained"
    """The pretrained encoder under a fresh head, or the fine-tuned predecessor with its head."""
    layers: Literal["bottom", "top", "interleaved"] = "bottom"
    """Which of its layers are taken (paper footnote 4)."""
    frozen: Parts = frozenset()
    """Parts that do not train: `"embeddings"`, and `"head"` where the source is the predecessor."""

    @model_validator(mode="after")
    def _stands(self) -> Start:
        if "layers" in self.frozen:
            raise ValueError("frozen takes embeddings and head: a model with frozen layers learns nothing")
        if "head" in self.frozen and self.source == "pretrained":
            raise ValueError("the head of a pretrained start is untrained: it cannot be frozen")
        return self


class Shallow(Method):
    """A method that trains a shallow model alone."""

    start: Start = Start()
    """What the shallow model starts as."""

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
