"""What is kept per machine: found once, never instead of a check that would fail, and nothing depends on the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from benchmarks.base import machine_cache
from benchmarks.base.errors import SuiteError
from benchmarks.models.encoder import find_encoder
from benchmarks.models.settings import Encoder
from tests import tiny


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    folder = tmp_path / "machine"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "theseus-bench"


def test_found_once_and_read_from_then_on():
    assert machine_cache.once("kind", Any, [1, "a"], lambda: {"value": 3}) == {"value": 3}
    assert machine_cache.once("kind", Any, [1, "a"], lambda: 1 / 0) == {"value": 3}
    assert machine_cache.once("kind", Any, [2, "a"], lambda: 4) == 4
    assert machine_cache.once("other", Any, [1, "a"], lambda: 5) == 5


def test_what_fails_is_not_kept(machine):
    with pytest.raises(ZeroDivisionError):
        machine_cache.once("kind", Any, 1, lambda: 1 / 0)
    assert not machine.exists()
    assert machine_cache.once("kind", Any, 1, lambda: 2) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"null"])
def test_a_damaged_file_is_as_good_as_none(damage, machine):
    machine_cache.once("kind", Any, 1, lambda: 2)
    machine_cache.path_of("kind", 1).write_bytes(damage)
    assert machine_cache.once("kind", Any, 1, lambda: 3) == 3
    assert [file.suffix for file in machine.iterdir()] == [".json"]


def test_a_home_that_takes_nothing_costs_only_time(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert [machine_cache.once("kind", Any, 1, lambda: 2) for _ in range(2)] == [2, 2]


def test_an_encoder_is_looked_at_again_when_any_of_its_files_changes(tmp_path):
    folder = tiny.save_encoder(tmp_path / "encoder")
    wanted = Encoder(name="tiny", path=str(folder), layers=4, hidden_size=32)
    assert find_encoder(wanted) == find_encoder(wanted)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 7}), encoding="utf-8")
    for _ in range(2):  # refused, and refused again
        with pytest.raises(SuiteError, match="another shape"):
            find_encoder(wanted)


LOADED = """
import sys
from benchmarks.cli.main import main
sys.argv = ["benchmarks", "plan", "demo"]
try:
    main()
finally:
    sys.stderr.write(" ".join(name for name in ("torch", "transformers", "datasets") if name in sys.modules))
"""


@pytest.mark.slow
def test_a_plan_of_what_is_known_imports_no_models_and_no_datasets():
    """4,804 runs take 3.6 s that way, and 10 s with those imports and checks."""
    first, second = (
        subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=120, env=os.environ)
        for _ in range(2)
    )
    assert first.stdout == second.stdout
    assert "26 runs" in first.stdout
    assert first.stderr.endswith("torch transformers datasets")
    assert second.stderr.endswith("torch")


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "null", '"7"', '{"a": "x"}', "[" * 100_000, '{"a": 1e999}', "\ufeff7", "{"],
    ids=lambda t: t[:12],
)
def test_a_file_of_another_shape_counts_as_missing(text: str) -> None:
    machine_cache.write("kind", 1, {"a": 7})
    machine_cache.path_of("kind", 1).write_text(text, encoding="utf-8")
    assert machine_cache.once("kind", dict[str, int], 1, lambda: {"a": 7}) in ({"a": 7}, {})
    machine_cache.path_of("kind", 1).write_text(text, encoding="utf-8")
    assert machine_cache.read("kind", int, 1) in (None, 7)
