"""A located encoder: its name, place and hash."""

from __future__ import annotations

from dataclasses import dataclass

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class EncoderSource:
    """`location`: a folder, a hub name (read at `revision`), or "random". `hash`: of weights, config and tokenizer."""

    name: str
    location: str
    revision: str | None
    hash: str
    layers: int
    shape: tuple[tuple[str, int], ...] = ()

    @property
    def random(self) -> bool:
        return self.location == "random"
