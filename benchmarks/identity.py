"""What makes a run that run: hashes of settings and of the code that trains, and the manifest of its surroundings."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.errors import ROOT

PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "evaluate", "safetensors", "numpy", "scipy",
            "scikit-learn", "pandas", "pyarrow")  # fmt: skip

# Modules whose part in a number is already in config.json (resolved settings, the data's fingerprint): a new suite
# key or task must not turn old numbers stale.
SETTINGS = {"benchmarks", "benchmarks.suite", "benchmarks.settings", "benchmarks.arms", "benchmarks.tasks",
            "benchmarks.errors", "benchmarks.identity", "benchmarks.plan", "benchmarks.provenance", "benchmarks.store",
            "benchmarks.demo.tasks", "benchmarks.foreign", "benchmarks.limits", "benchmarks.terminal",
            "benchmarks.stopping", "benchmarks.faults", "benchmarks.outcome", "benchmarks.kept",
            "baselines"}  # fmt: skip


def digest(value: Any) -> str:
    """sha256 of a JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] in {"theseus", "baselines", "benchmarks"}}


def _without_docstrings(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


@cache
def code_hash(method: str) -> str:
    """sha256 of all our code a run of `method` executes: the runner, the method and what they import from us.

    Comments, docstrings and layout do not count. Other methods' files do not either: mending one rival leaves
    the others' numbers valid.
    """
    return hash_of("benchmarks.execute", f"baselines.{method}")


@cache
def hash_of(*modules: str) -> str:
    """sha256 of our code that these modules hold and import."""
    seen: dict[str, str] = {}
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in SETTINGS or module in seen or (found := _code_of(module)) is None:
            continue
        seen[module], imports = found
        todo += imports
    return digest(seen)


@cache
def _code_of(module: str) -> tuple[str, list[str]] | None:
    """What counts of one of our modules, and what it imports from us; None for a name that is no module."""
    path = _file(module)
    if path is None:
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = sorted(_imports(tree))
    return _without_docstrings(tree), imports


def packages(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Installed versions; those that compute are part of a run's identity, the others of its manifest."""
    return {name: _version(name) for name in names}


_version = cache(metadata.version)  # it reads the package's whole metadata: 3 ms each, and a run asks for three


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@lru_cache(maxsize=1)
def surroundings() -> dict[str, Any]:
    """The part of a manifest that is equal for all runs of a process: code, packages, lock, platform."""
    status = _git("status", "--porcelain")
    lock = ROOT / "constraints.txt"
    return {
        "code_commit": _git("rev-parse", "HEAD"),
        "code_dirty": None if status is None else bool(status),
        "lock_hash": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        "packages": packages(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
