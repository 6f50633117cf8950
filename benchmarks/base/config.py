"""The base of every section of a suite file: one typed, frozen object per concern.

An unknown key is an error that names the nearest valid one. The docstring under a field is its meaning in
docs/suites.md, which `python -m benchmarks.suites.reference` writes.
"""

from __future__ import annotations

import reprlib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.base.errors import nearest

SLUG = r"^[a-z0-9][a-z0-9-]{0,63}$"  # these names become folders

Slug = Annotated[str, Field(pattern=SLUG)]


class Config(BaseModel):
    """Base of all sections: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}: {nearest(str(key), cls.model_fields)}")
        return data


def first_line(error: ValidationError) -> str:
    """pydantic's first error as one line: the key, the problem and the given value."""
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    what = detail["msg"].removeprefix("Value error, ")
    given = detail.get("input")
    plain = not isinstance(given, dict | list | BaseModel) and detail["type"] != "missing"
    shown = f" (given: {reprlib.repr(given)})" if plain else ""
    return f"{where}: {what}{shown}" if where else f"{what}{shown}"
