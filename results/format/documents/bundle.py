"""bundle.json: the first file of a bundle, which lists all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from results.format.documents.codec import Each, Given, Key, Nested, as_is


@dataclass(frozen=True)
class Entry:
    """One file of a bundle."""

    path: Annotated[str, Key(as_is)]
    bytes: Annotated[int, Key(as_is)]
    sha256: Annotated[str, Key(as_is)]

    @property
    def folder(self) -> str | None:
        """The run folder of the file, None for suite.json and speed.json."""
        parts = self.path.split("/")
        return "/".join(parts[:3]) if len(parts) > 1 else None


@dataclass(frozen=True)
class BundleList:
    """The whole list. Its values are unchecked; `bundles/archive.py` compares them with the archive."""

    kind: Given
    suite: Given
    weights: Given
    files: Annotated[tuple[Entry, ...], Key(Each(Nested(Entry)))]
