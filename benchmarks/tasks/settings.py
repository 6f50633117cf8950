"""The `[data]` section of a suite."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from benchmarks.base.config import Config


class Data(Config):
    """GLUE: from `path`, else from GLUE_DIR, else from the hub at `revision`. Synthetic tasks need none of it."""

    path: str | None = None
    """A local folder with `TASK/SPLIT.parquet`, the hub's names of these files, or GLUE's own TSV files."""
    dataset: str = "nyu-mll/glue"
    """The data set's name on the hub."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """The commit on the hub. Without a local folder it is required."""
    revision_source: str | None = None
    """How the revision is known, in words."""
