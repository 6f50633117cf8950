"""Where a successor is from: what its config and its model card say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

DISTRIBUTION, VERSION = "theseus-bench", "0.1.0"  # as in pyproject.toml


def name_of(model: nn.Module | None) -> str | None:
    """The name on the hub that a model was loaded from. Of a local folder only the last part: paths are private."""
    found = [getattr(inner, "name_or_path", None) for inner in model.modules()] if model is not None else []
    name = next((str(name) for name in found if name), None)
    return Path(name).name if name and (Path(name).is_absolute() or Path(name).is_dir()) else name


def origin(given: dict[str, Any]) -> dict[str, Any]:
    """What is known when a `Theseus` is made, from its arguments, as values that JSON has."""
    init, replace = given["init"], given["replace"]
    return {
        "library": f"{DISTRIBUTION} {VERSION}",
        "predecessor": name_of(given["predecessor"]),
        "layers": given["layers"],
        "init": init if isinstance(init, str) else [int(index) for index in init],
        "init_from": name_of(given["init_from"]),
        "rate": repr(given["rate"]),
        "seed": given["seed"],
        "trainable": sorted(given["trainable"]),
        "replace": None if replace is None else sorted(replace),
        "mix": given["mix"],
        "draw": given["draw"],
        "sizes": None if given["sizes"] is None else list(given["sizes"]),
        "stack": given["stack"],
    }
