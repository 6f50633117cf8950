"""The generated tables of docs/suites.md: every key of a suite file, taken from the models.

    python -m benchmarks.suites.reference

writes again each block between `<!-- keys of MODEL -->` and `<!-- end -->`: the model's docstring, then a row per field
with its type, bounds, default and meaning (the docstring under the field). `<!-- presets -->` begins the table of
presets.toml. The text between the blocks is written by hand; a test compares the page with the models.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from benchmarks.base.config import SLUG
from benchmarks.base.errors import ROOT
from benchmarks.suites.arms import presets

PAGE = ROOT / "docs" / "suites.md"
BLOCK = re.compile(r"<!-- (keys of ([\w.]+)|presets) -->\n.*?<!-- end -->", re.DOTALL)
WORDS = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
PATTERNS = {SLUG: "name", r"^[0-9a-f]{40}$": "40 hex digits", r"^[0-9a-f]{64}$": "64 hex digits"}


def written(page: str) -> str:
    """The page with every generated block made again from the models."""
    anchors = dict(_anchors(page))

    def block(match: re.Match[str]) -> str:
        table = _keys(pkgutil.resolve_name(match[2]), anchors) if match[2] else _presets()
        return f"<!-- {match[1]} -->\n{table}\n<!-- end -->"

    return BLOCK.sub(block, page)


def _anchors(page: str) -> Iterator[tuple[str, str]]:
    """Each model with its heading on the page, in the form of a link's target."""
    heading = ""
    for line in page.splitlines():
        if line.startswith("#"):
            heading = re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        elif line.startswith("<!-- keys of "):
            yield line.removesuffix(" -->").rpartition(".")[2], heading


def _keys(model: type[BaseModel], anchors: dict[str, str]) -> str:
    schema = model.model_json_schema()
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        default = "**required**" if field.is_required() else _default(field.get_default(call_default_factory=True))
        cells = (f"`{name}`", _type(schema["properties"][name], anchors), default, _line(field.description or ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([_line(model.__doc__ or ""), *(["", *rows] if model.model_fields else [])])


def _line(text: str) -> str:
    return " ".join(text.split())


def _type(schema: dict[str, Any], anchors: dict[str, str]) -> str:
    """A JSON schema in words: "whole number ≥ 1", "list of text", or a link to a section."""
    match schema:
        case {"$ref": str(target)}:
            name = target.rpartition("/")[2]
            return f"[section](#{anchors[name]})"
        case {"anyOf": list(options)}:
            return " or ".join(_type(option, anchors) for option in options if option != {"type": "null"})
        case {"enum": list(values)}:
            return ", ".join(f"`{_toml(value)}`" for value in values)
        case {"const": value}:
            return f"`{_toml(value)}`"
        case {"type": "array", "items": dict(items)}:
            inner = _type(items, anchors).replace("number", "numbers")
            return f"list of ({inner})" if "anyOf" in items else f"list of {inner}" if items else "list"
        case {"type": "object", "additionalProperties": dict(value)}:
            return f"by name: {_type(value, anchors)}"
        case {"type": "object", "patternProperties": dict(by_pattern)}:
            return f"by name: {_type(next(iter(by_pattern.values())), anchors)}"
        case {"type": "object"}:
            return "section"
        case {"pattern": str(pattern)}:
            return PATTERNS[pattern]
        case {"type": str(kind)}:
            bounds = ", ".join(f"{sign} {schema[key]}" for key, sign in BOUNDS.items() if key in schema)
            return f"{WORDS[kind]} {bounds}".strip()
    return "anything"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, BaseModel) and not value.model_dump(exclude_defaults=True):
        return "its defaults"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    """A value as a suite file writes it."""
    if isinstance(value, BaseModel):
        return _toml(value.model_dump(mode="json", exclude_none=True))
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }" if value else "{}"
    return json.dumps(sorted(value) if isinstance(value, frozenset) else value, ensure_ascii=False)


def _presets() -> str:
    rows = ["| preset | method | options | training |", "| --- | --- | --- | --- |"]
    for name, arm in presets().items():
        settings = (f"`{_toml(arm[key])}`" if key in arm else "" for key in ("options", "training"))
        rows.append(f"| `{name}` | {arm['method']} | {' | '.join(settings)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
