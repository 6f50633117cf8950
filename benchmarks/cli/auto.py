"""SUITE=auto: choose `paper` if a CUDA device, the data and the encoder are available, else `demo`; say why."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.models.encoder import find_encoder
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.data import find_source, load_splits
from benchmarks.tasks.table import find_task
from results.format.errors import UserError


def resolve_suite(name: str, say: Callable[[str], None]) -> str:
    """The suite's name; "auto" becomes "paper" or "demo"."""
    if name != "auto":
        return name
    reason = _why_not_paper()
    say(
        f"suite: demo, because {reason}"
        if reason
        else "suite: paper, because CUDA, the data and the encoder are available"
    )
    return "demo" if reason else "paper"


def _why_not_paper() -> str | None:
    if not torch.cuda.is_available():
        return "there is no CUDA device (SUITE=minilm runs real GLUE on a CPU)"
    from benchmarks.models.checks import fetch  # loads transformers: only where there is a GPU

    suite = load_suite("paper")
    try:
        fetch(find_encoder(suite.encoder), suite.encoder.sha256)
        for task in suite.tasks:
            load_splits(find_source(find_task(task), suite.data))
    except UserError as error:
        return f"the paper's suite cannot run here: {error}"
    return None
