"""Atomic writing: fill under a temporary name, sync, rename, sync the folder's entries.

    replace_text(path, "...")                 # a reader sees the old file or the new one, even after a power cut
    with replacing(path) as file: ...         # the same, piece by piece
    place_folder(filled, path)                # a folder that was filled elsewhere on the same disk

A rename is safe if the content reaches the disk before it and the folder's entry after it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[BufferedRandom]:
    """A file to fill, which replaces `path` at the end; after an error it is removed."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    partial = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)
        partial.replace(path)
        sync_entries(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a file in one piece."""
    with replacing(path) as file:
        file.write(data)


def replace_text(path: Path, text: str) -> None:
    """The same, in UTF-8."""
    replace_bytes(path, text.encode())


def place_folder(filled: Path, path: Path) -> None:
    """Sync everything in a folder, then move it into place. Raises `OSError` if `path` already holds files."""
    for file in filled.rglob("*"):
        if file.is_file():
            _sync(file)
    filled.rename(path)
    sync_entries(path.parent)


def sync_entries(folder: Path) -> None:
    """Make renames in a folder survive a power cut, if the system allows to open folders for that."""
    try:
        _sync(folder)
    except PermissionError:
        return


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
