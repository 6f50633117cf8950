"""Before any training: does an arm train what it says it trains?

The paper's own comparison hides such a difference: Theseus moves 42.5 M parameters, its baselines 67 M (only
`scc_layer` is in the released code's optimizer). Here each arm's model is made on the meta device, where nothing
is allocated, and what its optimizer would hold is counted against what the method declares and what the suite
writes beside the arm.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from baselines.method import Given, Method
from benchmarks import kept
from benchmarks.encoder import EncoderSource
from benchmarks.errors import SuiteError
from benchmarks.identity import hash_of, packages
from benchmarks.tasks import Task
from theseus import find_blocks, parameters_by_part


def check_trainable(
    method: Method, encoder: EncoderSource, suite_encoder: EncoderSource, task: Task, modules: int, declared: int | None
) -> None:
    """Raises `SuiteError` where the parameters that would train are not those declared.

    `encoder`: what the arm starts from; `declared`: the suite's own count, head left out. An encoder that is on
    the hub is taken at the shape the suite gives it; without one it is not looked at.
    """
    count = _counts(type(method), method.model_dump_json(), encoder, suite_encoder, task.outputs, modules)
    if count is None:
        return
    found, expected, head = count
    name = f"method {type(method).__module__.removeprefix('baselines.')} on {task.name}"
    if found != expected:
        raise SuiteError(f"{name} would train {found:,} parameters, {expected:,} stand in what it declares to train")
    if declared is not None and found - head != declared:
        raise SuiteError(
            f"{name} would train {found - head:,} parameters without the head, the suite declares {declared:,}: "
            "correct trainable_parameters, or the arm's options"
        )


@lru_cache(maxsize=256)
def _counts(
    kind: type[Method], options: str, encoder: EncoderSource, suite_encoder: EncoderSource, outputs: int, modules: int
) -> tuple[int, int, int] | None:
    """(what the optimizer would hold, what is declared, the head's share of both), or None for an unknown shape."""
    if not (_known_here(encoder) and _known_here(suite_encoder)):
        return None
    sources = [[source.hash, source.layers, source.shape] for source in (encoder, suite_encoder)]
    key = [kind.__module__, hash_of(kind.__module__), options, sources, outputs, modules, packages(("transformers",))]
    found = kept.once(
        "trainable", key, lambda: _counted(kind.model_validate_json(options), encoder, suite_encoder, outputs, modules)
    )
    return found[0], found[1], found[2]


def _counted(
    method: Method, encoder: EncoderSource, suite_encoder: EncoderSource, outputs: int, modules: int
) -> list[int]:
    from transformers import AutoModelForSequenceClassification  # three seconds that a known count need not wait for

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


def _known_here(source: EncoderSource) -> bool:
    """Is its shape in the suite, or its config in a folder?"""
    return bool(source.shape) or (source.revision is None and Path(source.location).is_dir())


def _config(source: EncoderSource, outputs: int) -> Any:
    from transformers import AutoConfig

    if source.shape:  # random, or on the hub with its shape in the suite
        return AutoConfig.for_model("bert", **dict(source.shape), num_labels=outputs)
    return AutoConfig.from_pretrained(source.location, trust_remote_code=False, num_labels=outputs)
