"""What is found once per machine and kept: measured rates, checks that passed, counts that need a model to be made.

    length = kept.once("lengths", [fingerprint, tokenizer], count)

A key holds everything that the value depends on: hashes of files and of our code, versions, settings. A file that
cannot be read is as good as none, so the folder may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.identity import digest


def folder() -> Path:
    """$XDG_CACHE_HOME/theseus-bench, by default under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "theseus-bench"


def path_of(kind: str, key: Any) -> Path:
    """The file of the value of `kind` for `key`, a JSON value."""
    return folder() / f"{kind}-{digest(key)[:24]}.json"


def read(kind: str, key: Any) -> Any:
    """The value, or None."""
    try:
        return json.loads(path_of(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write(kind: str, key: Any, value: Any) -> None:
    """Keep a JSON value; a reader sees the old one or the new one. Raises `OSError`."""
    path = path_of(kind, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=1) + "\n")
    Path(partial).replace(path)


def once(kind: str, key: Any, find: Callable[[], Any]) -> Any:
    """The kept value, or what `find` gives now; what it raises is not kept. A disk that takes nothing costs only the
    next call's time."""
    value = read(kind, key)
    if value is None and (value := find()) is not None:
        with contextlib.suppress(OSError):
            write(kind, key, value)
    return value
