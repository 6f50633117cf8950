"""Before any training: does an arm train what it says it trains?

The paper's own comparison hides such a difference: Theseus moves 42.5 M parameters, its baselines 67 M (only
`scc_layer` is in the released code's optimizer). Here each arm's model is made on the meta device, where nothing
is allocated, and what its optimizer would hold is counted against what the method declares and what the suite
writes beside the arm.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from baselines.method import Method
from benchmarks import kept
from benchmarks.encoder import EncoderSource
from benchmarks.errors import SuiteError
from benchmarks.identity import hash_of, packages
from benchmarks.tasks import Task


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
    code, versions = hash_of(kind.__module__, "benchmarks.counting"), packages(("torch", "transformers"))

    def count() -> list[int]:
        from benchmarks.counting import counts  # seconds of imports that a known count need not wait for

        return counts(kind.model_validate_json(options), encoder, suite_encoder, outputs, modules)

    found = kept.once("trainable", [kind.__module__, code, versions, options, sources, outputs, modules], count)
    return found[0], found[1], found[2]


def _known_here(source: EncoderSource) -> bool:
    """Is its shape in the suite, or its config in a folder?"""
    return bool(source.shape) or (source.revision is None and Path(source.location).is_dir())
