"""Accepted baselines: what a results folder is boiled down to, written as one JSON file and read back.

    document = freeze(read(Path("results/runs/demo-ci")), {"syn-cola": 5.0})     # what `accept` writes
    accepted = load_baseline(Path("results/accepted/demo-ci.json"))              # a Snapshot; `drift` compares two

A snapshot has, per cell and seed, the score at the suite's protocol, a digest of every stored
prediction, and the *facts*: the values of manifest and settings that could explain another number.
Facts that all runs share stand once at the top of the file, those of a cell at the cell, so that a
person can read the difference between two baselines. The checksum is over the canonical content: it
guards against truncation, merge accidents and edits by hand; it is no signature. docs/drift.md has
the format.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reports import limits
from reports.environment import as_mapping, lookup
from reports.errors import ReportError
from reports.predictions import check_sizes
from reports.results import PROTOCOLS, Results, Run
from reports.speed_matrix import variant_of
from reports.trials import chosen_runs
from reports.untrusted import inside, items, load, mapping, number, read_bytes, shown, slug, text, whole

SCHEMA = 1
KIND = "accepted drift baseline"
LARGE, LARGE_MARGIN, SMALL_MARGIN = 10_000, 1.0, 2.0  # training examples; points (docs/drift.md)
Fact = str | int | float | bool | None

# fact: where it stands in a manifest (or, failing that, in config.json)
MANIFEST: dict[str, tuple[str, ...]] = {
    "code_commit": ("code_commit",), "code_dirty": ("code_dirty",), "code_hash": ("code_hash",),
    "lock_hash": ("lock_hash",), "python": ("python",), "platform": ("platform",), "device_name": ("device_name",),
    "data_fingerprint": ("data_fingerprint",), "encoder_hash": ("encoder_hash",),
}  # fmt: skip
SETTINGS = ("options", "training", "data", "layers", "modules", "finetuned", "start")
CONDITION = ("device", "device_name", "variant", "precision", "attention", "threads", "batch_size", "length",
             "predecessor_layers", "successor_layers")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """One run as drift sees it. `outputs` is a digest of its stored predictions, None where none are stored."""

    seed: int
    run_id: str
    status: str
    score: float | None
    steps: int | None
    predecessor: str | None
    outputs: str | None
    facts: Mapping[str, Fact] = field(repr=False)
    result_sha256: str | None = None
    predictions_sha256: str | None = None

    def same_bits(self, other: "Outcome") -> bool:
        """Equal in status, steps, score and every stored prediction."""
        own, theirs = ((o.status, o.steps, o.score, o.outputs) for o in (self, other))
        return own == theirs


@dataclass(frozen=True)
class Cell:
    """One task × arm: the outcomes of its chosen trial by seed, and by seed its training throughput over that of
    the fine-tuning arm with the same seed (a ratio, because absolute speed drifts by 1.5 within an hour)."""

    task: str
    arm: str
    method: str
    trial: int
    outcomes: Mapping[int, Outcome]
    throughput: Mapping[int, float]

    @property
    def name(self) -> str:
        """`task arm`."""
        return f"{self.task} {self.arm}"

    @property
    def typical_throughput(self) -> float | None:
        """The median over seeds."""
        return median(self.throughput.values()) if self.throughput else None


@dataclass(frozen=True)
class Snapshot:
    """A suite's results as drift compares them; `margins` (points of the 0 to 100 scale) by task."""

    suite: str
    protocol: str
    cells: Mapping[tuple[str, str], Cell]
    speed: tuple[Mapping[str, Any], ...]
    margins: Mapping[str, float]


def snapshot(results: Results, margins: Mapping[str, float] | None = None) -> Snapshot:
    """Boil a results folder down, missing and failed runs included."""
    suite = results.suite
    reference = next((arm.name for arm in suite.arms if arm.method == "finetune"), None)
    cells = {}
    for task in suite.tasks:
        base = _rates(chosen_runs(results, task.name, reference, suite.protocol)) if reference else {}
        for arm in suite.arms:
            runs = chosen_runs(results, task.name, arm.name, suite.protocol)
            if runs:
                rates = _rates(runs)
                both = [seed for seed in rates if seed in base and arm.name != reference]
                ratios = {seed: round(rates[seed] / base[seed], 4) for seed in both}
                outcomes = {run.seed: _outcome(results, run) for run in runs}
                cells[task.name, arm.name] = Cell(task.name, arm.name, arm.method, runs[0].trial, outcomes, ratios)
    return Snapshot(suite.name, suite.protocol, cells, tuple(_condition(c) for c in results.speed), margins or {})


def default_margins(results: Results) -> dict[str, float]:
    """One point for tasks of 10,000 training examples or more, two for smaller ones, whose seeds differ more."""
    return {t.name: LARGE_MARGIN if (t.train_examples or 0) >= LARGE else SMALL_MARGIN for t in results.suite.tasks}


