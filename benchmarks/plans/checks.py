"""Check what can be known of an arm before anything runs: its wishes can be served, and it trains what it declares.

The paper's own comparison hides a difference in what trains: Theseus moves 42.5 M parameters, its baselines 67 M (only
`scc_layer` is in the released code's optimizer). Here each arm's model is made on the meta device, which allocates
nothing, and the parameters that its optimizer would hold are compared with those that the method declares and with the
arm's `trainable_parameters`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from baselines.method import LOGITS, Given, Method, Output
from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.identity import packages
from benchmarks.models.source import WEIGHTS, EncoderSource
from benchmarks.tasks import kinds
from benchmarks.tasks.table import Task
from theseus import find_blocks, parameters_by_part

Head = tuple[str, int]  # the kind of task and its outputs


def check_wishes(
    arm: str, method: Method, modules: int, predecessor: EncoderSource, own_words: bool,
    kind: str = kinds.CLASSIFICATION,
) -> None:  # fmt: skip
    """Raises `SuiteError` for an output that the predecessor cannot give. `own_words`: the arm uses a tokenizer of its
    own, so that its tokens may not be the predecessor's. `kind`: of the task."""
    wishes: Collection[Any] = method.needs(predecessor.layers, modules)  # whatever a rival gives
    if strangers := [wish for wish in wishes if not isinstance(wish, Output)]:
        raise SuiteError(f"arm {arm}: needs() gave {strangers[0]!r}: give objects of baselines.method.Output")
    if wishes and not method.uses_predecessor:
        raise SuiteError(f"arm {arm} wants outputs of a predecessor, but its method has uses_predecessor = False")
    for wish in sorted(wishes, key=lambda wish: (str(wish.layer).zfill(9), str(wish))):
        what = f"arm {arm} wants the predecessor's {wish.what}"
        if wish.what not in ("logits", "state") or wish.tokens not in ("first", "all"):
            raise SuiteError(f"{what} of {wish.tokens} tokens: ask for logits, or for the state of first or all tokens")
        if wish.what == "logits" and wish != LOGITS:
            raise SuiteError(f"{what} of a layer or of all tokens: a classifier has one row an example, LOGITS")
        if wish.what == "state" and not (isinstance(wish.layer, int) and 1 <= wish.layer <= predecessor.layers):
            raise SuiteError(f"{what} after layer {wish.layer}: the predecessor has layers 1 to {predecessor.layers}")
        task = kinds.find(kind)
        if own_words and (task.live or (wish.what == "logits" and task.per_token)):
            raise SuiteError(f"{what} on a {kind} task, but may cut other tokens itself: name no encoder for the arm")
        if wish.tokens == "all" and own_words:
            raise SuiteError(f"{what} of all tokens, but may cut other tokens itself: use the first token's state")


def check_trainable(
    method: Method, encoder: EncoderSource, suite_encoder: EncoderSource, task: Task, modules: int, declared: int | None
) -> None:
    """Raises `SuiteError` if the parameters that would train are not those declared.

    `encoder`: the arm's start. `declared`: the suite's own count, without the head. An encoder on the hub is counted at
    the shape that the suite gives; without a shape nothing is checked.
    """
    head = task.kind, kinds.find(task.kind).outputs(task)
    count = _counts(type(method), method.model_dump_json(), encoder, suite_encoder, head, modules)
    if count is None:
        return
    found, expected, own = count
    name = f"method {type(method).__module__.removeprefix('baselines.')} on {task.name}"
    if found != expected:
        raise SuiteError(f"{name} would train {found:,} parameters, but the parts that it declares have {expected:,}")
    if declared is not None and found - own != declared:
        raise SuiteError(
            f"{name} would train {found - own:,} parameters without the head, but the suite declares {declared:,}: "
            "correct trainable_parameters, or the arm's options"
        )


