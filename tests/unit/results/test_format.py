"""The results format has one definition: records that are written and read alike, docs/results.md, and nobody else.

Two things hold it. A record cannot be subscripted, so mypy finds a key that is looked up in one; and the walk through
the sources below finds code that spells a document's keys beside the records.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from results.format import layout
from results.format.bundles.pack import LIST
from results.format.documents import bundle, config, run, speed, suite
from results.format.documents.codec import (
    LEFT_OUT,
    ByName,
    Each,
    Key,
    Nested,
    as_is,
    changed,
    document,
    from_json,
    joined,
    keys,
    plain,
    spelled,
    words,
)
from results.format.errors import ReportError
from results.format.untrusted import whole

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = {
    layout.SUITE: suite.Suite,
    layout.CONFIG: config.Config,
    layout.RESULT: run.Result,
    layout.METRICS: run.Evaluation,
    layout.SPEED: speed.Speed,
    layout.MANIFEST: run.Manifest,
    layout.MARK: run.Mark,
    "Bundles": bundle.BundleList,  # bundle.json
}
MODULES = (suite, config, run, speed, bundle)
RECORDS = [found for module in MODULES for found in vars(module).values()
           if isinstance(found, type) and is_dataclass(found) and found.__module__ == module.__name__]  # fmt: skip


# records


@dataclass(frozen=True)
class Point:
    class_: Annotated[int, Key(whole)]
    note: Annotated[str, Key(words(5), absent="none")] = ""
    more: Annotated[Any, Key(as_is)] = LEFT_OUT
    origin: str = "here"


def test_a_record_is_written_and_read_by_the_names_of_its_fields():
    assert plain(Point(3, "new")) == {"class": 3, "note": "new"}
    assert document(Point(3)) == {"schema": 1, "class": 3, "note": ""}
    assert from_json(Point, {"class": 3, "note": "a long word", "unknown": 1}, "file") == Point(3, "a lo…", None)
    assert from_json(Point, {"class": 3}, "file").note == "none"
    assert changed({"unknown": 1, "more": 2}, Point, more=3) == {"unknown": 1, "more": 3}
    assert joined(Point, Point(1, "a"), class_=2) == Point(2, "a")


def test_a_wrong_value_is_named_with_its_place():
    with pytest.raises(ReportError, match="file: class: 'x' is not a whole number"):
        from_json(Point, {"class": "x"}, "file")


def test_a_config_is_the_same_run_in_every_suite_and_keeps_keys_that_are_not_known_here():
    one, other = config.Config(suite="a", task="rte"), config.Config(suite="b", task="rte")
    assert one.id == other.id != config.Config(suite="a", task="mrpc").id
    assert list(document(one))[:3] == ["suite", "schema", "task"]
    read = config.as_read(config.Config, document(one) | {"later": 1}, "config.json")
    assert config.as_read(config.Config, document(one), "config.json").id == one.id != read.id


# docs/results.md


def examples() -> Iterator[tuple[str, Any]]:
    """Every JSON example of the page with the heading it stands under."""
    for section in (ROOT / "docs" / "results.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        for block in re.findall(r"```json\n(.*?)```", section, flags=re.DOTALL):
            yield section.partition("\n")[0], json.loads(block)


def record_of(reader: Any) -> type | None:
    """The record that a reader makes, alone or in a list or an object."""
    while isinstance(reader, (Each, ByName)):
        reader = reader.one
    return reader.record if isinstance(reader, Nested) else None


def seen(record: type, value: Any, found: dict[type, set[str]]) -> None:
    """Notes the keys that an example has of each record."""
    if isinstance(value, list):
        for entry in value:
            seen(record, entry, found)
    elif isinstance(value, dict):
        found.setdefault(record, set()).update(value)
        for name, key in keys(record).items():
            if (inner := record_of(key.read)) is not None:
                seen(inner, value.get(spelled(name)), found)


def test_the_page_has_every_key_of_every_record_and_no_other():
    found: dict[type, set[str]] = {}
    for heading, value in examples():
        seen(DOCUMENTS[heading], value, found)
    whole_files = set(DOCUMENTS.values()) - {run.Evaluation}
    for record, given in found.items():
        own = {spelled(name) for name in keys(record)} | ({"schema"} if record in whole_files else set())
        assert given == own, record.__name__
    assert set(DOCUMENTS.values()) <= set(found)


def test_the_page_has_the_columns_of_the_predictions():
    section = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").partition(f"## {layout.PREDICTIONS}\n")[2]
    columns = re.findall(r"`(\w+)`", section.strip().partition("\n")[0])
    assert columns == list(keys(run.Predictions)) == list(run.COLUMN.columns().values())


# the sources

LOOK_UPS = {"get", "pop", "setdefault"}
NAMES = {layout.SUITE, layout.SPEED, layout.MANIFEST, layout.METRICS, layout.PREDICTIONS, layout.RESULT, layout.MARK,
         layout.IMPORTED_SUCCESSOR, layout.CHECKPOINTS, LIST}  # fmt: skip
KEYS = {record: {spelled(name) for name in keys(record)} for record in RECORDS}
FEW = 3


def literal(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def objects(tree: ast.Module) -> Iterator[tuple[int, set[str]]]:
    """The keys that a module spells of each object, with a line: one dict display, or one expression that a function
    looks things up in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield node.lineno, {found for key in node.keys if (found := literal(key))}
        if isinstance(node, ast.FunctionDef):
            looked_up: dict[str, tuple[int, set[str]]] = {}
            for inner in ast.walk(node):
                match inner:
                    case ast.Subscript(value=base, slice=key):
                        pass
                    case ast.Call(func=ast.Attribute(value=base, attr=name), args=[key, *_]) if name in LOOK_UPS:
                        pass
                    case _:
                        continue
                if found := literal(key):
                    looked_up.setdefault(ast.unparse(base), (inner.lineno, set()))[1].add(found)
            yield from looked_up.values()


