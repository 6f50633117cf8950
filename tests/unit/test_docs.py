"""README, CONTRIBUTING and docs: every command, option, setting, path and module they name exists.

Commands are also looked for in the sources, because error messages and docstrings tell users what to run, and names of
files in their docstrings.
"""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest
import typer

from benchmarks.cli.main import app
from benchmarks.suites.file import available
from benchmarks.suites.suite import load_suite

ROOT = Path(__file__).resolve().parents[2]
OURS = ("theseus", "baselines", "benchmarks", "results", "reports")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "Makefile", *(file for package in OURS for file in sorted((ROOT / package).rglob("*.py"))))
}
COMMANDS = {
    name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for name, command in typer.main.get_command(app).commands.items()
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
CALL = re.compile(r"(?:python|\$\(PY\)) -m (benchmarks[\w.]*)(?: ([a-z-]+))?([^\n`]*)")
SETTING = re.compile(r"--set (?:'([^']+)'|([a-z][\w.-]*=[^\s`\]]+))")
# written by a command or by a user, or another project's
NO_FILES_OF_OURS = {"train.py", "six-layers/README.md",
    "gpu.md", "DIR/gpu.md", "speed.md", "my.toml", "NAME.toml", "glue_submission_formatter.py", "reproducibility.md",
    "FILE.toml", "search.toml", "study.toml", "OUTPUT/study.toml",
}  # fmt: skip
IGNORED_BY_GIT = ("results/runs",)


def spans(page: str) -> list[str]:
    """What stands in backticks within a line, outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))


def options_of(module: str) -> set[str]:
    """The options that a script of its own takes: what its source adds to its parser."""
    found = importlib.util.find_spec(module)
    if found is not None and found.submodule_search_locations:
        found = importlib.util.find_spec(f"{module}.__main__")
    assert found is not None, f"there is no module {module}"
    source = Path(str(found.origin)).read_text(encoding="utf-8")
    assert "__main__" in source or module.endswith("gpu"), f"{module} cannot be run"
    return set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', source))


def wrong_calls(text: str) -> list[str]:
    """The `python -m benchmarks…` in it that name a command or an option that there is not."""
    wrong = []
    for module, command, rest in CALL.findall(text):
        named = set(OPTION.findall(re.split(r" >| \|\|", rest)[0]))
        if module != "benchmarks":
            wrong += [f"{module} {option}" for option in named - options_of(module)]
        elif command and command not in COMMANDS:
            wrong.append(command)
        elif command:
            wrong += [f"{command} {option}" for option in named - COMMANDS[command]]
    return wrong


@pytest.mark.parametrize("file", [*PAGES, *(name for name, text in SOURCES.items() if CALL.search(text))])
def test_every_command_and_its_options_exist(file):
    assert wrong_calls((PAGES | SOURCES)[file]) == []


def test_a_command_or_option_that_is_not_there_is_found():
    assert wrong_calls("    python -m benchmarks run demo --tasks rte\n") == []
    assert wrong_calls("`python -m benchmarks walk demo`") == ["walk"]
    assert wrong_calls("`python -m benchmarks run demo --task rte` and --more") == ["run --task"]
    assert wrong_calls("python -m benchmarks.gpu --output DIR --fast") == ["benchmarks.gpu --fast"]


@pytest.mark.parametrize("page", PAGES)
def test_every_option_named_by_itself_exists(page):
    """`plan --json` is held to that command; `--json` to any."""
    scripts = {module for module, _, _ in CALL.findall(PAGES[page]) if module != "benchmarks"}
    every = {"--help"}.union(*COMMANDS.values(), *map(options_of, scripts))
    wrong = []
    for span in spans(PAGES[page]):
        first = span.split()[0]
        if first in COMMANDS or first.startswith("--"):
            wrong += [span for option in OPTION.findall(span) if option not in COMMANDS.get(first, every)]
    assert wrong == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    assert re.search(rf"^    python -m benchmarks {command}\b", PAGES["README.md"], re.MULTILINE)


def test_help_lists_the_usual_commands_first_and_cuts_no_sentence():
    assert list(COMMANDS)[:6] == ["plan", "status", "run", "reproduce", "report", "export"]
    assert [
        n for n, c in typer.main.get_command(app).commands.items() if c.get_short_help_str(63).endswith("...")
    ] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_shown_loads(page):
    for line in PAGES[page].splitlines():
        settings = [quoted or plain for quoted, plain in SETTING.findall(line) if plain != "key=value"]
        suite = re.search(r"-m benchmarks [a-z-]+ (\S+)", line)
        load_suite(suite[1] if suite and suite[1] in available() else "paper", settings)


@pytest.mark.parametrize("package", ["benchmarks", "reports"])
def test_every_room_has_a_line_in_the_readme(package):
    rooms = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    shown = re.search(rf"^{package}/ .*?(?=^[a-z]+/ )", PAGES["README.md"], re.MULTILINE | re.DOTALL)
    assert rooms == set(re.findall(r"^  ([a-z]+)/ ", shown[0] if shown else "", re.MULTILINE))


# Paths and modules


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page):
    named = re.findall(rf"(?<![\w/.-])((?:{'|'.join(OURS)}|docs|tests|\.ci)/[\w./*-]*[\w/*])", PAGES[page])
    looked_up = {path for path in named if not path.startswith(IGNORED_BY_GIT) and not re.search(r"/[A-Z]+\b", path)}
    assert sorted(path for path in looked_up if not list(ROOT.glob(path.rstrip("/")))) == []


def docstrings(file: str) -> str:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    nodes = (node for node in ast.walk(ast.parse(SOURCES[file])) if isinstance(node, documented))
    return "\n".join(ast.get_docstring(node) or "" for node in nodes)


def files_that_are_not_there(text: str) -> set[str]:
    """The names of files in it, or the ends of their paths, that fit no file of ours."""
    named = set(re.findall(r"(?<![\w/.*-])((?:[\w-]+/)*[\w.-]+\.(?:py|toml|md|txt|lock))\b", text)) - NO_FILES_OF_OURS
    folders = (ROOT / folder for folder in (*OURS, "docs", "tests"))
    ours = [f"/{path.relative_to(ROOT)}" for folder in folders for path in folder.rglob("*.*")]
    ours += [f"/{path.name}" for path in ROOT.iterdir()]
    return {name for name in named if not any(path.endswith(f"/{name}") for path in ours)}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_name_is_that_of_a_file(page):
    assert files_that_are_not_there(PAGES[page]) == set()


def test_every_file_name_in_a_docstring_is_that_of_a_file():
    found = {file: files_that_are_not_there(docstrings(file)) for file in SOURCES if file.endswith(".py")}
    assert {file: names for file, names in found.items() if names} == {}
    assert files_that_are_not_there("lease.py, engine/lease.py, gone.py, gone/lease.py") == {"gone.py", "gone/lease.py"}


@pytest.mark.parametrize("page", PAGES)
def test_every_module_and_what_is_in_it_exists(page):
    for span in spans(PAGES[page]):
        if re.fullmatch(rf"(?:{'|'.join(OURS)})(?:\.\w+)+", span):
            pkgutil.resolve_name(span)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_between_pages_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", PAGES[page]):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.is_file(), target
        headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, target
