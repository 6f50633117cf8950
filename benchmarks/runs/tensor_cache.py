"""Memory-mapped folders of tensors on disk, written once, whole or not at all, and read by every worker of the machine.

    cache/<kind>-<key>/arrays.json      the values behind the key; name, shape, dtype and hashes of each array
    cache/<kind>-<key>/<name>.bin       raw values

Any number of workers share one copy in memory, the system's page cache, and a training set's [CLS] states (6 GB for
MNLI under BERT-base, five layers) need not even fit into it.

A process verifies a file that it has not verified as it is now: it compares the file with the hashes in the index (all
blocks of a small file, a random sample of a large one), and the caller may check values. A folder that fails is removed
and made again, and the caller learns why. `changed` says whether a file was written to since it was opened, because a
mapping shows such a change.
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

from benchmarks.training.state import Create
from results.format.files import place_folder
from results.format.layout import digest

Arrays = dict[str, torch.Tensor]
Check = Callable[[Arrays], str | None]
_KNOWN = (torch.float32, torch.bfloat16, torch.int64, torch.int32, torch.uint8)
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in _KNOWN}
INDEX = "arrays.json"
BLOCK = 4 * 2**20  # bytes of a file that share a hash
WHOLE = 256 * 2**20  # bytes; smaller files are verified whole, which takes a fifth of a second with sha256 in hardware
SAMPLE = 32  # blocks that are verified of a larger file

Stamp = tuple[int, int, int]  # inode, size and time of the last change, which no program can set back
_verified: dict[Path, Stamp] = {}  # files that this process verified or wrote
_watched: dict[Path, Stamp] = {}  # files that were opened since `watch`


@dataclass(frozen=True)
class Stored:
    """`arrays` by name; `seconds` to make them, 0 if they were cached; `rebuilt`: why they were made again."""

    arrays: Arrays
    seconds: float
    rebuilt: str | None = None


class Damaged(Exception):
    """A folder that differs from its index or belongs to another key; the message says how."""


def stored(
    folder: Path, kind: str, key: dict[str, Any], write: Callable[[Create], object], check: Check | None = None
) -> Stored:
    """The arrays of `key`, written by `write(create)` if they are missing.

    `key` must hold everything that the values depend on. If two workers need them at once, one writes and the other
    waits. `create(name, shape, dtype)` returns a tensor to fill. `check` returns what is wrong with values that another
    process wrote, or None.
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
        _verified.update({file: _stamp(file) for file in path.iterdir()})
        return Stored(_open(path, key, None), time.monotonic() - started, rebuilt)


def watch() -> None:
    """Begin to watch the files that are opened from now on."""
    _watched.clear()


def changed() -> str | None:
    """The folder of a watched file that was changed after it was opened; None where all are as they were."""
    for file, stamp in _watched.items():
        if file.exists() and _stamp(file) != stamp:
            return file.parent.name
    return None


def _stamp(file: Path) -> Stamp:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_ctime_ns


def _open(path: Path, key: dict[str, Any], check: Check | None) -> Arrays:
    """The arrays of a folder, verified if this process opens it for the first time. Raises `Damaged`."""
    try:
        index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        if index["key"] != json.loads(json.dumps(key)):
            raise Damaged(f"{INDEX} is of another key")
        files = {name: path / f"{name}.bin" for name in index["arrays"]}
        stamps = {file: _stamp(file) for file in (path / INDEX, *files.values()) if file.exists()}
        first = any(_verified.get(file) != stamp for file, stamp in stamps.items())
        found = {name: _mapping(files[name], array, first) for name, array in index["arrays"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{INDEX} or a file it names cannot be read ({type(error).__name__})") from None
    if first and check is not None and (wrong := check(found)):
        raise Damaged(wrong)
    _verified.update(stamps)
    _watched.update(stamps)
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
    """The number of the first verified block that does not match its hash."""
    size, chosen = file.stat().st_size, list(range(len(hashes)))
    if len(hashes) != math.ceil(size / BLOCK):
        return 0
    if size > WHOLE:  # every process draws another sample, so one may find what another missed
        chosen = sorted(random.SystemRandom().sample(chosen, min(SAMPLE, len(chosen))))
    with file.open("rb") as opened:
        for block in chosen:
            opened.seek(block * BLOCK)
            if hashlib.sha256(opened.read(BLOCK)).hexdigest() != hashes[block]:
                return block
    return None


def _hashes(file: Path) -> list[str]:
    with file.open("rb") as opened:
        return [hashlib.sha256(block).hexdigest() for block in iter(lambda: opened.read(BLOCK), b"")]


def _write(path: Path, key: dict[str, Any], write: Callable[[Create], object]) -> None:
    for left in path.parent.glob(f".{path.name}-*"):  # by a killed process: this one holds the lock
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
        made.clear()  # unmaps the files, so that everything is written before it is hashed
        for name, array in index.items():
            array["sha256"] = _hashes(partial / f"{name}.bin") if math.prod(array["shape"]) else []
        text = json.dumps({"key": key, "arrays": index}, indent=1, sort_keys=True) + "\n"
        (partial / INDEX).write_text(text, encoding="utf-8")
        place_folder(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _mapped(path: Path, shape: tuple[int, ...], dtype: torch.dtype, shared: bool) -> torch.Tensor:
    """A tensor over the file's pages; `shared` creates the file and writes through to it."""
    if not math.prod(shape):  # nothing to map
        return torch.empty(shape, dtype=dtype)
    if shared:
        with path.open("wb") as file:  # reserved now, so that a full disk is an error here and not a signal later
            os.posix_fallocate(file.fileno(), 0, math.prod(shape) * dtype.itemsize)
    return torch.from_file(str(path), shared=shared, size=math.prod(shape), dtype=dtype).view(shape)