def spelled_again(source: str) -> list[str]:
    """Where a module that imports the results format spells a record of it.

    Three keys or more, all of one record, are that record. Fewer say nothing, because `name`, `seed` or `layers` are
    keys of many documents (suite files, `plan --json`, accepted baselines); an object that has other keys as well is
    one of those.
    """
    tree = ast.parse(source)
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    if not any(module.startswith("results.format") for module in modules):
        return []
    return [
        f"line {line}: {record.__name__}"
        for line, found in objects(tree)
        for record in [next((record for record, own in KEYS.items() if len(found) >= FEW and found <= own), None)]
        if record is not None
    ]


def sources() -> list[Path]:
    return [
        path for package in ("baselines", "benchmarks", "reports") for path in sorted((ROOT / package).rglob("*.py"))
    ]


def test_no_key_of_the_format_is_spelled_outside_it():
    found = {path.relative_to(ROOT).as_posix(): spelled_again(path.read_text(encoding="utf-8")) for path in sources()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_no_file_of_the_format_is_named_outside_it():
    """But for config.json and successor: a model's file has the one name, a side of a timing the other."""
    for path in [*sources(), *sorted((ROOT / "results").rglob("*.py"))]:
        named = {literal(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))} & NAMES
        assert not named or path.name in ("layout.py", "pack.py"), (path, named)


@pytest.mark.parametrize(
    ("code", "caught"),
    [
        ('made = {"status": "done", "steps": 3, "reason": None}', True),
        ('def f(c):\n    return c["ratio"], c.get("rounds"), c["decided"]', True),
        ('def f(c):\n    return c["ratio"], c.get("rounds")', False),
        ('row = {"run_id": 1, "seed": 2, "task": 3, "estimated_seconds": 4}', False),
        ('def f(a, b):\n    return a["ratio"], b["rounds"], b["decided"]', False),
    ],
)
def test_a_record_that_is_spelled_again_is_caught(code, caught):
    assert bool(spelled_again(f"from results.format.reader import read\n{code}")) is caught
    assert spelled_again(code) == []
