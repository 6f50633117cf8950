"""The files that hold the project together agree with each other: lock, dependencies, make targets, CI, wheel."""

from __future__ import annotations

import configparser
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
REPORT_GROUP = PYPROJECT["dependency-groups"]["report"]
GROUPS = {name: lines for name, lines in PYPROJECT["dependency-groups"].items() if name != "report"}
NAMED = {**GROUPS, **PROJECT["optional-dependencies"]}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def wanted(*names: str) -> list[Requirement]:
    lists = [PROJECT["dependencies"], *(NAMED[name] for name in names)]
    return [Requirement(line) for requirements in lists for line in requirements]


def lock_lines() -> list[str]:
    return [line for line in text("constraints.txt").splitlines() if line and not line.startswith("#")]


LOCK = {canonicalize_name(line.split("==")[0]): line.partition("==")[2] for line in lock_lines()}


# The lock


def test_each_line_of_the_lock_is_one_exact_version():
    exact = re.compile(r"[a-z0-9][a-z0-9-]*==[0-9][0-9a-z.]*")
    assert [line for line in lock_lines() if not exact.fullmatch(line)] == []
    assert len(LOCK) == len(lock_lines()), "a package stands in the lock twice"


def hash_lines() -> dict[str, str]:
    lines = [line for line in text("hashes.txt").splitlines() if not line.startswith("#")]
    return {line.split()[0]: line for line in lines}


def test_every_version_of_the_lock_has_hashes_and_no_other_version_has():
    found = hash_lines()
    hashed = re.compile(r"\S+==\S+( --hash=sha256:[0-9a-f]{64})+")
    assert [line for line in found.values() if not hashed.fullmatch(line)] == []
    assert set(lock_lines()) <= set(found)
    assert len({pin.partition("==")[0] for pin in found}) == len(found)


def test_the_cpu_builds_of_torch_are_the_lock_s_and_among_its_hashes():
    """One for each supported Python, on x86-64 and on ARM."""
    lines = [line for line in text("torch-cpu.txt").replace("\\\n", "").splitlines() if not line.startswith("#")]
    ((pin, *digests),) = map(str.split, lines)
    assert pin == f"torch=={LOCK['torch']}"
    assert len(set(digests)) == 2 * len(re.findall(r"Python :: 3\.\d+", " ".join(PROJECT["classifiers"])))
    assert set(digests) < set(hash_lines()[pin].split())


def test_whatever_installs_or_downloads_names_the_hashes():
    scripts = text("Makefile").replace("\\\n", " ") + text(".github/workflows/ci.yml")
    calls = re.findall(r"^.*pip (?:install|download) .*$", scripts, re.MULTILINE)
    assert len(calls) >= 6
    assert [line for line in calls if "--require-hashes" not in line] == []
    assert "EXTRA_INDEX" not in scripts
    assert "pip_audit --strict" in scripts


