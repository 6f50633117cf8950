"""Values found once per machine and kept: step times, checks that passed, counts that need a model to be made.

    length = machine_cache.once("lengths", list[int], [fingerprint, tokenizer], count)

A key holds everything that the value depends on: hashes of files and of our code, versions, settings. A file that
cannot be read, or that does not hold a value of the type that is asked for, counts as missing, so the folder may be
deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter

from results.format.errors import UserError
from results.format.files import replace_text
from results.format.layout import digest
from results.format.untrusted import file_digest

LARGEST = 64 * 2**20  # bytes; the lengths of QQP's sentences take 2 MB


def folder() -> Path:
    """$XDG_CACHE_HOME/theseus-bench, by default under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "theseus-bench"


def path_of(kind: str, key: Any) -> Path:
    """The file that holds the value of `kind` for `key` (a JSON value)."""
    return folder() / f"{kind}-{digest(key)[:24]}.json"


def read(kind: str, like: Any, key: Any) -> Any:
    """The value, of the type `like`, or None."""
    try:
        path = path_of(kind, key)
        if path.stat().st_size > LARGEST:
            return None
        return TypeAdapter(like).validate_json(path.read_bytes())
    except (OSError, RuntimeError, ValueError):  # no file; no home to look for one; another value
        return None


def write(kind: str, key: Any, value: Any) -> None:
    """Cache a JSON value; a reader sees either the old or the new one, whole. Where nothing can be written, nothing is
    kept, and the value is computed again next time."""
    with contextlib.suppress(OSError, RuntimeError):
        path = path_of(kind, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(value, indent=1) + "\n")


def once(kind: str, like: Any, key: Any, find: Callable[[], Any]) -> Any:
    """The cached value, or what `find` returns now, which is then cached. Exceptions are not cached."""
    value = read(kind, like, key)
    if value is None and (value := find()) is not None:
        write(kind, key, value)
    return value


def made(kind: str, key: Any, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills once; it is made anew if its files are not as they were. Raises `UserError` if the
    cache cannot be written."""
    place = path_of(kind, key).with_suffix("")
    with one_at_a_time(kind):
        if (kept := read(kind, dict[str, str], key)) is None or kept != _digests(place):
            try:
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                make(place)
                write(kind, key, _digests(place))
            except OSError as error:
                raise UserError(f"{place} cannot be written ({error.strerror}): name another XDG_CACHE_HOME") from None
    return place


def _digests(place: Path) -> dict[str, str]:
    return {str(path.relative_to(place)): file_digest(path) for path in sorted(place.rglob("*")) if path.is_file()}


@contextlib.contextmanager
def one_at_a_time(kind: str) -> Iterator[None]:
    """Of commands that start together here one finds the values of `kind`; the others wait and then read them."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, RuntimeError):  # a home that cannot be written to keeps nothing either
            folder().mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(folder() / f"{kind}.lock"))
        yield
