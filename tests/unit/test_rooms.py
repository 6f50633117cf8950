"""Rooms and doors: which folder may import which, no circle of files, and imports inside functions only with a reason.

A room is a folder of modules (a module that stands alone counts as one). `DOORS` is the whole plan of the house: a room
may import the rooms that it names, and nothing else of ours. CONTRIBUTING.md has the same plan as a map.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.base.code_hash import COMPUTES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("theseus", "baselines", "benchmarks", "results", "reports")

FORMAT = {"results.format"}
BASE = {*FORMAT, "benchmarks.base"}
LEARNING = {
    *BASE,
    "theseus",
    "baselines",
    *(f"benchmarks.{room}" for room in ("machine", "tasks", "models", "training")),
}
PLANNED = {*LEARNING, "benchmarks.suites", "benchmarks.plans"}
RUNNING = {*PLANNED, "benchmarks.runs"}
DOORS = {
    "theseus": {"theseus.errors", "theseus.models", "theseus.gates"},
    "theseus.errors": set(),
    "theseus.models": {"theseus.errors"},
    "theseus.gates": {"theseus.errors", "theseus.models"},
    "results": set(),
    "results.format": set(),
    "results.format.bundles": FORMAT,
    "baselines": {"theseus"},
    # the lab
    "benchmarks.base": FORMAT,
    "benchmarks.demo": set(),
    "benchmarks.machine": BASE,
    "benchmarks.tasks": {*BASE, "baselines", "benchmarks.demo"},
    "benchmarks.models": {*BASE, "theseus", "benchmarks.tasks"},
    "benchmarks.training": {*BASE, "baselines", "benchmarks.machine", "benchmarks.tasks"},
    "benchmarks.suites": LEARNING,
    "benchmarks.plans": LEARNING | {"benchmarks.suites"},
    "benchmarks.runs": PLANNED,
    "benchmarks.engine": RUNNING,
    "benchmarks.preflight": RUNNING,
    "benchmarks.speed": RUNNING,
    "benchmarks.submission": RUNNING,
    "benchmarks.gpu": PLANNED | {"benchmarks.preflight", "benchmarks.speed"},
    "benchmarks.cli": RUNNING | {"benchmarks.engine", "benchmarks.preflight", "benchmarks.speed",
                                 "benchmarks.submission", "results.format.bundles", "reports", "reports.words",
                                 "reports.drift", "reports.timing"},
    "benchmarks.__main__": {"benchmarks.cli", "benchmarks.machine"},
    # a benchmark imports what it times
    "benchmarks.bench": RUNNING | {"benchmarks.preflight", "benchmarks.speed", "reports.statistics", "reports.claims"},
    "benchmarks": set(),
    # from results to people
    "reports": {*FORMAT, "reports.export"},
    "reports.words": FORMAT,
    "reports.export": {*FORMAT, "reports.words", "reports.tidy"},
    "reports.tidy": FORMAT,
    "reports.statistics": FORMAT,
    "reports.timing": {*FORMAT, "reports.statistics", "reports.words"},
    "reports.claims": {*FORMAT, "reports.statistics", "reports.timing", "reports.words"},
    "reports.drift": {*FORMAT, "reports.statistics", "reports.timing", "reports.words"},
    "reports.findings": {*FORMAT, "reports.statistics", "reports.timing", "reports.claims", "reports.words"},
    "reports.page": {*FORMAT, "reports.statistics", "reports.timing", "reports.claims", "reports.findings",
                     "reports.words"},
}  # fmt: skip
WITHOUT_TORCH = {"torch", "transformers", "datasets", "evaluate", "safetensors", "accelerate"}
PACKAGED_AS = {"sklearn": "scikit-learn"}
MOST_FILES, MOST_ROOMS, MOST_HIDDEN = 14, 36, 20


def sources(root: Path = ROOT, packages: tuple[str, ...] = PACKAGES) -> dict[str, Path]:
    """Our modules by dotted name."""
    files = (file for package in packages for file in sorted((root / package).rglob("*.py")))
    names = ((".".join(file.relative_to(root).with_suffix("").parts), file) for file in files)
    return {name.removesuffix(".__init__"): file for name, file in names}


def room_of(module: str) -> str:
    """The room that a module lies in: the longest of the plan's names that it begins with."""
    return max((room for room in DOORS if f"{module}.".startswith(f"{room}.")), key=len)


