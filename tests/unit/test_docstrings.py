"""Every call that a docstring shows fits the signature of what it calls.

A sample is an indented block that parses as Python. A name is looked up in the module, in what the sample imports, and
then in all modules, where it must be defined; a variable that the sample assigns from a call stands for the class that
the call gives back. A method of an object that the sample does not make (`optimizer.step()`) is left alone.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import textwrap
import typing
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("theseus", "baselines", "benchmarks", "results", "reports")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
UNKNOWN, AMBIGUOUS = object(), object()


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def defined() -> dict[str, list[str]]:
    """For every function and class of ours the modules that define it."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in FILES:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[node.name].append(module_of(file))
    return found


def elsewhere(name: str) -> Any:
    places = defined().get(name, [])
    if len(places) == 1:
        return getattr(importlib.import_module(places[0]), name)
    return AMBIGUOUS if places else UNKNOWN


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text


def samples(docstring: str) -> Iterator[ast.Module]:
    """The indented blocks that are Python; of a block that is not, the lines that are."""
    block: list[str] = []
    for line in [*docstring.splitlines(), "end"]:
        if line.startswith("    ") or not line.strip():
            block.append(line)
        elif text := textwrap.dedent("\n".join(block)).strip():
            block = []
            yield from parsed(text)


def parsed(text: str) -> Iterator[ast.Module]:
    try:
        yield ast.parse(text)
    except SyntaxError:
        for line in text.splitlines() if "\n" in text else ():
            yield from parsed(line.strip())


def target(function: ast.expr, known: dict[str, Any]) -> Any:
    """What is called, or UNKNOWN; a method of an object as the function that takes the object first."""
    match function:
        case ast.Name(id=name):
            return known[name] if name in known else getattr(builtins, name, None) or elsewhere(name)
        case ast.Attribute(value=value, attr=attribute):
            return getattr(target(value, known), attribute, UNKNOWN)
    return UNKNOWN


def given_back(called: Any) -> Any:
    """What a call gives back, as a class, or UNKNOWN."""
    if isinstance(called, type):
        return called
    try:
        return typing.get_type_hints(called).get("return", UNKNOWN)
    except (NameError, TypeError):
        return UNKNOWN


def misfits(sample: ast.Module, module: ModuleType) -> Iterator[str]:
    known = {"Path": Path, **vars(module)}
    made = set()
    for node in sorted(ast.walk(sample), key=lambda n: (getattr(n, "lineno", 0), -isinstance(n, ast.Call))):
        if isinstance(node, ast.ImportFrom):
            origin = importlib.import_module(str(node.module))
            known |= {alias.name: getattr(origin, alias.name) for alias in node.names}
        if isinstance(node, ast.ClassDef):
            known[node.name] = AMBIGUOUS  # a class that the sample defines itself
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            for name in (t.id for t in node.targets if isinstance(t, ast.Name)):
                known[name] = given_back(target(node.value.func, known))
                made.add(name)
        if isinstance(node, ast.Call) and (complaint := misfit(node, known, made)):
            yield complaint


def misfit(call: ast.Call, known: dict[str, Any], made: set[str]) -> str | None:
    called, shown = target(call.func, known), ast.unparse(call)
    if called is UNKNOWN:
        return f"{shown}: no such name" if isinstance(call.func, ast.Name) else None
    if (
        called is AMBIGUOUS
        or any(isinstance(a, ast.Starred) for a in call.args)
        or any(k.arg is None for k in call.keywords)
    ):
        return None
    on_object = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in made
    values = [None] * (len(call.args) + (on_object and inspect.isfunction(called)))
    try:
        inspect.signature(called).bind(*values, **{str(keyword.arg): None for keyword in call.keywords})
    except TypeError as error:
        return f"{shown}: {error}"
    except ValueError:  # a builtin without a signature
        return None
    return None


def of_file(file: Path) -> tuple[int, list[str]]:
    """How many calls a file's docstrings show, and what is wrong with them."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [sample for text in docstrings(tree) for sample in samples(text)]
    calls = sum(isinstance(node, ast.Call) for sample in found for node in ast.walk(sample))
    if not calls:
        return 0, []
    module = importlib.import_module(module_of(file))
    return calls, [complaint for sample in found for complaint in misfits(sample, module)]


def test_every_call_in_a_docstring_fits_what_it_calls():
    found = {file.relative_to(ROOT).as_posix(): of_file(file) for file in FILES}
    assert {file: wrong for file, (_, wrong) in found.items() if wrong} == {}
    assert sum(calls for calls, _ in found.values()) > 100


@pytest.mark.parametrize(
    ("sample", "wrong"),
    [
        ("join('a', 'b', also='c')", False),
        ("also(1)", True),
        ("dedent()", True),
        ("dedent('a', 'b')", True),
        ("dedent(text='a')", False),
        ("wrapper = TextWrapper(width=3)\nwrapper.fill('a', 'b')", True),
        ("wrapper = TextWrapper(width=3)\nwrapper.fill('a')", False),
        ("TextWrapper(breadth=3)", True),
        ("optimizer.step()", False),
        ("choose_layers('bottom', 12, 6)", False),  # defined elsewhere in the project
        ("choose_layers('bottom')", True),
        ("no_such_function()", True),
    ],
)
def test_what_does_not_fit_is_found(sample, wrong):
    module = ModuleType("sample")
    vars(module).update(dedent=textwrap.dedent, TextWrapper=textwrap.TextWrapper, join=lambda *parts, also: parts)
    assert bool(list(misfits(ast.parse(sample), module))) == wrong
