"""Read a results folder (docs/results.md) into typed objects and one flat table.

    from reports.reader import read, export_table
    results = read(Path("results/runs/minilm"))     # suite, runs in planned order, timing
    frame = export_table(Path("results/runs/minilm"))

Why typed objects: tables, figures and statistics all need to know what was *planned*, so that a
missing or failed run shows as a gap and is never averaged away. Only numpy, pandas and the standard
library are imported here; nothing in a results folder is executed.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from reports.errors import ReportError
from reports.untrusted import inside, items, load, mapping, number, parse, read_bytes, slug, text, whole

PROTOCOLS = ("last", "selected")
STATUSES = ("done", "diverged", "failed")
COLUMNS = (
    "suite", "task", "method", "arm", "seed", "status", "protocol", "metric", "value", "score", "steps", "epochs",
    "layers", "parameters", "trainable_parameters", "train_seconds", "examples_per_second", "peak_memory_bytes",
    "run_id",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One task of a suite. `published`: its column in the paper's tables, or None."""

    name: str
    title: str
    published: str | None
    score: str
    in_macro: bool
    train_examples: int | None
    dev_examples: Mapping[str, int | None]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Arm:
    """One method with its hyper-parameters. `published`: its row in the paper's tables, or None."""

    name: str
    title: str
    method: str
    layers: int | None
    published: str | None

    @property
    def is_predecessor(self) -> bool:
        """True for the deep model that the other arms start from."""
        return self.method == "predecessor"


@dataclass(frozen=True)
class Checkpoint:
    """Dev results at one checkpoint: raw metrics, and `score` on the paper's 0 to 100 scale."""

    step: int | None
    epoch: float | None
    metrics: Mapping[str, float | None]
    score: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One planned run. `status` is done, diverged, failed, or missing (planned, not there yet)."""

    run_id: str
    task: str
    arm: str
    method: str
    seed: int
    folder: str
    status: str = "missing"
    reason: str = ""
    last: Checkpoint | None = None
    selected: Checkpoint | None = None
    evaluations: int | None = None
    steps: int | None = None
    epochs: float | None = None
    layers: int | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    train_seconds: float | None = None
    examples_per_second: float | None = None
    peak_memory_bytes: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Mapping[str, Any], ...] = ()

    def at(self, protocol: str) -> Checkpoint | None:
        """The checkpoint of a protocol, `last` or `selected`."""
        return self.last if protocol == "last" else self.selected

    def score(self, protocol: str) -> float | None:
        """The task score (0 to 100) at a protocol's checkpoint, None when there is none."""
        checkpoint = self.at(protocol)
        return None if checkpoint is None else checkpoint.score


