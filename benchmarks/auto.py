"""SUITE=auto: `paper` where a CUDA device, the data and the encoder can be had, else `demo`; and says why."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.errors import SuiteError


def resolve_suite(name: str, say: Callable[[str], None]) -> str:
    """`name` itself unless it is "auto"."""
    if name != "auto":
        return name
    reason = _why_not_paper()
    say(f"suite: demo, because {reason}" if reason else "suite: paper, because CUDA, the data and the encoder are here")
    return "demo" if reason else "paper"


def _why_not_paper() -> str | None:
    import torch

    if not torch.cuda.is_available():
        return "there is no CUDA device (SUITE=minilm runs real GLUE on a CPU)"
    from benchmarks.data import find_source, load_splits
    from benchmarks.encoder import find_encoder
    from benchmarks.loading import fetch
    from benchmarks.suite import load_suite
    from benchmarks.tasks import find_task

    suite = load_suite("paper")
    try:
        fetch(find_encoder(suite.encoder), suite.encoder.sha256)
        for task in suite.tasks:
            load_splits(find_source(find_task(task), suite.data))
    except SuiteError as error:
        return f"the paper's suite cannot be had here: {error}"
    return None
