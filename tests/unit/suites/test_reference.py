"""docs/suites.md: its tables are those of the models, every key is explained, and every example is a suite."""

from __future__ import annotations

import pkgutil
import re
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import baselines
from benchmarks.suites import reference
from benchmarks.suites.suite import Suite, load_suite
from benchmarks.tasks.table import TASKS

PAGE = reference.PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = {pkgutil.resolve_name(name) for name in re.findall(r"<!-- keys of (\S+) -->", PAGE)}
NOT_AN_ARM = "predecessor"


def models(of: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and those of its sections."""
    yield of
    todo = [field.annotation for field in of.model_fields.values()]
    while todo:
        annotation = todo.pop()
        todo += typing.get_args(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from models(annotation)


def every_model() -> set[type[BaseModel]]:
    methods = [baselines.find(name) for name in baselines.names() if name != NOT_AN_ARM]
    return {model for root in (Suite, *methods) for model in models(root)}


def keys(tree: Any) -> set[str]:
    """All keys of a suite file, whatever section they are in; of a dotted key each part."""
    if isinstance(tree, list):
        return set().union(*map(keys, tree))
    if not isinstance(tree, dict):
        return set()
    return {part for key in tree for part in key.split(".")}.union(*map(keys, tree.values()))


def test_the_tables_are_those_of_the_models():
    assert reference.written(PAGE) == PAGE, "docs/suites.md is out of date: make docs"


def test_every_section_and_every_method_is_on_the_page():
    assert every_model() == SHOWN


@pytest.mark.parametrize("model", sorted(every_model(), key=lambda m: m.__name__), ids=lambda m: m.__name__)
def test_every_key_has_a_meaning_and_stands_in_an_example(model):
    shown = set().union(*(keys(tomllib.loads(example)) for example in EXAMPLES))
    assert {name for name, field in model.model_fields.items() if not field.description} == set()
    assert set(model.model_fields) <= shown


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_a_suite(example: str, tmp_path: Path):
    whole = {"name", "extends"} & tomllib.loads(example).keys()
    path = tmp_path / "example.toml"
    path.write_text(example if whole else f'extends = "minilm"\n{example}', encoding="utf-8")
    load_suite(str(path))


def test_the_tasks_it_names_are_those_there_are():
    named = re.findall(r"`([\w-]+)`", Suite.model_fields["tasks"].description or "")
    assert sorted(named) == sorted(TASKS)


def test_a_changed_model_changes_the_page():
    stale = PAGE.replace("| `epochs` | number > 0 | `3.0` |", "| `epochs` | number > 0 | `4.0` |")
    assert stale != PAGE
    assert reference.written(stale) == PAGE
