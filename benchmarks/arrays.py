"""Folders of tensors on disk, memory-mapped: written once, whole or not at all, read by every worker of the machine.

    cache/<kind>-<key>/arrays.json      what the key was made of; name, shape, dtype and hashes of each array
    cache/<kind>-<key>/<name>.bin       raw values

The system's page cache is then the only copy in memory, whatever the number of workers, and a training set's [CLS]
states (3 GB for MNLI under BERT-base in bfloat16, five layers) need not fit there at all.

What a process opens for the first time is not believed: files are held against the hashes in the index, all of a small
one and a random sample of a large one's blocks, and the caller may compare values with what they should be. A folder
that fails is removed and made again, and the caller is told why.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from benchmarks.disk import sync
from benchmarks.identity import digest

Arrays = dict[str, torch.Tensor]
Create = Callable[[str, tuple[int, ...], torch.dtype], torch.Tensor]
Check = Callable[[Arrays], str | None]
_DTYPES = {str(dtype).removeprefix("torch."): dtype
           for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.int32, torch.uint8)}  # fmt: skip
INDEX = "arrays.json"
BLOCK = 4 * 2**20  # bytes of a file that share a hash
WHOLE = 256 * 2**20  # files up to this size are verified whole: a fifth of a second where sha256 is in hardware
SAMPLE = 32  # blocks verified of a larger one

_opened: set[tuple[str, int]] = set()  # folders that this process has verified or written, with the index's inode


@dataclass(frozen=True)
class Stored:
    """`arrays` by name; `seconds` making them took, 0 where they were there; `rebuilt`: why they were made again."""

    arrays: Arrays
    seconds: float
    rebuilt: str | None = None


class Damaged(ValueError):
    """A folder is not what its index says, or belongs to another key; the message says what is wrong."""


def in_memory(_: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A `Create` for arrays that nobody keeps."""
    return torch.empty(shape, dtype=dtype)


def stored(
    folder: Path, kind: str, key: dict[str, Any], write: Callable[[Create], object], check: Check | None = None
) -> Stored:
    """The arrays of `key`, written by `write(create)` if they are not there.

    `key` must hold all that the values depend on. Of two workers that need them at once one writes and the other
    waits. `create(name, shape, dtype)` gives a tensor to fill. `check` says what is wrong with values that another
    process wrote, if anything.
    """
    path = folder / f"{kind}-{digest(key)[:24]}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        rebuilt = None
        if path.is_dir():
            try:
                return Stored(_open(path, key, check), 0.0)
            except Damaged as error:
                rebuilt = str(error)
                shutil.rmtree(path)
        started = time.monotonic()
        _write(path, key, write)
        _opened.add(_identity(path))
        return Stored(_open(path, key, None), time.monotonic() - started, rebuilt)


def _identity(path: Path) -> tuple[str, int]:
    return str(path), (path / INDEX).stat().st_ino


def _open(path: Path, key: dict[str, Any], check: Check | None) -> Arrays:
    """The arrays of a folder, verified if this process sees it for the first time. Raises `Damaged`."""
    try:
        index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        if index["key"] != json.loads(json.dumps(key)):
            raise Damaged(f"{INDEX} is of another key")
        first = _identity(path) not in _opened
        found = {name: _mapping(path / f"{name}.bin", array, first) for name, array in index["arrays"].items()}
    except Damaged:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{INDEX} or a file it names cannot be read ({type(error).__name__})") from None
    if first and check is not None and (wrong := check(found)):
        raise Damaged(wrong)
    _opened.add(_identity(path))
    return found


def _mapping(file: Path, array: dict[str, Any], verify: bool) -> torch.Tensor:
    shape, dtype = tuple(array["shape"]), _DTYPES[array["dtype"]]
    size = math.prod(shape) * dtype.itemsize
    if size and file.stat().st_size != size:
        raise Damaged(f"{file.name} has {file.stat().st_size} bytes instead of {size}")
    if size and verify and (block := _damaged_block(file, array["sha256"])) is not None:
        raise Damaged(f"{file.name} is not what was written (block {block})")
    return _mapped(file, shape, dtype, shared=False)


def _damaged_block(file: Path, hashes: list[str]) -> int | None:
    """The first of the verified blocks whose bytes do not have their hash."""
    size, chosen = file.stat().st_size, list(range(len(hashes)))
    if len(hashes) != math.ceil(size / BLOCK):
        return 0
    if size > WHOLE:  # another sample in every process: what one misses another may see
        chosen = sorted(random.SystemRandom().sample(chosen, min(SAMPLE, len(chosen))))
    with file.open("rb") as opened:
        for block in chosen:
            opened.seek(block * BLOCK)
            if hashlib.sha256(opened.read(BLOCK)).hexdigest() != hashes[block]:
                return block
    return None


def _hashes(file: Path) -> list[str]:
    """sha256 of each block of a file."""
    with file.open("rb") as opened:
        return [hashlib.sha256(block).hexdigest() for block in iter(lambda: opened.read(BLOCK), b"")]


def _write(path: Path, key: dict[str, Any], write: Callable[[Create], object]) -> None:
    for left in path.parent.glob(f".{path.name}-*"):  # by one who was killed: who writes holds the lock
        shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    index: dict[str, dict[str, Any]] = {}
    made: list[torch.Tensor] = []

    def create(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        index[name] = {"shape": list(shape), "dtype": str(dtype).removeprefix("torch.")}
        made.append(_mapped(partial / f"{name}.bin", shape, dtype, shared=True))
        return made[-1]

    try:
        write(create)
        made.clear()  # unmapped, so that what follows sees all of it
        for name, array in index.items():
            array["sha256"] = _hashes(partial / f"{name}.bin") if math.prod(array["shape"]) else []
        text = json.dumps({"key": key, "arrays": index}, indent=1, sort_keys=True) + "\n"
        (partial / INDEX).write_text(text, encoding="utf-8")
        for file in partial.iterdir():
            sync(file)
        partial.replace(path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _mapped(path: Path, shape: tuple[int, ...], dtype: torch.dtype, shared: bool) -> torch.Tensor:
    """A tensor over the file's pages; `shared` makes the file and writes through to it."""
    if not math.prod(shape):  # nothing to map
        return torch.empty(shape, dtype=dtype)
    if shared:
        with path.open("wb") as file:  # reserved now: a full disk is an error here, not a signal in the middle
            os.posix_fallocate(file.fileno(), 0, math.prod(shape) * dtype.itemsize)
    return torch.from_file(str(path), shared=shared, size=math.prod(shape), dtype=dtype).view(shape)