def imports(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Dotted names that a tree imports anywhere in it: statements, and importlib calls with a literal name."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node, alias.name) for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield from ((node, f"{module}.{alias.name}") for alias in node.names)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node, name


def ours(name: str, modules: dict[str, Path]) -> str | None:
    """The module of ours that an imported name is or lies in."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def arrows(root: Path = ROOT) -> dict[str, set[str]]:
    """Which module imports which, all imports counted: those in functions and under TYPE_CHECKING too."""
    modules = sources(root)
    found: dict[str, set[str]] = {}
    for module, file in modules.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = {ours(name, modules) for _, name in imports(tree) if name.partition(".")[0] in PACKAGES}
        found[module] = {name for name in names if name and name != module}
    return found


def closed_doors(root: Path = ROOT) -> list[str]:
    """`module: module` for each import for which the plan has no door."""
    found = []
    for module, used in arrows(root).items():
        room = room_of(module)
        found += [f"{module}: {name}" for name in sorted(used) if room_of(name) not in DOORS[room] | {room}]
    return found


def test_every_import_goes_through_a_door():
    assert closed_doors() == []


def test_every_room_of_the_plan_exists_and_the_plan_has_no_circle():
    rooms = {room_of(module) for module in sources()}
    assert rooms == set(DOORS)
    assert len(rooms) <= MOST_ROOMS
    graphlib.TopologicalSorter(DOORS).prepare()


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def drawn(text: str) -> dict[str, set[str]]:
    """The doors on the map in CONTRIBUTING.md: a package, then its rooms with what each may use."""
    found: dict[str, set[str]] = {}
    for package, lines in re.findall(r"^    (benchmarks|reports)\n((?:     .*\n)+)", text, re.MULTILINE):
        joined = re.sub(r",\n +", ", ", lines)
        for rooms, doors in re.findall(r"^ {6}(\S.*?) {2,}(.*)$", joined, re.MULTILINE):
            used: set[str] = set()
            for name in (part for part in doors.split(", ") if part != "nothing"):
                room = full_name(package, name.rstrip("+"))
                used |= {room} | (DOORS[room] if name.endswith("+") else set())
            found |= {full_name(package, room): used for room in rooms.split(", ")}
    return found


def full_name(package: str, name: str) -> str:
    return f"{package}.{name}" if f"{package}.{name}" in DOORS else name


def test_the_map_in_contributing_is_the_plan():
    inside = {r: doors for r, doors in DOORS.items() if r.startswith(("benchmarks.", "reports"))}
    assert drawn(CONTRIBUTING) == inside
    assert drawn(CONTRIBUTING.replace("base+, tasks, theseus", "base+, machine, theseus")) != inside


def test_contributing_names_the_rooms_that_compute():
    named = re.search(r"code that can change a\s+number belongs into (.*?);", CONTRIBUTING, re.DOTALL)
    rooms = re.findall(r"`([^`]+)`", named[1] if named else "")
    assert [room.removesuffix(".py").replace("/", ".") for room in rooms] == list(COMPUTES)


def test_no_files_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(arrows()).prepare()


def test_no_folder_is_a_corridor():
    modules = [file for file in sources().values() if file.name not in ("__init__.py", "__main__.py")]
    assert {f.parent: sum(g.parent == f.parent for g in modules) for f in modules if
            sum(g.parent == f.parent for g in modules) > MOST_FILES} == {}  # fmt: skip


def hidden_imports() -> list[tuple[Path, int, str]]:
    """File, line number and text of each import of ours inside a function."""
    found = []
    for file in sources().values():
        text = file.read_text(encoding="utf-8")
        functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        for line in sorted(
            {
                node.lineno
                for function in functions
                for node, name in imports(function)
                if name.partition(".")[0] in PACKAGES and isinstance(node, ast.Import | ast.ImportFrom)
            }
        ):
            found.append((file, line, text.splitlines()[line - 1]))  # fmt: skip
    return found


def test_an_import_inside_a_function_has_its_reason_beside_it():
    hidden = hidden_imports()
    assert len(hidden) <= MOST_HIDDEN
    assert [f"{file.relative_to(ROOT)}:{line}" for file, line, text in hidden if "#" not in text] == []


@pytest.mark.parametrize(
    ("file", "code", "caught"),
    [
        ("theseus/a.py", "import baselines.kd", ["baselines.kd"]),
        ("theseus/a.py", "def f():\n    from benchmarks.engine import local", ["benchmarks.engine.local"]),
        ("baselines/a.py", "import theseus\nimport reports.words", ["reports.words"]),
        ("benchmarks/engine/a.py", "from benchmarks.runs import store", []),
        ("benchmarks/runs/a.py", "from benchmarks.engine import local", ["benchmarks.engine.local"]),
        ("benchmarks/models/a.py", "if TYPE_CHECKING:\n    from benchmarks.plans import run", ["benchmarks.plans.run"]),
        ("benchmarks/training/a.py", "importlib.import_module('benchmarks.runs.store')", ["benchmarks.runs.store"]),
        ("benchmarks/preflight/a.py", "from reports.page.page import render", ["reports.page.page"]),
        ("benchmarks/cli/a.py", "import reports", []),
        ("reports/statistics/a.py", "from reports.page import page", ["reports.page.page"]),
        ("reports/statistics/a.py", "from results.format.reader import read", []),
        ("results/format/a.py", "from benchmarks.base.errors import SuiteError", ["benchmarks.base.errors"]),
    ],
)  # fmt: skip
def test_a_wrong_import_is_caught(tmp_path, file, code, caught):
    for module in sources().values():
        place = tmp_path / module.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    (tmp_path / file).write_text(code)
    module = file.removesuffix(".py").replace("/", ".")
    assert closed_doors(tmp_path) == [f"{module}: {name}" for name in caught]


def used(package: str) -> set[str]:
    """Top-level names that a package imports from elsewhere."""
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in sources(packages=(package,)).values())
    names = {name.partition(".")[0] for tree in trees for _, name in imports(tree)}
    return names - set(PACKAGES) - set(sys.stdlib_module_names)


def test_the_report_and_the_results_format_never_need_torch():
    assert (used("reports") | used("results")) & WITHOUT_TORCH == set()


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*groups: str) -> set[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = settings["dependency-groups"] | settings["project"]["optional-dependencies"]
    wanted = settings["project"]["dependencies"] + [line for group in groups for line in named[group]]
    return {normalised(re.match(r"[\w.-]+", requirement).group()) for requirement in wanted}


@pytest.mark.parametrize(
    ("package", "groups"),
    [
        ("theseus", ()),
        ("baselines", ("suite",)),
        ("benchmarks", ("suite", "cluster", "onnx", "test")),
        ("results", ("suite",)),
        ("reports", ("suite",)),
    ],
)
def test_what_is_imported_is_declared(package, groups):
    """No module leans on a library that only happens to be installed because another one wants it."""
    assert {normalised(PACKAGED_AS.get(name, name)) for name in used(package)} - declared(*groups) == set()


IMPORT_ALL = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is not for reports")

BLOCKED = set(sys.argv[1:])
sys.meta_path.insert(0, Blocked())
import reports, results.format
for package in (results.format, reports):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_reports_import_where_torch_and_the_lab_do_not():
    blocked = WITHOUT_TORCH | {"theseus", "baselines", "benchmarks"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *sorted(blocked)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 40
