"""`generate` of a gated model: without a key-value cache where its places would be wrong.

The cache has one place per layer of the successor. In eval mode the successor runs, and the cache is right. In train
mode a module may run several predecessor layers, for which there are no places.
"""

from __future__ import annotations

from functools import partial
from typing import Any


def _generate(model: Any, cacheless: bool, *args: Any, **kwargs: Any) -> Any:
    if cacheless or model.training:
        kwargs.pop("cache_implementation", None)
        kwargs["use_cache"] = False
    return type(model).generate(model, *args, **kwargs)


def guard_generate(model: Any, cacheless: bool) -> None:
    """cacheless: never use a cache, because the places of the layers are not the successor's."""
    if callable(getattr(type(model), "generate", None)):
        model.generate = partial(_generate, model, cacheless)


def unguard_generate(model: Any) -> None:
    vars(model).pop("generate", None)
