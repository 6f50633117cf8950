"""BERT-of-Theseus: compress a transformer by progressively replacing its modules.

Xu, Zhou, Ge, Wei, Zhou, "BERT-of-Theseus: Compressing BERT by Progressive Module Replacing",
EMNLP 2020 (arXiv 2002.02925). The library needs torch and transformers, and nothing else from this repository.

    theseus = Theseus(predecessor, layers=6, rate=LinearRate(base=0.3, k=0.0006), seed=0)
    optimizer = torch.optim.AdamW(theseus.trainable_parameters(), lr=2e-5)
    for batch in batches:
        theseus.model(**batch).loss.backward()
        optimizer.step(); optimizer.zero_grad(); theseus.step()
    theseus.successor().save_pretrained("six-layers")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from theseus.errors import TheseusError
from theseus.library import Theseus
from theseus.models.blocks import BlockStack, find_blocks
from theseus.models.parts import PARTS, Part, parameters_by_part
from theseus.models.shallow import Choice, choose_layers, keep_layers
from theseus.provenance import VERSION as __version__
from theseus.rates import AntiLinearRate, ConstantRate, LinearRate, Rate, unreached_warning

if TYPE_CHECKING:
    from theseus.trainer import TheseusCallback

__all__ = [
    "PARTS",
    "AntiLinearRate",
    "BlockStack",
    "Choice",
    "ConstantRate",
    "LinearRate",
    "Part",
    "Rate",
    "Theseus",
    "TheseusCallback",
    "TheseusError",
    "__version__",
    "choose_layers",
    "find_blocks",
    "keep_layers",
    "parameters_by_part",
    "unreached_warning",
]


def __getattr__(name: str) -> Any:
    if name == "TheseusCallback":
        return import_module("theseus.trainer").TheseusCallback  # transformers' Trainer takes two seconds to import
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