def read_margins(given: Iterable[str], results: Results) -> dict[str, float]:
    """Margins as the command line has them: `TASK=2.5`, or `2.5` for every task."""
    found: dict[str, float] = {}
    for entry in given:
        task, equals, points = entry.rpartition("=")
        try:
            value = float(points)
        except ValueError:
            raise ReportError(f"--margin {shown(entry)}: write TASK=POINTS or POINTS, for example syn-cola=5") from None
        found |= {task: value} if equals else {t.name: value for t in results.suite.tasks}
    return found


def freeze(results: Results, margins: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The baseline of a finished suite as one JSON object; raises `ReportError` while runs are missing or failed."""
    unfinished = [
        f"{run.task} {run.arm} seed {run.seed} ({run.status})"
        for run in results.runs
        if run.status in ("missing", "failed")
    ]
    if unfinished:
        more = f" and {len(unfinished) - 4} more" if len(unfinished) > 4 else ""
        raise ReportError(
            f"{results.root}: {len(unfinished)} of {len(results.runs)} runs are not there: "
            f"{', '.join(unfinished[:4])}{more}; run the suite to its end first"
        )
    merged = default_margins(results) | dict(margins or {})
    for task, margin in merged.items():
        if task not in default_margins(results):
            raise ReportError(f"margin of {shown(task)}: the suite has no such task")
        if not 0 <= margin <= 100:
            raise ReportError(f"margin of {task}: {margin:g} is no number of points from 0 to 100")
    found = snapshot(results, merged)
    document = {
        "schema": SCHEMA, "kind": KIND, "suite": found.suite, "protocol": found.protocol,
        "results_digest": results.digest, "margins": dict(found.margins),
        **_cells_document(found), "speed": [dict(condition) for condition in found.speed],
    }  # fmt: skip
    return document | {"checksum": checksum(document)}


def checksum(document: Mapping[str, Any]) -> str:
    """sha256 over the canonical JSON of everything but `checksum`."""
    content = {key: value for key, value in document.items() if key != "checksum"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


class NoBaseline(ReportError):
    """There is no baseline that could be compared: no file, or one of another schema. Exit code 4."""


def load_baseline(path: Path) -> Snapshot:
    """Read an accepted baseline. Raises `NoBaseline` where none can be compared, `ReportError` for a damaged one."""
    if not path.is_file():
        raise NoBaseline(f"{path}: no accepted baseline there; write one with python -m benchmarks accept")
    raw = load(path)
    if raw.get("kind") != KIND:
        raise ReportError(f"{path}: is no accepted baseline; name a file that python -m benchmarks accept wrote")
    if raw.get("schema") != SCHEMA:
        raise NoBaseline(
            f"{path}: baseline of schema {text(raw.get('schema'), 20)}, this program compares {SCHEMA}; accept anew"
        )
    if raw.get("checksum") != checksum(raw):
        raise ReportError(
            f"{path}: does not match its checksum, so somebody edited or cut it; restore it or accept anew"
        )
    protocol = raw.get("protocol")
    if protocol not in PROTOCOLS:
        raise ReportError(f"{path}: protocol {shown(protocol)} is none of {', '.join(PROTOCOLS)}; accept anew")
    margins = {slug(t, f"{path}: margins"): number(m, f"{path}: margins") for t, m in _object(raw, "margins", path)}
    cells = [_read_cell(entry, _facts(raw, path), path) for entry in items(raw.get("cells"), f"{path}: cells")]
    return Snapshot(
        slug(raw.get("suite"), f"{path}: suite"),
        protocol,
        {(cell.task, cell.arm): cell for cell in cells},
        tuple(_condition(mapping(c, f"{path}: speed")) for c in items(raw.get("speed"), f"{path}: speed")),
        {task: margin for task, margin in margins.items() if margin is not None},
    )


def _rates(runs: Iterable[Run]) -> dict[int, float]:
    return {run.seed: run.examples_per_second for run in runs if run.status == "done" and run.examples_per_second}


def _outcome(results: Results, run: Run) -> Outcome:
    result = predictions = outputs = None
    if run.status != "missing":
        result = hashlib.sha256(read_bytes(results.root / run.folder / "result.json")).hexdigest()
        path = inside(results.root, f"{run.folder}/predictions.parquet", run.folder)
        if path.is_file():
            data = read_bytes(path)
            predictions, outputs = hashlib.sha256(data).hexdigest(), outputs_digest(data, path)
    predecessor = run.manifest.get("predecessor")
    return Outcome(
        run.seed, run.run_id, run.status, run.score(results.suite.protocol), run.steps,
        text(predecessor, 64) if predecessor else None, outputs, facts_of(run), result, predictions,
    )  # fmt: skip


def outputs_digest(data: bytes, path: Path) -> str:
    """sha256 of what predictions.parquet says: the file's own bytes change with pyarrow's version."""
    digest = hashlib.sha256()
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        check_sizes(path, file.metadata, limits.PREDICTION_ROWS)
        table = file.read()
        for name in ("checkpoint", "split"):
            digest.update("\n".join(map(str, table[name].to_pylist())).encode("utf-8", "surrogatepass"))
        for name in ("idx", "label", "prediction"):
            digest.update(table[name].to_numpy().astype(np.float64).tobytes())
        logits = table["logits"].combine_chunks()
        digest.update(np.asarray(logits.value_lengths(), dtype=np.int64).tobytes())
        digest.update(np.asarray(logits.flatten(), dtype=np.float32).tobytes())
    except (pa.ArrowException, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise ReportError(f"{path}: not readable as predictions ({text(error, 80)}); run that part again") from None
    return digest.hexdigest()


def facts_of(run: Run) -> dict[str, Fact]:
    """What a run's manifest and settings say that could explain another number, flat."""
    facts = {name: _plain(lookup(run, path)) for name, path in MANIFEST.items()} | {"origin": run.origin or None}
    facts |= _flat("package", run.manifest.get("packages"))
    facts |= _flat("device", run.manifest.get("device") or run.config.get("device"))
    for name in SETTINGS:
        facts |= _flat(f"setting.{name}", run.config.get(name))
    for twice in ("setting.data.fingerprint", "setting.start"):  # the fingerprint has its own fact; `start` is a run id
        facts.pop(twice, None)
    return {name: value for name, value in facts.items() if value is not None}


def _flat(prefix: str, value: object) -> dict[str, Fact]:
    if isinstance(value, Mapping):
        found: dict[str, Fact] = {}
        for key, inner in value.items():
            found |= _flat(f"{prefix}.{text(key, 80)}", inner)
        return found
    return {prefix: _plain(value)}


def _plain(value: object) -> Fact:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return text(value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def _condition(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A timing condition without its rounds."""
    kept: dict[str, Any] = {key: _plain(raw.get(key)) for key in CONDITION} | {"variant": variant_of(raw)}
    kept |= {key: number(raw.get(key), f"speed: {key}") for key in ("ratio", "ratio_low", "ratio_high")}
    return kept | {"decided": bool(raw.get("decided"))}


def _cells_document(found: Snapshot) -> dict[str, Any]:
    """Common facts once, a cell's at the cell, a run's at the run."""
    common = _shared(o.facts for cell in found.cells.values() for o in cell.outcomes.values())
    cells = []
    for cell in found.cells.values():
        own = _shared(_without(o.facts, common) for o in cell.outcomes.values())
        runs = [
            {"seed": o.seed, "run_id": o.run_id, "status": o.status, "score": o.score, "steps": o.steps,
             "predecessor": o.predecessor, "outputs_sha256": o.outputs, "result_sha256": o.result_sha256,
             "predictions_sha256": o.predictions_sha256, "facts": _without(o.facts, common | own)}
            for o in cell.outcomes.values()
        ]  # fmt: skip
        throughput = {str(seed): ratio for seed, ratio in cell.throughput.items()}
        cells.append({"task": cell.task, "arm": cell.arm, "method": cell.method, "trial": cell.trial, "facts": own,
                      "throughput": throughput, "runs": runs})  # fmt: skip
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
    return {text(key, 120): _plain(value) for key, value in _object(raw, "facts", path)}


def _read_cell(entry: object, common: Mapping[str, Fact], path: Path) -> Cell:
    where = f"{path}: cells"
    raw = mapping(entry, where)
    task, arm, method = (slug(raw.get(key), where) for key in ("task", "arm", "method"))
    facts = {**common, **_facts(raw, path)}
    outcomes = [_read_outcome(run, facts, path) for run in items(raw.get("runs"), where)]
    ratios = {int(s): number(r, where) for s, r in _object(raw, "throughput", path) if s.lstrip("-").isdecimal()}
    return Cell(
        task, arm, method, whole(raw.get("trial"), where) or 0, {o.seed: o for o in outcomes},
        {seed: ratio for seed, ratio in ratios.items() if ratio},
    )  # fmt: skip


def _read_outcome(entry: object, facts: Mapping[str, Fact], path: Path) -> Outcome:
    where = f"{path}: runs"
    raw = as_mapping(entry)
    seed, status = whole(raw.get("seed"), where), raw.get("status")
    if seed is None or status not in ("done", "diverged"):
        raise ReportError(f"{where}: a run lacks a seed or is neither done nor diverged; accept anew")
    hashes = {key: text(raw.get(key), 64) or None for key in ("outputs_sha256", "result_sha256", "predictions_sha256")}
    return Outcome(
        seed, slug(raw.get("run_id"), where), status, number(raw.get("score"), where), whole(raw.get("steps"), where),
        text(raw.get("predecessor"), 64) or None, hashes["outputs_sha256"], {**facts, **_facts(raw, path)},
        hashes["result_sha256"], hashes["predictions_sha256"],
    )  # fmt: skip
