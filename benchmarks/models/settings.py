"""The `[encoder]` section of a suite."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from benchmarks.base.config import Config


class Encoder(Config):
    """The pretrained encoder: from `path`, else from ENCODER_DIR, else from the hub at `revision`."""

    name: str
    """The name on the hub, or any name where `path` is given."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """The commit on the hub. Without a local folder it is required."""
    revision_source: str | None = None
    """How the revision is known, in words."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of `model.safetensors`; other weights are refused."""
    path: str | None = None
    """A local folder with `config.json`, weights and tokenizer."""
    random: bool = False
    """Build `shape` with random weights instead. Only plans and dry runs accept it."""
    shape: dict[str, int] = {}
    """Sizes for transformers' `BertConfig`: `random` builds them, and for an encoder on the hub the plan counts
    parameters from them."""
    layers: Annotated[int, Field(ge=2)]
    """Number of layers; the weights must have as many."""
    hidden_size: Annotated[int, Field(ge=1)]
    """Width of a layer; the weights must have the same."""
