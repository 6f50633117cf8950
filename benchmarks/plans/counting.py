"""Count the parameters that a method would train, on models of the encoders' shapes."""

from __future__ import annotations

from typing import Any

import torch

from baselines.method import Given, Method
from benchmarks.models.source import EncoderSource
from theseus import find_blocks, parameters_by_part


def counts(
    method: Method, encoder: EncoderSource, suite_encoder: EncoderSource, outputs: int, modules: int
) -> list[int]:
    """The parameters that the optimizer would hold, those that the method declares, and the head's share of both. The
    models are made on the meta device, which allocates nothing."""
    from transformers import (
        AutoModelForSequenceClassification,  # seconds that a plan with kept counts need not wait for
    )

    configs = [_config(source, outputs) for source in (encoder, suite_encoder)]
    with torch.device("meta"):
        own, deep = (AutoModelForSequenceClassification.from_config(config) for config in configs)
        model = method.build(Given(lambda: deep, lambda: own, modules, 0, 1000))
        held = {id(parameter): parameter.numel() for parameter in method.parameters(model)}
        sizes = {part: sum(p.numel() for p in found) for part, found in parameters_by_part(own).items()}
    depth = len(find_blocks(own).layers)
    layers = method.trained_layers(len(find_blocks(deep).layers), encoder.layers if method.own_encoder else modules)
    expected = sizes["layers"] // depth * layers + sum(sizes[part] for part in method.trains if part != "layers")
    head = sizes["head"] if "head" in method.trains else 0
    return [sum(held.values()), expected, head]


def _config(source: EncoderSource, outputs: int) -> Any:
    from transformers import AutoConfig

    if source.shape:  # random, or on the hub with its shape in the suite
        return AutoConfig.for_model("bert", **dict(source.shape), num_labels=outputs)
    return AutoConfig.from_pretrained(source.location, trust_remote_code=False, num_labels=outputs)
