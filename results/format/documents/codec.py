"""Records that are JSON objects: the fields of a dataclass are the keys, in the order of the file.

    @dataclass(frozen=True)
    class Seed:
        name: Annotated[str, Key(slug)]           # a key, and the function that reads its value
        origin: str = ""                          # without a Key: not in the file

    plain(Seed("kd"))                             # {"name": "kd"}
    from_json(Seed, {"name": "kd"}, "suite.json") # Seed(name="kd"); ReportError for a value that is not a name

Each key is spelled once, as the name of a field, so the type checker finds a mistyped key. A key that the file lacks is
read as null, because older folders lack later keys. Unknown keys are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, TypeVar, get_type_hints

from results.format.errors import ReportError
from results.format.untrusted import items, mapping, text

Record = TypeVar("Record")
Reader = Callable[[Any, str], Any]  # takes a JSON value and its place in words, for error messages
SCHEMA = 1


class _Left(Enum):
    OUT = 0

    def __bool__(self) -> bool:
        return False


LEFT_OUT: Any = _Left.OUT  # the value of a key that is not written


@dataclass(frozen=True)
class Key:
    """Marks a field as a key. `absent` is the value that is read if the file lacks the key."""

    read: Reader
    absent: Any = None


_known: dict[Any, dict[str, Key]] = {}


def keys(record: type) -> dict[str, Key]:
    """The keys of a record in the order of the file, under the names of their fields."""
    if record not in _known:
        hints = get_type_hints(record, include_extras=True)
        marks = {found.name: getattr(hints[found.name], "__metadata__", (None,))[0] for found in fields(record)}
        _known[record] = {name: mark for name, mark in marks.items() if isinstance(mark, Key)}
    return _known[record]


def spelled(name: str) -> str:
    """A field's key: its name without a trailing underscore, which Python's reserved words need (`class_`)."""
    return name.removesuffix("_")


def plain(record: Any) -> dict[str, Any]:
    """The record as a JSON object."""
    values = {name: getattr(record, name) for name in keys(type(record))}
    return {spelled(name): _plain(value) for name, value in values.items() if value is not LEFT_OUT}


def document(record: Any) -> dict[str, Any]:
    """The record as a whole file; the schema number comes first unless the record has a key for it."""
    content = plain(record)
    return content if "schema" in content else {"schema": SCHEMA, **content}


def written(record: Any) -> str:
    """The text of a record's file. Raises `ValueError` for NaN and infinity."""
    return json.dumps(document(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def check_schema(raw: Mapping[str, Any], where: object) -> None:
    """Raises `ReportError` for a file of another schema."""
    found = raw.get("schema")
    if found != SCHEMA:
        raise ReportError(f"{where}: schema {text(found, 20) or 'missing'}; this program reads schema {SCHEMA}")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return plain(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def from_json(record: type[Record], value: object, where: str) -> Record:
    """A record from a JSON object; raises `ReportError` for anything else."""
    raw, own = mapping(value, where), keys(record)
    values = {name: raw.get(spelled(name), key.absent) for name, key in own.items()}
    return record(**{name: key.read(values[name], f"{where}: {spelled(name)}") for name, key in own.items()})


def changed(raw: Mapping[str, Any], record: type, **values: Any) -> dict[str, Any]:
    """The JSON object `raw` with other values at some of the record's keys."""
    unknown = values.keys() - keys(record).keys()
    assert not unknown, f"{record.__name__} has no key {sorted(unknown)}"
    return {**raw, **{spelled(name): value for name, value in values.items()}}


def joined(record: type[Record], *parts: Any, **values: Any) -> Record:
    """A record whose keys come from `parts`, which are other records with some of these keys, and from `values`."""
    own = keys(record)
    found = {name: getattr(part, name) for part in parts for name in keys(type(part)) if name in own}
    return record(**{**found, **values})


# readers


def as_is(value: Any, where: str) -> Any:
    """The value itself. It is only shown, compared or hashed; code that shows it cleans it."""
    return value


Given = Annotated[Any, Key(as_is)]


def truth(value: Any, where: str) -> bool:
    """True or false; null is false."""
    return bool(value)


def words(limit: int, empty: str | None = "") -> Reader:
    """Clean text of at most `limit` characters; `empty` for null and for empty text."""
    return lambda value, where: text(value, limit) or empty


@dataclass(frozen=True)
class Nested:
    """Reads an object as a `record`. Null is a record of nulls, or None if the object is `optional`. Anything else is
    an error, or read like null in a `lenient` place, whose values are shown but not computed with."""

    record: type
    optional: bool = False
    lenient: bool = False

    def __call__(self, value: Any, where: str) -> Any:
        given = value if isinstance(value, Mapping) or not self.lenient else None
        return None if given is None and self.optional else from_json(self.record, given, where)


@dataclass(frozen=True)
class Each:
    """Reads a list, each entry with `one`; null is an empty list."""

    one: Reader

    def __call__(self, value: Any, where: str) -> tuple[Any, ...]:
        return tuple(self.one(entry, where) for entry in items(value, where))


@dataclass(frozen=True)
class ByName:
    """Reads an object with any keys: each key with `name`, each value with `one`."""

    name: Reader
    one: Reader

    def __call__(self, value: Any, where: str) -> dict[str, Any]:
        found = mapping(value, where).items()
        return {self.name(key, where): self.one(inner, f"{where}: {text(key, 60)}") for key, inner in found}