@dataclass(frozen=True)
class Suite:
    """What was planned: suite.json without its list of runs."""

    name: str
    title: str
    description: str
    synthetic: bool
    comparable: bool
    comparison: str
    protocol: str
    statistic: str
    encoder: Mapping[str, Any]
    successor_layers: int | None
    tasks: tuple[Task, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    predecessor_per_seed: bool


@dataclass(frozen=True)
class Results:
    """A results folder. `left_out` counts run folders that the suite no longer plans; `digest` is a
    short SHA-256 over suite.json, speed.json and every result.json that was read."""

    root: Path
    suite: Suite
    runs: tuple[Run, ...]
    speed: tuple[Mapping[str, Any], ...]
    left_out: int
    notes: tuple[str, ...]
    digest: str

    def of(self, task: str, arm: str) -> tuple[Run, ...]:
        """The planned runs of one cell, by seed."""
        return tuple(run for run in self.runs if run.task == task and run.arm == arm)


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
    return Results(root, suite, runs, speed, left_out, tuple(notes), digest.hexdigest()[:16])


def export_table(folder: Path) -> pd.DataFrame:
    """One row per run × protocol × metric, in planned order, with exactly `COLUMNS`.

    `value` is raw (0 to 1, correlations -1 to 1), `score` the task's score (0 to 100, the same for
    every metric of a run and protocol). A diverged or failed run has one row per protocol with null
    metric, value and score. Planned runs that are not there yet have no row. Raises `ReportError`.
    """
    results = read(folder)
    rows = [row for run in results.runs if run.status != "missing" for row in _rows(results.suite.name, run)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    whole_numbers = ("seed", "steps", "layers", "parameters", "trainable_parameters", "peak_memory_bytes")
    kinds: dict[str, str] = dict.fromkeys(whole_numbers, "Int64")
    kinds |= dict.fromkeys(("value", "score", "epochs", "train_seconds", "examples_per_second"), "float64")
    kinds |= {name: "str" for name in COLUMNS if name not in kinds}
    return frame.astype(kinds)


def _rows(suite: str, run: Run) -> Iterator[tuple[Any, ...]]:
    tail = (
        run.steps, run.epochs, run.layers, run.parameters, run.trainable_parameters, run.train_seconds,
        run.examples_per_second, run.peak_memory_bytes, run.run_id,
    )  # fmt: skip
    for protocol in PROTOCOLS:
        head = (suite, run.task, run.method, run.arm, run.seed, run.status, protocol)
        checkpoint = run.at(protocol)
        metrics = dict(checkpoint.metrics) if checkpoint else {}
        for metric, value in metrics.items() or [(None, None)]:
            yield (*head, metric, value, checkpoint.score if checkpoint else None, *tail)


def _suite(raw: Mapping[str, Any], path: Path) -> Suite:
    arms = tuple(_arm(entry, f"{path}: arms") for entry in items(raw.get("arms"), f"{path}: arms"))
    tasks = tuple(_task(entry, f"{path}: tasks") for entry in items(raw.get("tasks"), f"{path}: tasks"))
    protocol, statistic = raw.get("protocol", "last"), raw.get("statistic", "mean")
    if protocol not in PROTOCOLS or statistic not in ("mean", "median"):
        raise ReportError(f"{path}: protocol must be last or selected, statistic mean or median; correct the suite")
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
        encoder=mapping(raw.get("encoder"), f"{path}: encoder"),
        successor_layers=whole(raw.get("successor_layers"), f"{path}: successor_layers"),
        tasks=tasks,
        arms=arms,
        seeds=tuple(whole(s, f"{path}: seeds") or 0 for s in items(raw.get("seeds"), f"{path}: seeds")),
        predecessor_per_seed=bool(raw.get("predecessor_per_seed")),
    )


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
    run = Run(names["run_id"], names["task"], names["arm"], names["method"], seed, folder=str(raw["folder"]))
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
    return replace(
        run,
        status=status,
        reason=text(raw.get("reason"), 500),
        last=_checkpoint(raw.get("last"), path) if done else None,
        selected=_checkpoint(raw.get("selected"), path) if done else None,
        config=config,
        manifest=manifest,
        curve=_curve(root, run, notes),
        **counts,
    )


def _checkpoint(value: object, path: Path) -> Checkpoint:
    raw = mapping(value, f"{path}: checkpoint")
    if raw.get("score") is None:
        raise ReportError(f"{path}: says done but has no score; mark it failed or run it again")
    score = number(raw.get("score"), f"{path}: score")
    if score is not None and abs(score) > 100:
        raise ReportError(f"{path}: score {score:g} is outside -100 to 100; scores are the task's metric times 100")
    metrics = mapping(raw.get("metrics"), f"{path}: metrics")
    return Checkpoint(
        step=whole(raw.get("step"), f"{path}: step"),
        epoch=number(raw.get("epoch"), f"{path}: epoch"),
        metrics={slug(k, f"{path}: metrics"): number(v, f"{path}: {k}") for k, v in metrics.items()},
        score=score,
        flags=tuple(text(flag, 120) for flag in items(raw.get("flags"), f"{path}: flags")),
    )


def _optional(root: Path, run: Run, name: str, notes: list[str]) -> dict[str, Any]:
    path = inside(root, f"{run.folder}/{name}", run.folder)
    if path.is_file():
        return load(path)
    notes.append(f"{run.folder} has no {name}")
    return {}


def _curve(root: Path, run: Run, notes: list[str]) -> tuple[Mapping[str, Any], ...]:
    """metrics.jsonl as objects; a last line without an end is what a kill leaves and is skipped."""
    path = inside(root, f"{run.folder}/metrics.jsonl", run.folder)
    if not path.is_file():
        return ()
    data = read_bytes(path)
    whole_lines, _, torn = data.rpartition(b"\n")
    if torn.strip():
        notes.append(f"{run.folder}/metrics.jsonl ends in an unfinished line, which is skipped")
    lines = [line for line in whole_lines.split(b"\n") if line.strip()]
    return tuple(parse(line, f"{path}: line {i}") for i, line in enumerate(lines, 1))


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
    for label, keys in (("run ids", [r.run_id for r in runs]), ("cells", [(r.task, r.arm, r.seed) for r in runs])):
        if len(set(keys)) != len(keys):
            raise ReportError(f"{path}: the same {label} appear twice in runs; plan the suite again")
