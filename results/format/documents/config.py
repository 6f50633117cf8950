"""config.json: the settings of one run, whose hash is its id. They are only compared and hashed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar

from results.format.documents.codec import LEFT_OUT, SCHEMA, Given, Key, Nested, from_json, plain
from results.format.layout import run_id

Read = TypeVar("Read", bound="AsRead")


@dataclass(frozen=True, kw_only=True)
class AsRead:
    """A document that also keeps the object it was read from. It is false if there was no file."""

    raw: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def content(self) -> Mapping[str, Any]:
        """The whole object, unknown keys included."""
        return plain(self) if self.raw is None else self.raw

    def __bool__(self) -> bool:
        return bool(self.content)


def as_read(record: type[Read], raw: Mapping[str, Any], where: str) -> Read:
    """The document in a file's object `raw`."""
    return replace(from_json(record, raw, where), raw=raw)


@dataclass(frozen=True)
class DeviceUsed:
    """How a run computed. `class_` is the kind of processor, on which the exact bits depend."""

    device: Given = None
    precision: Given = None
    threads: Given = None
    tf32: Given = None
    attention: Given = None
    deterministic: Given = None
    class_: Given = None


@dataclass(frozen=True)
class DataUsed:
    """The data of a run. `fingerprint` is a hash of its files."""

    fingerprint: Given = None
    columns: Given = None
    labels: Given = None
    score: Given = None
    scale: Given = LEFT_OUT
    max_length: Given = None
    held_out: Given = None
    dev: Given = None


@dataclass(frozen=True)
class EncoderUsed:
    """The pretrained model that a run started from."""

    name: Given = None
    hash: Given = None


@dataclass(frozen=True)
class Config(AsRead):
    """Everything that can change a number of the run, and the suite's name."""

    suite: Given = None
    schema: Given = SCHEMA
    task: Given = None
    method: Given = None
    arm: Given = None
    seed: Given = None
    layers: Given = None
    modules: Given = None
    options: Given = None
    training: Given = None
    steps: Given = None
    device: Annotated[DeviceUsed, Key(Nested(DeviceUsed, lenient=True))] = DeviceUsed()
    data: Annotated[DataUsed, Key(Nested(DataUsed, lenient=True))] = DataUsed()
    encoder: Annotated[EncoderUsed, Key(Nested(EncoderUsed, lenient=True))] = EncoderUsed()
    predecessor: Given = None
    start: Given = None
    finetuned: Given = None
    checkpoint: Given = None
    code: Given = None
    packages: Given = None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything except the suite's name, because several suites may share a run."""
        return {name: value for name, value in self.content.items() if name != "suite"}

    @property
    def id(self) -> str:
        return run_id(self.settings)
