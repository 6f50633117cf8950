"""What a user meets: the exit code of a command, and the one line that refuses a suite."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchmarks.base.errors import SuiteError
from benchmarks.cli.main import main
from benchmarks.suites.suite import load_suite


def cli(*arguments: object) -> int:
    """Run the command line in this process; its exit code."""
    sys.argv = ["benchmarks", *map(str, arguments)]
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


def refused(path: str, message: str, *overrides: str) -> None:
    """The suite is refused in one line that names the file and holds `message`."""
    with pytest.raises(SuiteError, match=re.escape(message)) as caught:
        load_suite(path, overrides)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(Path(path).name)
