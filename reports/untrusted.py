"""Read JSON and names that somebody else wrote.

A results folder may come from another lab. Nothing in it is evaluated; file names must be slugs, so
that no path leaves the folder; free text loses control characters (bidirectional overrides can make
a table lie) and is capped in length; NaN and infinities are refused because the format has none.
"""

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any

from reports.errors import ReportError

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
MAX_BYTES = 64 * 1024 * 1024
MAX_TEXT = 300


def slug(value: object, where: str) -> str:
    """A name that may become part of a path; raises `ReportError` for anything else."""
    if isinstance(value, str) and SLUG.fullmatch(value) and ".." not in value:
        return value
    raise ReportError(f"{where}: {shown(value)} is not a plain name; use letters, digits, '.', '_', '+' and '-'")


def text(value: object, limit: int = MAX_TEXT) -> str:
    """Free text without control or direction-changing characters, on one line, cut at `limit`."""
    if value is None:
        return ""
    spaced = "".join(" " if c.isspace() else c for c in str(value))
    line = " ".join("".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cf", "Cs")).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shown(value: object) -> str:
    """A short quotation of a bad value, safe inside a one-line message."""
    return repr(text(value, 60))


def inside(root: Path, relative: object, where: str) -> Path:
    """`root / relative` where every part is a slug and no link leads out of `root`."""
    parts = relative.split("/") if isinstance(relative, str) else [relative]
    for part in parts:
        slug(part, where)
    path = root / str(relative)
    if not path.resolve().is_relative_to(root.resolve()):
        raise ReportError(f"{where}: {shown(relative)} leads out of {root}; results folders may not link elsewhere")
    return path


def parse(data: bytes, where: str) -> dict[str, Any]:
    """One JSON object from bytes; anything else, NaN included, is a `ReportError`."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{where}: not readable as JSON ({text(error, 120)}); restore it or run again") from None
    if not isinstance(value, dict):
        raise ReportError(f"{where}: holds no JSON object; restore it or run that part again")
    return value


def load(path: Path) -> dict[str, Any]:
    """The JSON object in a file of at most 64 MiB; raises `ReportError`."""
    return parse(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file that is there, is plain, and is not absurdly large."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReportError(f"{path}: larger than {MAX_BYTES // 2**20} MiB; this is no results file of a suite")
        return path.read_bytes()
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None


def number(value: object, where: str) -> float | None:
    """A finite number, or None for null; raises `ReportError` for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ReportError(f"{where}: {shown(value)} is not a number; it must be a finite number or null")
    return float(value)


def real(value: object) -> float | None:
    """A number as float, None for anything else, for values that are shown and not computed with."""
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
