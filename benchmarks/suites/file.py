"""Read a suite file: `extends`, overrides from the command line, and bounds on everything in it.

    tree = read_suite(suite_path("minilm"), ["training.epochs=1"])      # plain data, which `Suite` validates

A suite may extend another: with `extends = "paper"` it takes from `paper` every key that it does not set itself.
Sections are merged key by key, but `comparison` and `arms` are replaced as a whole, and a suite with its own arms does
not take the base's per-task options.

`tasks` is a list of names, or tables `[tasks.NAME]` of the user's own data. Every file's tables become such a list and
`task.NAME.own` as soon as it is read, so that whatever follows knows one form.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.base.config import SLUG
from benchmarks.base.errors import ROOT, SuiteError, nearest
from benchmarks.suites.arms import PREDECESSOR, PRESETS, overlaid
from results.format import limits
from results.format.limits import check_size
from results.format.untrusted import shown

FOLDER = ROOT / "benchmarks" / "suites"
OF_A_TASK = re.compile(r"^tasks\.([^.]+)")
NAMING_ARMS = ("steps", "contrasts")  # a suite with its own arms does not take these from its base

PATHS = ("train", "dev")  # keys of a task of one's own that name files


def available() -> list[str]:
    """The names of the built-in suites."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if path != PRESETS)


def suite_path(name: str) -> Path:
    """The file of a built-in suite, or of a `.toml` path. Raises `SuiteError` if there is none."""
    path = Path(name) if name.endswith(".toml") or os.sep in name else FOLDER / f"{name}.toml"
    if not path.is_file() or path == PRESETS:
        raise SuiteError(f"no suite {name!r}: {nearest(name, available())} Or give the path of a .toml file")
    return path


def _set(tree: dict[str, Any], override: str) -> None:
    """Apply one `key.sub=value`; the value is TOML, or a bare string."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise SuiteError(f"--set {override!r}: write key=value, for example training.epochs=1")
    key = OF_A_TASK.sub(r"task.\1.own", key.strip())
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    *parents, last = key.split(".")
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise SuiteError(f"--set {override!r}: {part!r} is not a section")
    tree[last] = value


def _read(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A suite file as plain data, merged on top of the one that it extends."""
    if path.resolve() in extending:
        raise SuiteError(f"{path.name}: extends makes a circle: {' -> '.join(p.stem for p in extending)}")
    check_size(path, limits.SUITE, "suite file")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError also for whole numbers with thousands of digits
        raise SuiteError(f"{path}: not a TOML file: {error}") from None
    _own_tasks(tree, path)
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str) or re.fullmatch(SLUG, parent) is None:
        raise SuiteError(f"{path.name}: extends = {shown(parent)}: name one suite, beside this file or built in")
    beside = path.parent / f"{parent}.toml"
    place = beside if beside.is_file() and beside != path else suite_path(parent)
    base = _read(place, (*extending, path.resolve()))
    merged = overlaid(base, tree)
    if "comparison" in tree:
        merged["comparison"] = tree["comparison"]
    if "arms" in tree:
        merged |= {"arms": tree["arms"], **{key: tree.get(key, []) for key in NAMING_ARMS}}
        own = tree.get("task", {})
        merged["task"] = overlaid(_without_arms(base.get("task", {})), own) if isinstance(own, dict) else own
    return merged


def _own_tasks(tree: dict[str, Any], path: Path) -> None:
    """Turn tables `[tasks.NAME]` into a list of names and `task.NAME.own`, and make their paths absolute."""
    tasks, sections = tree.get("tasks"), tree.setdefault("task", {})
    if not isinstance(sections, dict):
        return
    for name, table in tasks.items() if isinstance(tasks, dict) else ():
        section: Any = sections.setdefault(name, {})
        if not isinstance(table, dict) or not isinstance(section, dict):
            raise SuiteError(f"{path.name}: tasks.{name}: write a table, [tasks.{name}], with the keys of the task")
        if table:
            section["own"] = table
    if isinstance(tasks, dict):
        tree["tasks"] = list(tasks)
    for section in sections.values():
        own = section.get("own") if isinstance(section, dict) else None
        if isinstance(own, dict):
            own |= {key: _absolute(own[key], path) for key in PATHS if isinstance(own.get(key), str)}


def _absolute(given: str, suite: Path) -> str:
    """A data file's path, which a suite file gives from its own folder, or from a folder that `$VARIABLE` names. Where
    the variable is not set it stays in the path, and the task's data is asked for by that name."""
    found = os.path.expandvars(given)
    return found if found.startswith("$") else os.path.abspath(suite.parent / found)


def _without_arms(sections: dict[str, Any]) -> dict[str, Any]:
    """The sections without what they say of the base's arms; settings of the predecessor stay."""
    result: dict[str, Any] = {}
    for task, found in sections.items():
        result[task] = {key: value for key, value in found.items() if key not in ("options", "settings")}
        if PREDECESSOR in found.get("settings", {}):
            result[task]["settings"] = {PREDECESSOR: found["settings"][PREDECESSOR]}
    return result


def _check_bounds(value: Any, where: str, depth: int = 0) -> None:
    """Refuse texts, numbers, lists and nesting that no suite needs, before anything is computed from them."""
    if depth > limits.SUITE_DEPTH:
        raise SuiteError(f"{where}: nested more than {limits.SUITE_DEPTH} deep")
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)) and abs(value) > limits.SUITE_NUMBER:
        raise SuiteError(f"{where}: a number above {limits.SUITE_NUMBER:g} is not possible here")
    if isinstance(value, (str, dict, list)):
        most = limits.SUITE_TEXT if isinstance(value, str) else limits.SUITE_ITEMS
        if len(value) > most:
            kind = "characters" if isinstance(value, str) else "entries"
            raise SuiteError(f"{where}: {len(value):,} {kind}, and {most:,} is the limit")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        _check_bounds(str(key), f"{where}: a key", depth + 1)
        _check_bounds(part, f"{where.rstrip(':')}.{key}" if depth else f"{where} {key}", depth + 1)


# Keys that may be overridden without making a suite another experiment.
NEUTRAL = ("seeds", "tasks", "name", "title", "description", "keep_successors", "strict", "data.path", "device",
           "speed", "comparison", "predecessor.per_seed", "predecessor.seed")  # fmt: skip


def _qualify(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """A suite that was overridden on the command line is not the comparable one that its file describes."""
    keys = [text.partition("=")[0].strip() for text in overrides]
    changed = [key for key in keys if key not in NEUTRAL and key.partition(".")[0] not in NEUTRAL]
    comparison = tree.get("comparison")
    if changed and isinstance(comparison, dict) and comparison.get("comparable") is True:
        reason = f"Changed on the command line: {', '.join(changed)}. {comparison.get('reason', '')}"
        tree["comparison"] = comparison | {"comparable": False, "reason": reason}


def read_suite(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A suite file as plain data, with the suites that it extends, the overrides applied, and bounds checked."""
    tree = _read(path)
    for override in overrides:
        _set(tree, override)
    _own_tasks(tree, path)
    _check_bounds(tree, f"{path.name}:")
    _qualify(tree, overrides)
    return tree
