"""Accepted baselines: a snapshot of results, written as one JSON file and read back.

    found = accepted(read(Path("results/runs/demo-ci")), {"syn-cola": 5.0})      # a Snapshot; `drift` compares two
    baseline_document(found, digest)                                             # `accept` writes this
    load_baseline(Path("results/accepted/demo-ci.json"))                         # the Snapshot, read back

Facts that all runs share are written once at the top of the file, and those that a cell shares once at the cell, so
that a person can read the difference between two baselines. The checksum over the canonical content guards against
truncation, merge accidents and edits by hand; it is not a signature. docs/drift.md has the format.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reports.drift.margins import checked_margins, macro_margin, spreads
from reports.drift.snapshot import Cell, Fact, Outcome, Snapshot, as_fact, snapshot, summary
from reports.statistics.cells import MACRO
from results.format.documents.codec import from_json, plain
from results.format.documents.speed import Summary
from results.format.errors import ReportError
from results.format.records import PROTOCOLS, Results
from results.format.untrusted import as_mapping, items, load, mapping, number, shown, slug, text, whole

SCHEMA = 1
KIND = "accepted drift baseline"


def accepted(results: Results, margins: Mapping[str, float] | None = None) -> Snapshot:
    """The snapshot of a finished suite, with the margin of every task and of the macro; raises `ReportError` where a
    run or a score is missing."""
    gaps = [run for run in results.runs if run.status in ("missing", "failed")]
    _refuse(results, [(run.task, run.arm, run.seed, run.status) for run in gaps], "missing or failed",
            "run the suite to its end first")  # fmt: skip
    chosen = checked_margins(results, margins or {})
    macro = chosen.pop(MACRO, None)
    found = snapshot(results, chosen)
    unscored = [
        (cell.task, cell.arm, outcome.seed, f"no score at protocol {found.protocol}")
        for cell in found.cells.values()
        for outcome in cell.outcomes.values()
        if outcome.status == "done" and outcome.score is None
    ]
    _refuse(results, unscored, "without a score", "what has no score cannot be compared later; run them again")
    return replace(found, macro_margin=macro_margin(found) if macro is None else macro)


def _refuse(results: Results, runs: Sequence[tuple[str, str, int, str]], what: str, advice: str) -> None:
    """Raise `ReportError` that names some of the runs, unless there are none."""
    if runs:
        named = ", ".join(f"{task} {arm} seed {seed} ({why})" for task, arm, seed, why in runs[:4])
        more = f" and {len(runs) - 4} more" if len(runs) > 4 else ""
        raise ReportError(
            f"{results.root}: {len(runs)} of {len(results.runs)} runs are {what}: {named}{more}; {advice}"
        )


def baseline_document(found: Snapshot, digest: str) -> dict[str, Any]:
    """A snapshot as the JSON object that `load_baseline` reads."""
    spread = spreads(found)
    document = {
        "schema": SCHEMA, "kind": KIND, "suite": found.suite, "protocol": found.protocol,
        "results_digest": digest, "margins": dict(found.margins),
        "spread": {name: round(sd, 4) for name, sd in spread.items() if name != MACRO},
        "macro": {"tasks": list(found.macro_tasks), "margin": found.macro_margin,
                  "spread": round(spread[MACRO], 4) if MACRO in spread else None},
        **_cells_document(found), "speed": [plain(condition) for condition in found.speed],
    }  # fmt: skip
    return document | {"checksum": checksum(document)}


def checksum(document: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of everything but `checksum`."""
    content = {key: value for key, value in document.items() if key != "checksum"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


class NoBaseline(ReportError):
    """No baseline can be compared: the file is missing or has another schema. Exit code 4."""


def load_baseline(path: Path) -> Snapshot:
    """Read an accepted baseline. Raises `NoBaseline` where none can be compared, `ReportError` for a damaged one."""
    if not path.is_file():
        raise NoBaseline(f"{path}: there is no accepted baseline; write one with python -m benchmarks accept")
    raw = load(path)
    if raw.get("kind") != KIND:
        raise ReportError(f"{path} is not an accepted baseline; name a file that python -m benchmarks accept wrote")
    if raw.get("schema") != SCHEMA:
        schema = text(raw.get("schema"), 20)
        raise NoBaseline(f"{path} has schema {schema}, but this program compares schema {SCHEMA}; accept again")
    if raw.get("checksum") != checksum(raw):
        raise ReportError(f"{path} does not match its checksum: it was edited or cut; restore it or accept again")
    protocol = raw.get("protocol")
    if protocol not in PROTOCOLS:
        raise ReportError(f"{path}: protocol {shown(protocol)} is not one of {', '.join(PROTOCOLS)}; accept again")
    margins = {slug(t, f"{path}: margins"): number(m, f"{path}: margins") for t, m in _object(raw, "margins", path)}
    macro = mapping(raw.get("macro"), f"{path}: macro")
    cells = [_read_cell(entry, _facts(raw, path), path) for entry in items(raw.get("cells"), f"{path}: cells")]
    return Snapshot(
        slug(raw.get("suite"), f"{path}: suite"),
        protocol,
        {(cell.task, cell.arm): cell for cell in cells},
        tuple(summary(from_json(Summary, c, f"{path}: speed")) for c in items(raw.get("speed"), f"{path}: speed")),
        {task: margin for task, margin in margins.items() if margin is not None},
        tuple(slug(task, f"{path}: macro") for task in items(macro.get("tasks"), f"{path}: macro")),
        number(macro.get("margin"), f"{path}: macro"),
    )


def _cells_document(found: Snapshot) -> dict[str, Any]:
    """The cells, with facts common to all at the top, a cell's facts at the cell and a run's at the run."""
    common = _shared(o.facts for cell in found.cells.values() for o in cell.outcomes.values())
    cells = []
    for cell in found.cells.values():
        own = _shared(_without(o.facts, common) for o in cell.outcomes.values())
        named = {name: getattr(cell, name) for name in ("task", "arm", "method", "trial")}
        throughput = {str(seed): ratio for seed, ratio in cell.throughput.items()}
        runs = [asdict(o) | {"facts": _without(o.facts, common | own)} for o in cell.outcomes.values()]
        cells.append({**named, "facts": own, "throughput": throughput, "runs": runs})
    return {"facts": common, "cells": cells}


def _shared(all_facts: Iterable[Mapping[str, Fact]]) -> dict[str, Fact]:
    listed = list(all_facts)
    first = listed[0] if listed else {}
    return {key: value for key, value in first.items() if all(key in f and f[key] == value for f in listed)}


def _without(facts: Mapping[str, Fact], known: Mapping[str, Fact]) -> dict[str, Fact]:
    return {key: value for key, value in facts.items() if key not in known}


def _object(raw: Mapping[str, Any], key: str, path: Path) -> Iterable[tuple[str, Any]]:
    return mapping(raw.get(key), f"{path}: {key}").items()


def _facts(raw: Mapping[str, Any], path: Path) -> dict[str, Fact]:
    return {text(key, 120): as_fact(value) for key, value in _object(raw, "facts", path)}


def _read_cell(entry: object, common: Mapping[str, Fact], path: Path) -> Cell:
    where = f"{path}: cells"
    raw = mapping(entry, where)
    task, arm, method = (slug(raw.get(key), where) for key in ("task", "arm", "method"))
    facts = {**common, **_facts(raw, path)}
    outcomes = [_read_outcome(run, facts, path) for run in items(raw.get("runs"), where)]
    ratios = {int(s): number(r, where) for s, r in _object(raw, "throughput", path) if s.lstrip("-").isdecimal()}
    throughput = {seed: ratio for seed, ratio in ratios.items() if ratio}
    return Cell(task, arm, method, whole(raw.get("trial"), where) or 0, {o.seed: o for o in outcomes}, throughput)


def _read_outcome(entry: object, facts: Mapping[str, Fact], path: Path) -> Outcome:
    where = f"{path}: runs"
    raw = as_mapping(entry)
    seed, status = whole(raw.get("seed"), where), raw.get("status")
    if seed is None or status not in ("done", "diverged"):
        raise ReportError(f"{where}: a run lacks a seed or is neither done nor diverged; accept again")
    names = ("predecessor", "outputs_sha256", "result_sha256", "predictions_sha256")
    return Outcome(
        seed,
        slug(raw.get("run_id"), where),
        status,
        number(raw.get("score"), where),
        whole(raw.get("steps"), where),
        **{name: text(raw.get(name), 64) or None for name in names},
        facts={**facts, **_facts(raw, path)},
    )
