"""Folders of tensors on disk, memory-mapped: written once, whole or not at all, read by every worker of the machine.

    cache/<kind>-<key>/arrays.json      what the key was made of; name, shape and dtype of each array
    cache/<kind>-<key>/<name>.bin       raw values

The system's page cache is then the only copy in memory, whatever the number of workers, and a training set's [CLS]
states (3 GB for MNLI under BERT-base in bfloat16, five layers) need not fit there at all.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from benchmarks.identity import digest

Create = Callable[[str, tuple[int, ...], torch.dtype], torch.Tensor]
_DTYPES = {str(dtype).removeprefix("torch."): dtype
           for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.int32, torch.uint8)}  # fmt: skip
INDEX = "arrays.json"


def in_memory(_: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A `Create` for arrays that nobody keeps."""
    return torch.empty(shape, dtype=dtype)


def stored(
    folder: Path, kind: str, key: dict[str, Any], write: Callable[[Create], object]
) -> tuple[dict[str, torch.Tensor], float]:
    """The arrays of `key`, written by `write(create)` if they are not there; and the seconds the writing took.

    `key` must hold all that the values depend on. Of two workers that need them at once one writes and the other
    waits. `create(name, shape, dtype)` gives a tensor to fill.
    """
    path = folder / f"{kind}-{digest(key)[:24]}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if path.is_dir():
            if (found := _read(path, key)) is not None:
                return found, 0.0
            shutil.rmtree(path)  # truncated or another key's: made again
        started = time.monotonic()
        _write(path, key, write)
        found = _read(path, key)
        assert found is not None
        return found, time.monotonic() - started


def _write(path: Path, key: dict[str, Any], write: Callable[[Create], object]) -> None:
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    index: dict[str, Any] = {}
    made: list[torch.Tensor] = []

    def create(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        index[name] = {"shape": list(shape), "dtype": str(dtype).removeprefix("torch.")}
        made.append(_mapped(partial / f"{name}.bin", shape, dtype, shared=True))
        return made[-1]

    try:
        write(create)
        made.clear()  # unmapped, so that what follows sees all of it
        text = json.dumps({"key": key, "arrays": index}, indent=1, sort_keys=True) + "\n"
        (partial / INDEX).write_text(text, encoding="utf-8")
        for file in partial.iterdir():
            _sync(file)
        partial.replace(path)
        _sync(path.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _sync(path: Path) -> None:
    """Make sure the file's content, or the folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path, key: dict[str, Any]) -> dict[str, torch.Tensor] | None:
    """The arrays of a folder, or None where it is not what its index says or belongs to another key."""
    try:
        index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        if index["key"] != json.loads(json.dumps(key)):
            return None
        found = {}
        for name, array in index["arrays"].items():
            shape, dtype = tuple(array["shape"]), _DTYPES[array["dtype"]]
            file = path / f"{name}.bin"
            if math.prod(shape) and file.stat().st_size != math.prod(shape) * dtype.itemsize:
                return None
            found[name] = _mapped(file, shape, dtype, shared=False)
        return found
    except (OSError, ValueError, KeyError):
        return None


def _mapped(path: Path, shape: tuple[int, ...], dtype: torch.dtype, shared: bool) -> torch.Tensor:
    """A tensor over the file's pages; `shared` makes the file and writes through to it."""
    if not math.prod(shape):  # nothing to map
        return torch.empty(shape, dtype=dtype)
    if shared:
        with path.open("wb") as file:  # reserved now: a full disk is an error here, not a signal in the middle
            os.posix_fallocate(file.fileno(), 0, math.prod(shape) * dtype.itemsize)
    return torch.from_file(str(path), shared=shared, size=math.prod(shape), dtype=dtype).view(shape)
