"""Read a results folder (docs/results.md) into typed objects and one flat table.

    from reports.reader import read, export_table
    results = read(Path("results/runs/minilm"))     # suite, runs in planned order, timing
    frame = export_table(Path("results/runs/minilm"))

Fields that came later (trials, held-out data, steps, sweeps) may be absent: older folders go on
rendering. Only numpy, pandas and the standard library are imported here; nothing in a results
folder is executed.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from reports import limits
from reports.errors import ReportError
from reports.origin import file_is_imported, marked_arms, run_bundle
from reports.results import PROTOCOLS, TABLES, Arm, Checkpoint, Results, Run, Suite, Task
from reports.trials import chosen_trial
from reports.untrusted import (
    flat,
    inside,
    items,
    load,
    mapping,
    number,
    parse,
    read_bytes,
    size,
    slug,
    text,
    whole,
)

STATUSES = ("done", "diverged", "failed")
COLUMNS = (
    "suite", "task", "method", "arm", "seed", "status", "protocol", "metric", "value", "score", "steps", "epochs",
    "layers", "parameters", "trainable_parameters", "train_seconds", "examples_per_second", "peak_memory_bytes",
    "run_id", "trial", "chosen", "origin",
)  # fmt: skip


def read(folder: Path) -> Results:
    """Read a results folder; raises `ReportError` when it has no usable suite.json or a broken file."""
    root = Path(folder)
    path = root / "suite.json"
    if not path.is_file():
        raise ReportError(f"{root}: no suite.json; give the folder that `python -m benchmarks run` wrote")
    raw = load(path)
    _check_schema(raw, path)
    suite = _suite(raw, path)
    notes: list[str] = []
    digest = hashlib.sha256(read_bytes(path))
    runs = tuple(_run(root, entry, suite, notes, digest, path) for entry in items(raw.get("runs"), f"{path}: runs"))
    _check_unique(runs, path)
    planned = {run.folder for run in runs}
    left_out = sum(1 for found in _run_folders(root) if found not in planned)
    speed = _speed(root, digest)
    suite = replace(suite, arms=marked_arms(suite.arms, runs))
    imported = frozenset(name for name in ("suite.json", "speed.json") if file_is_imported(root, name))
    return Results(root, suite, runs, speed, left_out, tuple(notes), digest.hexdigest()[:16], imported)


def export_table(folder: Path) -> pd.DataFrame:
    """One row per run × protocol × metric, in planned order, with exactly `COLUMNS`.

    `value` is raw (0 to 1, correlations -1 to 1), `score` the task's score (0 to 100, the same for
    every metric of a run and protocol). A diverged or failed run has one row per protocol with null
    metric, value and score. Planned runs that are not there yet have no row. `held_out` rows exist
    where the suite sets data aside. `chosen` says whether the run's trial is the one that counts at
    the row's protocol. Raises `ReportError`.
    """
    results = read(folder)
    rows = [row for run in results.runs if run.status != "missing" for row in _rows(results, run)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    whole_numbers = ("seed", "steps", "layers", "parameters", "trainable_parameters", "peak_memory_bytes", "trial")
    kinds: dict[str, str] = dict.fromkeys(whole_numbers, "Int64") | {"chosen": "bool"}
    kinds |= dict.fromkeys(("value", "score", "epochs", "train_seconds", "examples_per_second"), "float64")
    kinds |= {name: "str" for name in COLUMNS if name not in kinds}
    return frame.astype(kinds)


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


def _suite(raw: Mapping[str, Any], path: Path) -> Suite:
    arms = _told_apart([_arm(entry, f"{path}: arms") for entry in items(raw.get("arms"), f"{path}: arms")])
    tasks = tuple(_task(entry, f"{path}: tasks") for entry in items(raw.get("tasks"), f"{path}: tasks"))
    protocol, statistic = raw.get("protocol", "last"), raw.get("statistic", "mean")
    if protocol not in PROTOCOLS or statistic not in ("mean", "median"):
        allowed = "protocol must be last, selected or held_out, statistic mean or median"
        raise ReportError(f"{path}: {allowed}; correct the suite")
    for kind, names in (("tasks", [t.name for t in tasks]), ("arms", [a.name for a in arms])):
        if not names or len(set(names)) != len(names):
            raise ReportError(f"{path}: {kind} must be present and have different names; correct the suite")
    name = slug(raw.get("name"), f"{path}: name")
    return Suite(
        name=name,
        title=text(raw.get("title")) or name,
        description=text(raw.get("description"), 4000),
        synthetic=bool(raw.get("synthetic")),
        comparable=bool(raw.get("comparable")),
        comparison=text(raw.get("comparison"), 2000),
        protocol=protocol,
        statistic=statistic,
        encoder=_encoder(raw.get("encoder"), f"{path}: encoder"),
        successor_layers=whole(raw.get("successor_layers"), f"{path}: successor_layers"),
        tasks=tasks,
        arms=arms,
        seeds=tuple(whole(s, f"{path}: seeds") or 0 for s in items(raw.get("seeds"), f"{path}: seeds")),
        predecessor_per_seed=bool(raw.get("predecessor_per_seed")),
        **_experiment(raw, [arm.name for arm in arms], path),
    )


def _experiment(raw: Mapping[str, Any], arms: list[str], path: Path) -> dict[str, Any]:
    """What makes a suite more than a grid of arms: its published table, held-out data, steps and sweep."""
    table, share = whole(raw.get("table"), f"{path}: table"), number(raw.get("held_out"), f"{path}: held_out")
    steps = tuple(slug(step, f"{path}: steps") for step in items(raw.get("steps"), f"{path}: steps"))
    if table is not None and table not in TABLES:
        raise ReportError(f"{path}: table {table} has no dev scores in the paper; name one of {TABLES} or none")
    if share is not None and not 0 <= share < 1:
        raise ReportError(f"{path}: held_out {share:g} is no share of train; it must be at least 0 and below 1")
    if len(set(steps)) != len(steps) or not set(steps) <= set(arms):
        raise ReportError(f"{path}: steps must name arms of the suite, each once; correct the suite")
    return {
        "table": table, "held_out": share or 0.0, "unequal_budget": bool(raw.get("unequal_budget")), "steps": steps,
        "x_title": text(raw.get("x_title"), 60),
    }  # fmt: skip


def _encoder(entry: object, where: str) -> dict[str, Any]:
    raw = flat(entry, where)
    return raw | {key: whole(raw[key], f"{where}: {key}") for key in ("layers", "hidden_size") if key in raw}


def _task(entry: object, where: str) -> Task:
    raw = mapping(entry, where)
    name = slug(raw.get("name"), f"{where}: name")
    sizes = mapping(raw.get("dev_examples"), f"{where}: dev_examples")
    return Task(
        name=name,
        title=text(raw.get("title"), 60) or name,
        published=text(raw.get("published"), 60) or None,
        score=text(raw.get("score"), 120),
        in_macro=bool(raw.get("in_macro", True)),
        train_examples=whole(raw.get("train_examples"), f"{where}: train_examples"),
        dev_examples={text(k, 60): whole(v, f"{where}: dev_examples") for k, v in sizes.items()},
        notes=tuple(text(note, 500) for note in items(raw.get("notes"), f"{where}: notes")),
    )


def _arm(entry: object, where: str) -> Arm:
    raw = mapping(entry, where)
    name = slug(raw.get("name"), f"{where}: name")
    return Arm(
        name=name,
        title=text(raw.get("title"), 60) or name,
        method=slug(raw.get("method", name), f"{where}: method"),
        layers=whole(raw.get("layers"), f"{where}: layers"),
        published=text(raw.get("published"), 60) or None,
        group=text(raw.get("group"), 60) or None,
        x=number(raw.get("x"), f"{where}: x"),
        trials=tuple(flat(trial, f"{where}: trials") for trial in items(raw.get("trials"), where)) or ({},),
    )


def _told_apart(arms: list[Arm]) -> tuple[Arm, ...]:
    """Arms of one title and several depths get their depth into the title, because lists and legends show titles."""
    depths: dict[str, set[int | None]] = {}
    for arm in arms:
        depths.setdefault(arm.title, set()).add(arm.layers)
    return tuple(
        replace(arm, title=f"{arm.title}, {arm.layers} layers") if len(depths[arm.title]) > 1 and arm.layers else arm
        for arm in arms
    )


def _run(root: Path, entry: object, suite: Suite, notes: list[str], digest: Any, path: Path) -> Run:
    """One planned run, with its files where they are there."""
    where = f"{path}: runs"
    raw = mapping(entry, where)
    names = {key: slug(raw.get(key), f"{where}: {key}") for key in ("run_id", "task", "arm", "method")}
    seed = whole(raw.get("seed"), f"{where}: seed")
    folder = inside(root, raw.get("folder"), f"{where}: folder")
    if names["task"] not in {t.name for t in suite.tasks} or names["arm"] not in {a.name for a in suite.arms}:
        raise ReportError(f"{where}: run {names['run_id']} names a task or arm the suite lacks; plan it again")
    if seed is None:
        raise ReportError(f"{where}: run {names['run_id']} has no seed; plan the suite again")
    trial = whole(raw.get("trial"), f"{where}: trial") or 0
    if not 0 <= trial < len(suite.arm(names["arm"]).trials):
        raise ReportError(f"{where}: run {names['run_id']} is of a trial its arm lacks; plan the suite again")
    run = Run(names["run_id"], names["task"], names["arm"], names["method"], seed, str(raw["folder"]), trial)
    if not (folder / "result.json").is_file():
        if folder.exists():
            notes.append(f"{run.folder} has no result.json and is shown as missing")
        return run
    return _with_files(root, run, notes, digest)


def _with_files(root: Path, run: Run, notes: list[str], digest: Any) -> Run:
    path = inside(root, f"{run.folder}/result.json", run.folder)
    raw = load(path)
    digest.update(read_bytes(path))
    _check_schema(raw, path)
    status = raw.get("status")
    if status not in STATUSES:
        raise ReportError(f"{path}: status must be one of {', '.join(STATUSES)}; run it again")
    if raw.get("run_id") != run.run_id:
        raise ReportError(f"{path}: belongs to another run than the planned {run.run_id}; move it away and run again")
    done = status == "done"
    config, manifest = (_optional(root, run, name, notes) for name in ("config.json", "manifest.json"))
    if config and (config.get("task"), config.get("method"), config.get("seed")) != (run.task, run.method, run.seed):
        raise ReportError(f"{path.parent}: config.json is of another task, method or seed; move it away and run again")
    integers = ("evaluations", "steps", "layers", "parameters", "trainable_parameters", "peak_memory_bytes")
    reals = ("epochs", "train_seconds", "examples_per_second")
    counts: dict[str, Any] = {key: whole(raw.get(key), f"{path}: {key}") for key in integers}
    counts |= {key: number(raw.get(key), f"{path}: {key}") for key in reals}
    bundle = run_bundle(path.parent)
    digest.update(b"" if bundle is None else b"imported")
    return replace(
        run,
        bundle=bundle,
        status=status,
        reason=text(raw.get("reason"), 500),
        last=_checkpoint(raw.get("last"), path) if done else None,
        selected=_checkpoint(raw.get("selected"), path) if done else None,
        held_out=_checkpoint(raw["held_out"], path) if done and raw.get("held_out") is not None else None,
        config=config,
        manifest=manifest,
        curve=_curve(root, run, notes),
        **counts,
    )


def _checkpoint(entry: object, path: Path) -> Checkpoint:
    raw = mapping(entry, f"{path}: checkpoint")
    if raw.get("score") is None:
        raise ReportError(f"{path}: says done but has no score; mark it failed or run it again")
    score, held_out = (number(raw.get(key), f"{path}: {key}") for key in ("score", "held_out_score"))
    for value in (score, held_out):
        if value is not None and abs(value) > 100:
            raise ReportError(f"{path}: score {value:g} is outside -100 to 100; scores are the task's metric times 100")
    metrics = mapping(raw.get("metrics"), f"{path}: metrics")
    return Checkpoint(
        step=whole(raw.get("step"), f"{path}: step"),
        epoch=number(raw.get("epoch"), f"{path}: epoch"),
        metrics={slug(k, f"{path}: metrics"): number(v, f"{path}: {k}") for k, v in metrics.items()},
        score=score,
        flags=tuple(text(flag, 120) for flag in items(raw.get("flags"), f"{path}: flags")),
        held_out_score=held_out,
    )


def _optional(root: Path, run: Run, name: str, notes: list[str]) -> dict[str, Any]:
    path = inside(root, f"{run.folder}/{name}", run.folder)
    if path.is_file():
        return load(path)
    notes.append(f"{run.folder} has no {name}")
    return {}


def _curve(root: Path, run: Run, notes: list[str]) -> tuple[Mapping[str, Any], ...]:
    """metrics.jsonl as objects, up to the last whole record: what a kill or a power cut leaves after it is cut off."""
    path = inside(root, f"{run.folder}/metrics.jsonl", run.folder)
    if not path.is_file():
        return ()
    whole_lines, _, torn = read_bytes(path).rpartition(b"\n")
    lines = [(i, line) for i, line in enumerate(whole_lines.split(b"\n"), 1) if line.strip()]
    records: list[Mapping[str, Any]] = []
    for i, line in lines:
        if len(line) > limits.METRICS_LINE:
            raise ReportError(f"{path}: line {i} is longer than {size(limits.METRICS_LINE)}; restore it or run again")
        try:
            records.append(parse(line, f"{path}: line {i}"))
        except ReportError:
            if i != lines[-1][0] or torn.strip():
                raise
            torn = line  # a power cut may leave the length of the last record without its bytes
    if torn.strip():
        after = f"after its {len(records)} whole record{'' if len(records) == 1 else 's'}"
        notes.append(f"{run.folder}/metrics.jsonl ends in an unfinished line, which is cut off {after}")
    return tuple(records)


def _speed(root: Path, digest: Any) -> tuple[Mapping[str, Any], ...]:
    path = root / "speed.json"
    if not path.is_file():
        return ()
    path = inside(root, "speed.json", str(root))
    raw = load(path)
    digest.update(read_bytes(path))
    _check_schema(raw, path)
    return tuple(mapping(c, f"{path}: conditions") for c in items(raw.get("conditions"), f"{path}: conditions"))


def _run_folders(root: Path) -> list[str]:
    """Every `<task>/<method>/seed-*` folder that holds a result.json, as a relative posix path."""
    found = (path for path in root.glob("*/*/seed-*") if (path / "result.json").is_file())
    return sorted(path.relative_to(root).as_posix() for path in found)


def _check_schema(raw: Mapping[str, Any], path: Path) -> None:
    if raw.get("schema") != 1:
        raise ReportError(f"{path}: schema {text(raw.get('schema'), 20) or 'missing'}; this program reads schema 1")


def _check_unique(runs: tuple[Run, ...], path: Path) -> None:
    cells = [(run.task, run.arm, run.seed, run.trial) for run in runs]
    for label, keys in (("run ids", [run.run_id for run in runs]), ("cells", cells)):
        if len(set(keys)) != len(keys):
            raise ReportError(f"{path}: the same {label} appear twice in runs; plan the suite again")
