"""What `run` and `plan` make of imported runs: done, and marked; never a model to train from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from benchmarks.runs.store import Store
from results.format.bundles.pack import pack
from tests.command import cli
from tests.faults.bundles import bring


def a_run(root, arm: str, keep_successor: bool) -> Any:
    folder = next(root.glob(f"rte/{arm}/seed-1-*")).relative_to(root).as_posix()
    return SimpleNamespace(folder=folder, keep_successor=keep_successor)


def test_an_imported_run_is_done_and_its_weights_are_no_successor(results, tmp_path):
    bring(pack(results, tmp_path / "weights.zip", weights=True).file, tmp_path / "to")
    store = Store(tmp_path / "to")
    assert store.settled(a_run(store.path, "kd", keep_successor=False))
    assert Store(results).settled(a_run(results, "theseus", keep_successor=True))
    assert not store.settled(a_run(store.path, "theseus", keep_successor=True))


def test_the_commands_pack_and_import(results, tmp_path, capfd):
    assert cli("bundle", results, "--output", tmp_path / "x.zip") == 0
    said = capfd.readouterr()
    assert said.out.strip() == str(tmp_path / "x.zip")
    assert "5 runs, sha256 " in said.err
    assert cli("import", tmp_path / "x.zip", "--results", tmp_path / "to") == 0
    said = capfd.readouterr()
    assert said.out.strip() == str(tmp_path / "to")
    assert "5 runs imported" in said.err
    (tmp_path / "x.zip").write_bytes(b"\x80\x04.")
    assert cli("import", tmp_path / "x.zip", "--results", tmp_path / "to") == 2
    said = capfd.readouterr()
    assert said.err.count("\n") == 1
    assert "is not a bundle" in said.err
