"""docs/faults.md numbers its faults, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from results.format import limits

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def test_each_is_there_once_and_in_order():
    assert [int(row[0]) for row in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(ROWS) >= 40
    assert {len(row) for row in ROWS} == {4}


def test_a_fault_has_a_test_or_says_that_it_is_open():
    assert [row[0] for row in ROWS if "`tests/" not in row[3] and "to be filled" not in row[2]] == []


def test_every_named_test_exists():
    files = sorted({file for file, _ in NAMED})
    trees = {file: ast.parse((ROOT / file).read_text(encoding="utf-8")).body for file in files}
    known = {(file, node.name) for file, body in trees.items() for node in body if isinstance(node, ast.FunctionDef)}
    assert NAMED
    assert [f"{file}::{name}" for file, name in NAMED if (file, name) not in known] == []


def test_the_sizes_on_the_page_are_those_of_the_code():
    for name, largest in limits.FILES.items():
        if f"`{name}`" in PAGE and name != "imported.json":
            row = next(
                line for line in PAGE.splitlines() if line.startswith("| ") and f"`{name}`" in line and "iB" in line
            )
            assert f"{largest // limits.MIB}" in row, name
