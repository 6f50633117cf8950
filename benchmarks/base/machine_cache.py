"""Values found once per machine and kept: step times, checks that passed, counts that need a model to be made.

    length = machine_cache.once("lengths", [fingerprint, tokenizer], count)

A key holds everything that the value depends on: hashes of files and of our code, versions, settings. A file that
cannot be read counts as missing, so the folder may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from results.format.files import replace_text
from results.format.layout import digest


def folder() -> Path:
    """$XDG_CACHE_HOME/theseus-bench, by default under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "theseus-bench"


def path_of(kind: str, key: Any) -> Path:
    """The file that holds the value of `kind` for `key` (a JSON value)."""
    return folder() / f"{kind}-{digest(key)[:24]}.json"


def read(kind: str, key: Any) -> Any:
    """The value, or None."""
    try:
        return json.loads(path_of(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write(kind: str, key: Any, value: Any) -> None:
    """Cache a JSON value; a reader sees either the old or the new one, whole. Raises `OSError`."""
    path = path_of(kind, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(value, indent=1) + "\n")


def once(kind: str, key: Any, find: Callable[[], Any]) -> Any:
    """The cached value, or what `find` returns now, which is then cached. Exceptions are not cached. If the cache
    cannot be written, the value is computed again next time."""
    value = read(kind, key)
    if value is None and (value := find()) is not None:
        with contextlib.suppress(OSError):
            write(kind, key, value)
    return value


@contextlib.contextmanager
def one_at_a_time(kind: str) -> Iterator[None]:
    """Of commands that start together here one finds the values of `kind`; the others wait and then read them."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # a home that cannot be written to keeps nothing either
            folder().mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(folder() / f"{kind}.lock"))
        yield