def test_an_archive_of_another_hash_is_not_installed(tmp_path):
    """pip's own answer to a constraint with hashes, which older releases do not give: what `make setup` relies on."""
    wheel = tmp_path / "own-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("own-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
        archive.writestr("own-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("own-1.0.dist-info/RECORD", "")
        archive.writestr("own.pth", "import os")
    embed = pytest.importorskip("virtualenv.seed.wheels.embed")  # not in the environment without torch
    locked = next(pin for pin in hash_lines() if pin.startswith("pip=="))
    embedded = embed.get_embed_wheel("pip", f"{sys.version_info.major}.{sys.version_info.minor}").path
    assert embedded.name.startswith(locked.replace("==", "-"))
    pip = [sys.executable, embedded / "pip", "install", "-qq", "--no-index", "--find-links", tmp_path, "own>=1"]
    pip += ["--require-hashes", "-c", tmp_path / "hashes.txt", "--target", tmp_path / "into"]
    codes = []
    for digest in (hashlib.sha256(b"").hexdigest(), hashlib.sha256(wheel.read_bytes()).hexdigest()):
        (tmp_path / "hashes.txt").write_text(f"own==1.0 --hash=sha256:{digest}\n", encoding="utf-8")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        codes.append(subprocess.run(pip, env=environment, capture_output=True, timeout=60).returncode)
        assert (tmp_path / "into/own.pth").exists() == (codes[-1] == 0)
    assert codes == [1, 0]


@pytest.mark.parametrize("requirement", wanted(*NAMED), ids=str)
def test_what_is_wanted_is_locked_within_its_range(requirement):
    assert LOCK[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_lock_holds_what_the_wanted_packages_want_in_turn():
    """Walks the metadata of what is installed here, so it sees what pip saw on this Python and platform."""
    installed = [name for name in NAMED if name != "cluster"]
    todo = [(r.name, r.extras) for r in wanted(*installed) + [Requirement(r) for r in REPORT_GROUP]]
    seen: set[tuple[str, frozenset[str]]] = set()
    missing = set()
    while todo:
        name, extras = todo.pop()
        key = (canonicalize_name(name), frozenset(extras))
        if key in seen:
            continue
        seen.add(key)
        if key[0] not in LOCK:
            missing.add(key[0])
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # an environment that needs less, such as report-without-torch
        for requirement in map(Requirement, requires):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                todo.append((requirement.name, requirement.extras))
    assert missing == set()


@pytest.mark.parametrize("requirement", wanted(*NAMED), ids=lambda r: r.name)
def test_every_dependency_is_justified(requirement):
    row = re.compile(rf"^\| `{re.escape(requirement.name)}` \| [^|]{{10,}} \|", re.MULTILINE)
    assert row.search(text("CONTRIBUTING.md")), f"CONTRIBUTING.md does not say why {requirement.name} is needed"


def test_every_justified_dependency_is_still_wanted():
    listed = re.findall(r"^\| `([\w.-]+)` \|", text("CONTRIBUTING.md"), re.MULTILINE)
    assert set(listed) == {requirement.name for requirement in wanted(*NAMED)}


def test_the_report_group_is_a_part_of_the_suite_without_torch():
    names = set(REPORT_GROUP)
    assert names <= {requirement.name for requirement in wanted("suite", "test")}
    assert not names & {"torch", "transformers", "datasets", "evaluate", "safetensors"}


# The entrances


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    ours = ("PYTHON", "SUITE", "ARGS", "MFLAGS")  # `make test ARGS=...` hands these down to what it starts
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k not in ours}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def bare_checkout(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "hashes.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def phony_targets() -> set[str]:
    return set(re.search(r"^\.PHONY:(.*)$", text("Makefile"), re.MULTILINE).group(1).split())


@needs_make
def test_make_alone_lists_every_target(bare_checkout):
    done = make(bare_checkout)
    listed = set(re.findall(r"^  ([a-z-]+) +\S", done.stdout, re.MULTILINE))
    assert done.returncode == 0, done.stderr
    assert listed == phony_targets()
    assert not (bare_checkout / ".venv").exists()


def test_every_target_the_documentation_names_exists():
    workflows = (ROOT / ".github/workflows").glob("*.yml")
    documents = (ROOT / "docs").glob("*.md")
    pages = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", ROOT / ".ci/run", *workflows, *documents]
    named = {
        target
        for page in pages
        if page.exists()
        for target in re.findall(r"(?:`|run: |[(]|^(?: {4})?)make ([a-z][a-z-]*)", page.read_text("utf-8"), re.M)
    }
    assert {"test", "lint"} <= named
    assert named <= phony_targets()


@needs_make
@pytest.mark.parametrize("python", ["no-such-python", "./old-python"])
def test_make_refuses_a_missing_or_old_python_in_one_line(bare_checkout, python):
    old = bare_checkout / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(bare_checkout, "test", f"PYTHON={python}")
    said = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert done.returncode == 2
    assert len(said) == 1
    assert "3.11" in said[0]
    assert python in said[0]
    assert not (bare_checkout / ".venv").exists()


@needs_make
def test_make_installs_again_only_when_lock_or_project_changed(bare_checkout):
    fake_python(bare_checkout / ".venv/bin/python")
    stamp = bare_checkout / ".venv/.installed"
    stamp.touch()
    newest = stamp.stat().st_mtime
    for name in ("pyproject.toml", "constraints.txt", "hashes.txt"):
        os.utime(bare_checkout / name, (newest - 10, newest - 10))
    assert make(bare_checkout, "test").stdout.split()[1:3] == ["-m", "pytest"]
    os.utime(bare_checkout / "hashes.txt", (newest + 10, newest + 10))
    assert "--require-hashes -c hashes.txt torch" in make(bare_checkout, "test", "--dry-run").stdout


def fake_python(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, 'echo "$0: $*"', ""]))
    path.chmod(0o755)
    return path


@needs_make
def test_a_wheel_is_built_of_what_is_there_now(bare_checkout):
    """setuptools packs what it finds in build/, modules of an earlier build too."""
    fake_python(bare_checkout / ".venv/bin/python", "ls build dist")
    (bare_checkout / ".venv/.installed").touch()
    for left in ("build/lib/theseus/gone.py", "dist/theseus_bench-0.0.1-py3-none-any.whl"):
        (bare_checkout / left).parent.mkdir(parents=True)
        (bare_checkout / left).touch()
    done = make(bare_checkout, "wheel")
    assert done.returncode == 0, done.stderr
    assert "-m pip wheel" in done.stdout
    assert not set(done.stdout.split()) & {"lib", "theseus_bench-0.0.1-py3-none-any.whl"}


@needs_make
def test_the_study_runs_with_and_without_an_environment_of_its_own(bare_checkout):
    fake_python(bare_checkout / "their-python")
    for python in ("./their-python", ".venv/bin/python"):  # the second is there the second time
        done = make(bare_checkout, "study-gpu", "PYTHON=./their-python", "ARGS=--minutes 9")
        assert done.stdout == f"{python}: -m benchmarks.gpu.study run study study/out --minutes 9\n", done.stderr
        fake_python(bare_checkout / ".venv/bin/python")


def test_ci_runs_tests_then_linters_then_the_drift_gate():
    lines = text(".ci/run").splitlines()
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line.startswith("make ")] == ["make test", "make lint", "make drift-demo-ci"]


def test_ci_covers_the_supported_pythons():
    supported = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    matrix = re.search(r"python-version: \[(.*)\]", text(".github/workflows/ci.yml")).group(1)
    tox = configparser.ConfigParser()
    tox.read_string(text("tox.ini"))
    digits = re.search(r"py\{([\d,]+)\}", tox["tox"]["env_list"]).group(1)
    assert set(re.findall(r"[\d.]+", matrix)) == supported
    assert {f"3.{minor[1:]}" for minor in digits.split(",")} == supported
    assert min(supported, key=lambda v: int(v[2:])) == PROJECT["requires-python"].removeprefix(">=")


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda p: p.name)
def test_workflows_pin_actions_and_hold_no_rights(workflow):
    content = workflow.read_text(encoding="utf-8")
    used = re.findall(r"uses: *(\S+)", content)
    assert used
    assert [action for action in used if not re.search(r"@[0-9a-f]{40}$", action)] == []
    assert "permissions:\n  contents: read\n" in content
    assert ": write" not in content
