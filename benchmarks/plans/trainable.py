"""Check before training that an arm trains the parameters that it declares.

The paper's own comparison hides such a difference: Theseus moves 42.5 M parameters, its baselines 67 M (only
`scc_layer` is in the released code's optimizer). Here each arm's model is made on the meta device, which allocates
nothing, and the parameters that its optimizer would hold are compared with those that the method declares and with the
arm's `trainable_parameters`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from baselines.method import Method
from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.identity import packages
from benchmarks.models.source import EncoderSource
from benchmarks.plans.counting import counts
from benchmarks.tasks.table import Task


def check_trainable(
    method: Method, encoder: EncoderSource, suite_encoder: EncoderSource, task: Task, modules: int, declared: int | None
) -> None:
    """Raises `SuiteError` if the parameters that would train are not those declared.

    `encoder`: the arm's start. `declared`: the suite's own count, without the head. An encoder on the hub is counted at
    the shape that the suite gives; without a shape nothing is checked.
    """
    count = _counts(type(method), method.model_dump_json(), encoder, suite_encoder, task.outputs, modules)
    if count is None:
        return
    found, expected, head = count
    name = f"method {type(method).__module__.removeprefix('baselines.')} on {task.name}"
    if found != expected:
        raise SuiteError(f"{name} would train {found:,} parameters, but the parts that it declares have {expected:,}")
    if declared is not None and found - head != declared:
        raise SuiteError(
            f"{name} would train {found - head:,} parameters without the head, but the suite declares {declared:,}: "
            "correct trainable_parameters, or the arm's options"
        )


@lru_cache(maxsize=256)
def _counts(
    kind: type[Method], options: str, encoder: EncoderSource, suite_encoder: EncoderSource, outputs: int, modules: int
) -> tuple[int, int, int] | None:
    """(parameters in the optimizer, declared parameters, the head's share of both), or None for an unknown shape."""
    if not (_known_here(encoder) and _known_here(suite_encoder)):
        return None
    sources = [[source.hash, source.layers, source.shape] for source in (encoder, suite_encoder)]

    def count() -> list[int]:
        return counts(kind.model_validate_json(options), encoder, suite_encoder, outputs, modules)

    if not kind.__module__.startswith("baselines."):  # such as in a notebook: no file shows when it changes
        found = count()
    else:
        code = hash_of(f"{kind.__module__}:{kind.__name__}", "benchmarks.plans.counting")
        versions = packages(("torch", "transformers"))
        key = [kind.__module__, code, versions, options, sources, outputs, modules]
        found = machine_cache.once("trainable", key, count)
    return found[0], found[1], found[2]


def _known_here(source: EncoderSource) -> bool:
    """Whether the suite gives its shape, or a local folder its config."""
    return bool(source.shape) or (source.revision is None and Path(source.location).is_dir())
