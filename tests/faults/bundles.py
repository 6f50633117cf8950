"""A small results folder that agrees with itself, and archives that somebody has been at."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reports import ReportError
from results.format.bundles.importing import Imported, import_bundle
from results.format.documents.config import Config, as_read
from tests.report.make_results import make_results

SMALL: dict[str, Any] = {"tasks": ("rte",), "arms": ("predecessor", "kd", "theseus"), "seeds": (1, 2)}


def consistent(root: Path, **options: Any) -> Path:
    """`make_results`, with run ids that are what ids are: the hash of the settings."""
    make_results(root, **({"predictions": True} | SMALL | options))
    path = root / "suite.json"
    suite = json.loads(path.read_text(encoding="utf-8"))
    for run in suite["runs"]:
        folder = root / run["folder"]
        if not folder.is_dir():
            continue
        say_the_same(folder)
        new = as_read(Config, json.loads((folder / "config.json").read_text(encoding="utf-8")), "config.json").id
        for name in ("manifest.json", "result.json"):
            file = folder / name
            file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"run_id": new}))
        run |= {"run_id": new, "folder": run["folder"].rpartition("-")[0] + f"-{new}"}
        folder.rename(root / run["folder"])
    path.write_text(json.dumps(suite), encoding="utf-8")
    return root


def say_the_same(folder: Path) -> None:
    """The last line of the log gets the score that the stored predictions have."""
    last = json.loads((folder / "result.json").read_text(encoding="utf-8"))["last"]
    path = folder / "metrics.jsonl"
    *before, end = path.read_text(encoding="utf-8").splitlines()
    if last:
        end = json.dumps(json.loads(end) | {"metrics": last["metrics"], "score": last["score"]})
    path.write_text("\n".join([*before, end]) + "\n", encoding="utf-8")


def contents(bundle: Path) -> dict[str, bytes]:
    """Every entry of an archive, in order."""
    with zipfile.ZipFile(bundle) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def write(path: Path, files: Mapping[str, bytes], packed: int = zipfile.ZIP_STORED) -> Path:
    """An archive of these files as they are."""
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo()
            info.filename = name  # the constructor would cut it at a NUL
            archive.writestr(info, data, packed)
    return path


def listing(files: Mapping[str, bytes], **changes: Any) -> bytes:
    """A bundle.json that tells the truth about `files`, but for `changes`."""
    entries = [
        {"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items() if name != "bundle.json"
    ]  # fmt: skip
    document = {"schema": 1, "kind": "results bundle", "suite": "glue", "weights": False, "files": entries}
    return json.dumps(document | changes).encode()


def forged(bundle: Path, target: Path, change: Callable[[dict[str, bytes]], None], packed: int = 0) -> Path:
    """The bundle with its files changed and a list that fits them again: what hashes alone cannot tell."""
    files = contents(bundle)
    change(files)
    return write(
        target, {"bundle.json": listing(files)} | {n: d for n, d in files.items() if n != "bundle.json"}, packed
    )


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder with its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def bring(file: Path, into: Path, **options: Any) -> Imported:
    return import_bundle(file, into, into.parent, **options)


def refused(file: Path, into: Path, match: str = ".") -> str:
    """The import fails in one line and leaves nothing behind."""
    before = tree(into.parent)
    with pytest.raises(ReportError, match=match) as caught:
        bring(file, into)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert tree(into.parent) == before
    assert not into.exists() or before
    return str(caught.value)


def config_of(files: dict[str, bytes], arm: str = "kd") -> str:
    return next(name for name in files if f"/{arm}/" in name and name.endswith("config.json"))
