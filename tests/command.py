"""What a user meets: the exit code of a command, and the one line that refuses a suite."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.base.errors import ROOT, SuiteError
from benchmarks.cli.main import main
from benchmarks.suites.suite import load_suite

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def cli(*arguments: object) -> int:
    """Run the command line in this process; its exit code."""
    sys.argv = ["benchmarks", *map(str, arguments)]
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


def checkout_with(package: str, name: str, code: str, folder: Path, suite: Path) -> Command:
    """The command line of a checkout whose `package` has one module more, `name`, which lies in `folder`; it takes a
    command and its arguments after `suite`."""
    added = folder / "added"
    added.mkdir()
    (added / f"{name}.py").write_text(code, encoding="utf-8")
    (folder / "sitecustomize.py").write_text(f"import {package} as package\npackage.__path__.append({str(added)!r})\n")
    paths = {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "XDG_CACHE_HOME": str(folder / "machine")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "benchmarks", arguments[0], str(suite), *arguments[1:]]
        return subprocess.run(words, cwd=ROOT, env=os.environ | paths, capture_output=True, text=True, timeout=600)

    return run


def ids_of(run: Command, arm: str | None = None) -> set[str]:
    """The planned run ids, of one arm where it is given."""
    done = run("plan", "--json")
    assert done.returncode == 0, done.stderr
    return {one["run_id"] for one in json.loads(done.stdout)["runs"] if arm in (None, one["arm"])}


def refused(path: str, message: str, *overrides: str) -> None:
    """The suite is refused in one line that names the file and holds `message`."""
    with pytest.raises(SuiteError, match=re.escape(message)) as caught:
        load_suite(path, overrides)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(Path(path).name)
