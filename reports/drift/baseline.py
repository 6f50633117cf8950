"""Accepted baselines: the summary of a results folder that drift compares, written as one JSON file and read back.

    document = freeze(read(Path("results/runs/demo-ci")), {"syn-cola": 5.0})     # `accept` writes this
    accepted = load_baseline(Path("results/accepted/demo-ci.json"))              # a Snapshot; `drift` compares two

Per cell and seed a snapshot has the score at the suite's protocol, a digest of the stored predictions, and the *facts*:
the values of manifest and settings that could explain another number. Facts that all runs share are written once at the
top of the file, and those that a cell shares once at the cell, so that a person can read the difference between two
baselines. The checksum over the canonical content guards against truncation, merge accidents and edits by hand; it is
not a signature. docs/drift.md has the format.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reports.timing.matrix import variant_of
from results.format import layout, limits
from results.format.documents.codec import from_json, keys, plain
from results.format.documents.run import COLUMN
from results.format.documents.speed import Condition, Setting, Summary
from results.format.errors import ReportError
from results.format.predictions import check_sizes
from results.format.records import PROTOCOLS, Results, Run
from results.format.trials import chosen_runs
from results.format.untrusted import (
    as_mapping,
    inside,
    items,
    load,
    mapping,
    number,
    read_bytes,
    shown,
    slug,
    text,
    whole,
)

# Facts that are keys of a manifest, and keys of config.json whose contents are facts.
FACTS = ("code_commit", "code_dirty", "code_hash", "lock_hash", "python", "platform", "device_name",
         "data_fingerprint", "encoder_hash")  # fmt: skip
SETTINGS = ("options", "training", "data", "layers", "modules", "finetuned", "start")
SCHEMA = 1
KIND = "accepted drift baseline"
LARGE, LARGE_MARGIN, SMALL_MARGIN = 10_000, 1.0, 2.0  # training examples; points (docs/drift.md)
ROUNDING = 1e-9  # the scores of equal predictions may differ by this, in points of 100
Fact = str | int | float | bool | None


@dataclass(frozen=True)
class Outcome:
    """One run as the baseline file has it. `outputs_sha256` is of its stored predictions, None without any."""

    seed: int
    run_id: str
    status: str
    score: float | None
    steps: int | None
    predecessor: str | None
    outputs_sha256: str | None
    result_sha256: str | None
    predictions_sha256: str | None
    facts: Mapping[str, Fact] = field(repr=False)

    def same_bits(self, other: Outcome) -> bool:
        """Whether status, steps and every stored prediction are equal, and so the score.

        A score is computed from the predictions by libraries that choose their kernels by the CPU. Between two
        generations of one CPU family, with every logit bit-equal, four of 26 correlations differed by up to 4e-15
        (LOG.md). So where predictions are stored their bits decide, and scores may differ by `ROUNDING`.
        """
        own, theirs = ((o.status, o.steps, o.outputs_sha256) for o in (self, other))
        if own != theirs or self.score is None or other.score is None or self.outputs_sha256 is None:
            return own == theirs and self.score == other.score
        return abs(self.score - other.score) <= ROUNDING


@dataclass(frozen=True)
class Cell:
    """One task × arm: the outcomes of its chosen trial by seed, and the training throughput by seed.

    Throughput is a ratio to the fine-tuning arm with the same seed: absolute speed drifts by 1.5 within an hour.
    """

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
    speed: tuple[Summary, ...]
    margins: Mapping[str, float]


def snapshot(results: Results, margins: Mapping[str, float] | None = None) -> Snapshot:
    """Summarise a results folder, including missing and failed runs."""
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
    return Snapshot(suite.name, suite.protocol, cells, tuple(_summary(c) for c in results.speed), margins or {})


def default_margins(results: Results) -> dict[str, float]:
    """One point for tasks of 10,000 training examples or more; two for smaller tasks, whose seeds differ more."""
    return {t.name: LARGE_MARGIN if (t.train_examples or 0) >= LARGE else SMALL_MARGIN for t in results.suite.tasks}


def read_margins(given: Iterable[str], results: Results) -> dict[str, float]:
    """Read margins of the command line: `TASK=2.5`, or `2.5` for every task."""
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
    gaps = [run for run in results.runs if run.status in ("missing", "failed")]
    if gaps:
        named = ", ".join(f"{run.task} {run.arm} seed {run.seed} ({run.status})" for run in gaps[:4])
        more = f" and {len(gaps) - 4} more" if len(gaps) > 4 else ""
        raise ReportError(
            f"{results.root}: {len(gaps)} of {len(results.runs)} runs are missing or failed: {named}{more}; "
            "run the suite to its end first"
        )
    defaults = default_margins(results)
    merged = defaults | dict(margins or {})
    for task, margin in merged.items():
        if task not in defaults:
            raise ReportError(f"margin of {shown(task)}: the suite has no such task")
        if not 0 <= margin <= 100:
            raise ReportError(f"margin of {task}: {margin:g} is not a number of points from 0 to 100")
    found = snapshot(results, merged)
    document = {
        "schema": SCHEMA, "kind": KIND, "suite": found.suite, "protocol": found.protocol,
        "results_digest": results.digest, "margins": dict(found.margins),
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
    cells = [_read_cell(entry, _facts(raw, path), path) for entry in items(raw.get("cells"), f"{path}: cells")]
    return Snapshot(
        slug(raw.get("suite"), f"{path}: suite"),
        protocol,
        {(cell.task, cell.arm): cell for cell in cells},
        tuple(_summary(from_json(Summary, c, f"{path}: speed")) for c in items(raw.get("speed"), f"{path}: speed")),
        {task: margin for task, margin in margins.items() if margin is not None},
    )


def _rates(runs: Iterable[Run]) -> dict[int, float]:
    return {run.seed: run.examples_per_second for run in runs if run.status == "done" and run.examples_per_second}


def _outcome(results: Results, run: Run) -> Outcome:
    result = predictions = outputs = None
    if run.status != "missing":
        result = hashlib.sha256(read_bytes(results.root / run.folder / layout.RESULT)).hexdigest()
        path = inside(results.root, f"{run.folder}/{layout.PREDICTIONS}", run.folder)
        if path.is_file():
            data = read_bytes(path)
            predictions, outputs = hashlib.sha256(data).hexdigest(), _outputs_digest(data, path)
    predecessor = run.manifest.predecessor
    return Outcome(
        run.seed,
        run.run_id,
        run.status,
        run.score(results.suite.protocol),
        run.steps,
        text(predecessor, 64) if predecessor else None,
        outputs,
        result,
        predictions,
        _facts_of(run),
    )


def _outputs_digest(data: bytes, path: Path) -> str:
    """sha256 of the contents of predictions.parquet, because the file's bytes change with pyarrow's version."""
    digest = hashlib.sha256()
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        check_sizes(path, file.metadata, limits.PREDICTION_ROWS)
        table = file.read()
        for name in (COLUMN.checkpoint, COLUMN.split):
            digest.update("\n".join(map(str, table[name].to_pylist())).encode("utf-8", "surrogatepass"))
        for name in (COLUMN.idx, COLUMN.label, COLUMN.prediction):
            digest.update(table[name].to_numpy().astype(np.float64).tobytes())
        logits = table[COLUMN.logits].combine_chunks()
        digest.update(np.asarray(logits.value_lengths(), dtype=np.int64).tobytes())
        digest.update(np.asarray(logits.flatten(), dtype=np.float32).tobytes())
    except (pa.ArrowException, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise ReportError(f"{path} cannot be read as predictions ({text(error, 80)}); run that part again") from None
    return digest.hexdigest()


def _facts_of(run: Run) -> dict[str, Fact]:
    """The values of a run's manifest and settings that could explain another number, in one flat object."""
    facts = {name: _plain(getattr(run.manifest, name)) for name in FACTS} | {"origin": run.origin or None}
    facts |= _flat("package", run.manifest.packages)
    facts |= _flat("device", plain(run.device))
    for name in SETTINGS:
        facts |= _flat(f"setting.{name}", run.config.content.get(name))
    for twice in ("setting.data.fingerprint", "setting.start"):  # the fingerprint is a fact already; `start` is an id
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


def _summary(condition: Condition | Summary) -> Summary:
    """A timing condition without its rounds."""
    ratios = (condition.ratio, condition.ratio_low, condition.ratio_high)
    ratio, low, high = (number(value, "speed: ratio") for value in ratios)
    setting = {name: _plain(getattr(condition, name)) for name in keys(Setting)}
    found = Summary(**setting, ratio=ratio, ratio_low=low, ratio_high=high, decided=bool(condition.decided))
    return replace(found, variant=variant_of(condition))


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
    return {text(key, 120): _plain(value) for key, value in _object(raw, "facts", path)}


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