@lru_cache(maxsize=256)
def _counts(
    kind: type[Method], options: str, encoder: EncoderSource, suite_encoder: EncoderSource, head: Head, modules: int
) -> tuple[int, int, int] | None:
    """(parameters in the optimizer, declared parameters, the head's share of both), or None for an unknown shape."""
    if not (_known_here(encoder) and _known_here(suite_encoder)):
        return None
    sources = [[source.hash, source.layers, source.shape] for source in (encoder, suite_encoder)]

    def count() -> list[int]:
        return counts(kind.model_validate_json(options), encoder, suite_encoder, head, modules)

    if not kind.__module__.startswith("baselines."):  # such as in a notebook: no file shows when it changes
        found = count()
    else:
        code = hash_of(
            f"{kind.__module__}:{kind.__name__}", "benchmarks.plans.checks:counts", "benchmarks.plans.checks:_config"
        )
        versions = packages(("torch", "transformers"))
        key = [kind.__module__, code, versions, options, sources, head, modules]
        found = machine_cache.once("trainable", tuple[int, int, int], key, count)
    return found[0], found[1], found[2]


def _known_here(source: EncoderSource) -> bool:
    """Whether the suite gives its shape, or a local folder its config."""
    return bool(source.shape) or (source.revision is None and Path(source.location).is_dir())


def counts(method: Method, encoder: EncoderSource, suite_encoder: EncoderSource, head: Head, modules: int) -> list[int]:
    """The parameters that the optimizer would hold, those that the method declares, and the head's share of both. The
    models are made on the meta device, which allocates nothing."""
    import transformers  # seconds that a plan with kept counts need not wait for

    kind, outputs = head
    configs = [_config(source, outputs) for source in (encoder, suite_encoder)]
    wanted = getattr(transformers, kinds.find(kind).model_class)
    if odd := [config for config in configs if type(config) not in wanted._model_mapping]:
        raise SuiteError(f"encoder {encoder.name}: transformers has no {odd[0].model_type} model for a {kind} task: "
                         "name another encoder, or leave the task out with --tasks")  # fmt: skip
    with torch.device("meta"):
        own, deep = (wanted.from_config(config, dtype=torch.float32) for config in configs)  # as a run loads it
        model = method.build(Given(lambda: deep, lambda: own, modules, 0, 1000))
        held = {id(parameter): parameter.numel() for parameter in method.parameters(model)}
        sizes = {part: sum(p.numel() for p in found) for part, found in parameters_by_part(own).items()}
    depth = len(find_blocks(own).layers)
    layers = method.trained_layers(len(find_blocks(deep).layers), encoder.layers if method.own_encoder else modules)
    expected = sizes["layers"] // depth * layers + sum(sizes[part] for part in method.trains if part != "layers")
    return [sum(held.values()), expected, sizes["head"] if "head" in method.trains else 0]


def new_head(encoder: EncoderSource, task: Task) -> str | None:
    """What a run makes anew of a head that its kind of task would have kept, in words; None if nothing is missing, or
    if the encoder is not on this machine."""
    if not kinds.find(task.kind).keeps_head or encoder.random or not _known_here(encoder) or encoder.revision:
        return None
    key = [encoder.hash, task.kind, hash_of("benchmarks.plans.checks:_missing"), packages(("torch", "transformers"))]
    missing = machine_cache.once("new-head", list[str], key, lambda: _missing(Path(encoder.location), encoder, task))
    if not missing:
        return None
    return f"encoder {encoder.name} has no head for {task.kind} ({missing[0]}, ...): every run starts from a new one"


def _missing(folder: Path, encoder: EncoderSource, task: Task) -> list[str]:
    """The names of the head's weights that the folder lacks."""
    import transformers  # as in `counts`

    with torch.device("meta"):
        own = getattr(transformers, kinds.find(task.kind).model_class).from_config(_config(encoder, task.outputs))
    head = {id(parameter) for parameter in parameters_by_part(own)["head"]}
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        known = set(file.keys())
    names = [name for name, parameter in own.named_parameters() if id(parameter) in head]
    return [name for name in names if not {name, name.removeprefix(f"{own.base_model_prefix}.")} & known]


def _config(source: EncoderSource, outputs: int) -> Any:
    from transformers import AutoConfig

    if source.shape:  # random, or on the hub with its shape in the suite
        return AutoConfig.for_model("bert", **dict(source.shape), num_labels=outputs)
    return AutoConfig.from_pretrained(source.location, trust_remote_code=False, num_labels=outputs)
