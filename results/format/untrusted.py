"""Read JSON and names from elsewhere.

A results folder may come from another lab. Nothing in it is evaluated; file names must be slugs, so that no path leaves
the folder; free text loses control characters (bidirectional overrides can falsify a table) and is cut at a length.
Refused are NaN and infinities, repeated keys, numbers that no column can hold, and deep nesting. Sizes: `limits.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from results.format import limits
from results.format.errors import ReportError

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
MAX_TEXT = 300


def slug(value: object, where: str) -> str:
    """A name that may become part of a path; raises `ReportError` for anything else."""
    if isinstance(value, str) and SLUG.fullmatch(value) and ".." not in value:
        return value
    raise ReportError(f"{where}: {shown(value)} is not a plain name; use letters, digits, '.', '_', '+' and '-'")


def text(value: object, limit: int = MAX_TEXT) -> str:
    """Free text on one line, without control or direction-changing characters, cut at `limit`."""
    if value is None:
        return ""
    head = str(value)[: 20 * limit]  # a text of 10 MB is not cleaned to show 300 characters
    spaced = "".join(" " if c.isspace() else c for c in head)
    line = " ".join("".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs")).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shown(value: object) -> str:
    """A short quotation of a bad value, safe inside a one-line message."""
    return repr(text(value, 60))


def inside(root: Path, relative: object, where: str) -> Path:
    """`root / relative`; raises `ReportError` if a part is not a slug or a link leads out of `root`."""
    parts = relative.split("/") if isinstance(relative, str) else [relative]
    for part in parts:
        slug(part, where)
    path = root / str(relative)
    try:
        within = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop of links
        raise ReportError(f"{path}: its links do not end; remove it or restore it") from None
    if not within:
        raise ReportError(f"{where}: {shown(relative)} leads out of {root}; results folders may not link elsewhere")
    return path


def parse(data: bytes, where: str) -> dict[str, Any]:
    """One JSON object from bytes; raises `ReportError` for anything else, also for NaN or a repeated key."""
    try:
        hooks: dict[str, Any] = dict(parse_constant=_no_constant, parse_float=_finite, parse_int=_bounded)
        value = json.loads(data.decode("utf-8"), object_pairs_hook=no_key_twice, **hooks)
        _check_depth(value)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{where}: not readable as JSON ({text(error, 120)}); restore it or run again") from None
    if not isinstance(value, dict):
        raise ReportError(f"{where}: is not a JSON object; restore it or run that part again")
    return value


def load(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises `ReportError` for anything else and above the file's limit (`limits.FILES`)."""
    return parse(read_bytes(path), str(path))


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a plain file of at most `limit` bytes (default: by its name); raises `ReportError`."""
    most = limits.FILES.get(path.name, limits.OTHER_FILE) if limit is None else limit
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ReportError(f"{path}: is not a plain file; restore it or run again")
        if found.st_size <= most:
            with path.open("rb") as file:
                data = file.read(most + 1)  # it may have grown since
            if len(data) <= most:
                return data
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    raise ReportError(f"{path}: larger than {size(most)}; a suite has no such file, remove or restore it")


def as_digest(data: bytes) -> str:
    """sha256 as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(count: int) -> str:
    """Bytes as people say them: `64 MiB`."""
    for unit, name in ((limits.GIB, "GiB"), (limits.MIB, "MiB"), (limits.KIB, "KiB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"


def number(value: object, where: str) -> float | None:
    """A finite number, or None for null; raises `ReportError` for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ReportError(f"{where}: {shown(value)} is not a number; it must be a finite number or null")
    return float(value)


def real(value: object) -> float | None:
    """A number as float, None for anything else; for values that are only shown."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def whole(value: object, where: str) -> int | None:
    """A whole number, or None for null; raises `ReportError` for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or abs(value) >= 2**63:
        raise ReportError(f"{where}: {shown(value)} is not a whole number; it must be one or null")
    return int(value)


def mapping(value: object, where: str) -> dict[str, Any]:
    """A JSON object, null counting as an empty one; raises `ReportError` for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ReportError(f"{where}: expected an object, found {shown(value)}")
    return value


def flat(value: object, where: str) -> dict[str, Any]:
    """A JSON object with short, clean keys, and only numbers and short, clean text as values."""
    return {text(key, 80): inner if _is_plain(inner) else text(inner) for key, inner in mapping(value, where).items()}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float))


def items(value: object, where: str) -> list[Any]:
    """A JSON list, null counting as an empty one; raises `ReportError` for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ReportError(f"{where}: expected a list, found {shown(value)}")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError(f"{literal} is out of range")
    return value


def _bounded(literal: str) -> int:
    value = int(literal)
    if abs(value) >= limits.WHOLE_NUMBER:
        raise ValueError(f"{literal[:20]}... is out of range")
    return value


def no_key_twice(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses repeated keys: one reader might check the first value and another use the second."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {shown(key)} is repeated")
        found[key] = value
    return found


def _check_depth(value: object) -> None:
    """Refuses nesting that would overflow a recursive walk; works level by level, without recursion."""
    level = [value]
    for _ in range(limits.DEPTH):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return
    raise ValueError(f"nested more than {limits.DEPTH} deep")


def _inner(value: object) -> Iterable[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (inner for inner in found if isinstance(inner, (dict, list)))


def as_text(value: object) -> str:
    """A JSON value as a person reads it."""
    if value is None:
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text(json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value, 160)


def as_mapping(value: object) -> Mapping[str, Any]:
    """The mapping itself, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}
