"""Dependencies point one way: theseus <- baselines <- benchmarks -> results <- reports; reports never needs torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"theseus", "baselines", "benchmarks", "reports", "results", "tests"}
MAY_IMPORT = {
    "theseus": set(),
    "baselines": {"theseus"},
    "benchmarks": {"theseus", "baselines"},
    "reports": set(),
}
# the command line is where a finished suite is handed to its report; a benchmark imports what it times
MAY_ALSO_IMPORT = {
    "benchmarks/cli.py": {"reports"},
    "benchmarks/cli_results.py": {"reports"},
    "benchmarks/bench/bench_statistics.py": {"reports"},
}
NEVER_IN_REPORTS = {"torch", "transformers", "datasets", "evaluate", "safetensors", "accelerate"}
PACKAGED_AS = {"sklearn": "scikit-learn"}


def sources(package: str, root: Path = ROOT) -> list[Path]:
    return sorted((root / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level names a file imports anywhere in it: statements, and importlib calls with a literal name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                names.add(name)
    return {name.partition(".")[0] for name in names}


def wrong_imports(package: str, root: Path = ROOT) -> list[str]:
    """`file: name` for each import of ours that the direction of dependencies forbids."""
    found = []
    for path in sources(package, root):
        relative = path.relative_to(root).as_posix()
        allowed = {package} | MAY_IMPORT[package] | MAY_ALSO_IMPORT.get(relative, set())
        forbidden = OURS - allowed | (NEVER_IN_REPORTS if package == "reports" else set())
        found += [f"{relative}: {name}" for name in sorted(imports(path) & forbidden)]
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_dependencies_point_one_way(package):
    assert sources(package), f"no Python files in {package}/"
    assert wrong_imports(package) == []


@pytest.mark.parametrize(
    ("file", "code", "caught"),
    [
        ("theseus/a.py", "import baselines.kd", ["baselines"]),
        ("theseus/a.py", "def f():\n    from benchmarks import engine", ["benchmarks"]),
        ("theseus/a.py", "from . import rates\nimport theseus.rates", []),
        ("baselines/a.py", "import theseus\nimport reports", ["reports"]),
        ("benchmarks/engine.py", "from reports import html", ["reports"]),
        ("benchmarks/cli.py", "from reports import html", []),
        ("reports/a.py", "import pandas, torch.nn", ["torch"]),
        ("reports/a.py", "import importlib\nimportlib.import_module('benchmarks.suite')", ["benchmarks"]),
        ("reports/a.py", "__import__('transformers')", ["transformers"]),
    ],
)
def test_a_wrong_import_is_caught(tmp_path, file, code, caught):
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(code)
    assert wrong_imports(path.parent.name, tmp_path) == [f"{file}: {name}" for name in caught]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [d for extra in extras for d in project["optional-dependencies"][extra]]
    return {normalised(re.match(r"[\w.-]+", requirement).group()) for requirement in wanted}


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("theseus", ()),
        ("baselines", ("suite",)),
        ("benchmarks", ("suite", "cluster", "onnx", "test")),
        ("reports", ("suite",)),
    ],
)
def test_what_is_imported_is_declared(package, extras):
    """No module leans on a library that only happens to be installed because another one wants it."""
    used = {name for path in sources(package) for name in imports(path)} - OURS - set(sys.stdlib_module_names)
    assert {normalised(PACKAGED_AS.get(name, name)) for name in used} - declared(*extras) == set()


IMPORT_ALL = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is not for reports")

BLOCKED = set(sys.argv[1:])
sys.meta_path.insert(0, Blocked())
import reports
for module in pkgutil.walk_packages(reports.__path__, "reports."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_reports_imports_where_torch_does_not():
    blocked = NEVER_IN_REPORTS | (OURS - {"reports"})
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *sorted(blocked)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(), "no module of reports was imported"
