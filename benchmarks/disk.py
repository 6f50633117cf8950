"""What makes a rename safe: the content is on the disk before it, the folder's entry after it."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Make sure the file's content, or the folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
