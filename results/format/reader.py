"""Read a results folder (docs/results.md) into typed objects and one flat table.

    from results.format.reader import read, export_table
    results = read(Path("results/runs/minilm"))     # suite, runs in planned order, timing
    frame = export_table(Path("results/runs/minilm"))

Later fields (trials, held-out data, steps, sweeps) may be absent, so that older folders still render. Nothing in a
results folder is executed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from results.format import layout, limits
from results.format.documents.codec import check_schema, from_json, joined
from results.format.documents.config import AsRead, Config, as_read
from results.format.documents.run import Evaluation, Manifest, read_result
from results.format.documents.speed import Speed
from results.format.documents.suite import Arm, Planned, Suite
from results.format.errors import ReportError
from results.format.imported import file_is_imported, marked_arms, run_bundle
from results.format.records import Results, Run
from results.format.trials import chosen_trial
from results.format.untrusted import inside, load, parse, read_bytes, size

SETTINGS = ((layout.CONFIG, Config), (layout.MANIFEST, Manifest))
COLUMNS = (
    "suite", "task", "method", "arm", "seed", "status", "protocol", "metric", "value", "score", "steps", "epochs",
    "layers", "parameters", "trainable_parameters", "train_seconds", "examples_per_second", "peak_memory_bytes",
    "run_id", "trial", "chosen", "origin",
)  # fmt: skip


def read(folder: Path) -> Results:
    """Read a results folder; raises `ReportError` if suite.json is missing or a file is broken."""
    root = Path(folder)
    path = root / layout.SUITE
    if not path.is_file():
        raise ReportError(f"{root}: no {layout.SUITE}; give the folder that `python -m benchmarks run` wrote")
    notes: list[str] = []
    digest = hashlib.sha256()
    suite = _checked(from_json(Suite, _document(path, digest), str(path)), path)
    _check_count(suite, path)
    _check_unique(suite.runs, path)
    trials = {arm.name: len(arm.trials) for arm in suite.arms}
    runs = tuple(_run(root, planned, suite, trials, notes, digest) for planned in suite.runs)
    runs = _without_start(runs, suite)
    found = (path for path in root.glob(f"*/*/seed-*/{layout.RESULT}") if path.is_file())
    left_out = len({path.parent.relative_to(root).as_posix() for path in found} - {run.folder for run in runs})
    timing = _speed(root, digest)
    suite = replace(suite, arms=marked_arms(suite.arms, runs))
    imported = frozenset(name for name in (layout.SUITE, layout.SPEED) if file_is_imported(root, name))
    return Results(root, suite, runs, timing, left_out, tuple(notes), digest.hexdigest()[:16], imported)


def export_table(folder: Path) -> pd.DataFrame:
    """One row per run × protocol × metric, in planned order, with exactly `COLUMNS`.

    `value` is raw (0 to 1, correlations -1 to 1), `score` the task's score (0 to 100, the same for every metric of a
    run and protocol). A diverged or failed run has one row per protocol with null metric, value and score. A missing
    run has no row. Suites that set data aside have `held_out` rows. `chosen` says whether the run's trial is the one
    that counts at the row's protocol. Raises `ReportError`.
    """
    results = read(folder)
    rows = [row for run in results.runs if run.status != "missing" for row in _rows(results, run)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    whole_numbers = ("seed", "steps", "layers", "parameters", "trainable_parameters", "peak_memory_bytes", "trial")
    kinds: dict[str, str] = dict.fromkeys(whole_numbers, "Int64") | {"chosen": "bool"}
    kinds |= dict.fromkeys(("value", "score", "epochs", "train_seconds", "examples_per_second"), "float64")
    kinds |= {name: "str" for name in COLUMNS if name not in kinds}
    return frame.astype(kinds)


def _document(path: Path, digest: Any) -> dict[str, Any]:
    """The JSON object of a file of our schema, whose bytes `digest` counts in."""
    data = read_bytes(path)
    digest.update(data)
    raw = parse(data, str(path))
    check_schema(raw, path)
    return raw


def _rows(results: Results, run: Run) -> Iterator[tuple[Any, ...]]:
    tail = (
        run.steps, run.epochs, run.layers, run.parameters, run.trainable_parameters, run.train_seconds,
        run.examples_per_second, run.peak_memory_bytes, run.run_id, run.trial,
    )  # fmt: skip
    for protocol in results.protocols:
        checkpoint = run.at(protocol)
        if run.status == "done" and checkpoint is None:
            continue
        chosen = run.trial == chosen_trial(results, run.task, run.arm, protocol)
        head = (results.suite.name, run.task, run.method, run.arm, run.seed, run.status, protocol)
        metrics = dict(checkpoint.metrics) if checkpoint else {}
        for metric, value in metrics.items() or [(None, None)]:
            yield (*head, metric, value, checkpoint.score if checkpoint else None, *tail, chosen, run.origin)


def _checked(suite: Suite, path: Path) -> Suite:
    """The suite, with names in place of missing titles; raises `ReportError` for missing or repeated names."""
    for kind, names in (("tasks", [t.name for t in suite.tasks]), ("arms", [a.name for a in suite.arms])):
        if not names or len(set(names)) != len(names):
            raise ReportError(f"{path}: {kind} must be present and have different names; correct the suite")
    if len(set(suite.steps)) != len(suite.steps) or not set(suite.steps) <= {arm.name for arm in suite.arms}:
        raise ReportError(f"{path}: steps must name arms of the suite, each once; correct the suite")
    if not {name for c in suite.contrasts for name in (c.first, c.second)} <= {arm.name for arm in suite.arms}:
        raise ReportError(f"{path}: contrasts must name arms of the suite; correct the suite")
    tasks = tuple(replace(task, title=task.title or task.name) for task in suite.tasks)
    arms = [replace(arm, title=arm.title or arm.name, method=arm.method or arm.name) for arm in suite.arms]
    return replace(suite, title=suite.title or suite.name, tasks=tasks, arms=_told_apart(arms))


def _told_apart(arms: list[Arm]) -> tuple[Arm, ...]:
    """Add the depth to titles that arms of several depths share, because lists and legends show titles."""
    depths = Counter(title for title, _ in {(arm.title, arm.layers) for arm in arms})
    return tuple(
        replace(arm, title=f"{arm.title}, {arm.layers} layers") if depths[arm.title] > 1 and arm.layers else arm
        for arm in arms
    )


STARTED = ("theseus", "kd", "pkd")  # methods that always take a predecessor


def _without_start(runs: tuple[Run, ...], suite: Suite) -> tuple[Run, ...]:
    """The runs, in which those that can never start, because their predecessor diverged, count as failed."""
    diverged = {(run.task, run.seed) for run in runs if run.method == "predecessor" and run.status == "diverged"}
    starts = {run.arm for run in runs if run.manifest.predecessor or run.method in STARTED}
    if not suite.predecessor_per_seed:
        tasks = {task for task, _ in diverged}
        diverged |= {(task, seed) for task in tasks for seed in suite.seeds}
    lost = [run.status == "missing" and run.arm in starts and (run.task, run.seed) in diverged for run in runs]
    why = "its predecessor diverged"
    return tuple(
        replace(run, status="failed", reason=why) if gone else run for run, gone in zip(runs, lost, strict=True)
    )


def _check_count(suite: Suite, path: Path) -> None:
    cells, runs = len(suite.tasks) * len(suite.arms), len(suite.runs)
    for count, limit, what in ((cells, limits.CELLS, "cells"), (runs, 2 * limits.PLANNED_RUNS, "runs")):
        if count > limit:
            raise ReportError(f"{path}: {count:,} {what}, and {limit:,} is the limit of a suite; split it")


def _run(root: Path, planned: Planned, suite: Suite, trials: Mapping[str, int], notes: list[str], digest: Any) -> Run:
    """One planned run, with its files if it has any. `trials`: their number by arm."""
    where = f"{root / layout.SUITE}: runs"
    folder = inside(root, planned.folder, f"{where}: folder")
    if planned.arm not in trials or all(planned.task != task.name for task in suite.tasks):
        raise ReportError(f"{where}: run {planned.run_id} names a task or arm the suite lacks; plan it again")
    if planned.seed is None:
        raise ReportError(f"{where}: run {planned.run_id} has no seed; plan the suite again")
    if not 0 <= planned.trial < trials[planned.arm]:
        raise ReportError(f"{where}: run {planned.run_id} is of a trial its arm lacks; plan the suite again")
    run = joined(Run, planned)
    if not (folder / layout.RESULT).is_file():
        if folder.exists():
            notes.append(f"{run.folder} has no {layout.RESULT} and is shown as missing")
        return run
    return _with_files(root, run, notes, digest)


def _with_files(root: Path, run: Run, notes: list[str], digest: Any) -> Run:
    path = inside(root, f"{run.folder}/{layout.RESULT}", run.folder)
    result = read_result(_document(path, digest), str(path))
    if result.run_id != run.run_id:
        raise ReportError(f"{path}: belongs to another run than the planned {run.run_id}; move it away and run again")
    config, manifest = (_optional(root, run, name, kind, notes) for name, kind in SETTINGS)
    if config and (config.task, config.method, config.seed) != (run.task, run.method, run.seed):
        raise ReportError(f"{path.parent}: config.json is of another task, method or seed; move it away and run again")
    bundle = run_bundle(path.parent)
    digest.update(b"" if bundle is None else b"imported")
    found = joined(Run, run, result)
    return replace(found, bundle=bundle, config=config, manifest=manifest, curve=_curve(root, run, notes))


def _optional(root: Path, run: Run, name: str, kind: type[AsRead], notes: list[str]) -> Any:
    path = inside(root, f"{run.folder}/{name}", run.folder)
    if not path.is_file():
        notes.append(f"{run.folder} has no {name}")
    return as_read(kind, load(path) if path.is_file() else {}, str(path))


def _curve(root: Path, run: Run, notes: list[str]) -> tuple[Evaluation, ...]:
    """The records of metrics.jsonl, without an incomplete last line that a kill or a power cut left."""
    path = inside(root, f"{run.folder}/{layout.METRICS}", run.folder)
    if not path.is_file():
        return ()
    whole_lines, _, torn = read_bytes(path).rpartition(b"\n")
    lines = [(i, line) for i, line in enumerate(whole_lines.split(b"\n"), 1) if line.strip()]
    records: list[Evaluation] = []
    for i, line in lines:
        if len(line) > limits.METRICS_LINE:
            raise ReportError(f"{path}: line {i} is longer than {size(limits.METRICS_LINE)}; restore it or run again")
        try:
            records.append(from_json(Evaluation, parse(line, f"{path}: line {i}"), str(path)))
        except ReportError:
            if i != lines[-1][0] or torn.strip():
                raise
            torn = line  # a power cut may keep the length of the last record but not its bytes
    if torn.strip():
        after = f"after its {len(records)} whole record{'' if len(records) == 1 else 's'}"
        notes.append(f"{run.folder}/{layout.METRICS} ends in an unfinished line, which is cut off {after}")
    return tuple(records)


def _speed(root: Path, digest: Any) -> Speed:
    if not (root / layout.SPEED).is_file():
        return Speed()
    path = inside(root, layout.SPEED, str(root))
    return from_json(Speed, _document(path, digest), str(path))


def _check_unique(runs: tuple[Planned, ...], path: Path) -> None:
    cells = [(run.task, run.arm, run.seed, run.trial) for run in runs]
    for label, keys in (("run ids", [run.run_id for run in runs]), ("cells", cells)):
        if len(set(keys)) != len(keys):
            raise ReportError(f"{path}: the same {label} appear twice in runs; plan the suite again")
