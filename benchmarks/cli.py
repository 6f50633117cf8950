"""The command line: `python -m benchmarks plan | run | export | report | accept | drift | speed | …`.

    python -m benchmarks plan minilm
    python -m benchmarks run minilm --tasks rte --seeds 1 --set training.epochs=1
    python -m benchmarks report results/runs/minilm

Tables for people go to stderr or a terminal, documents (--json, export, the report's path) to stdout.
Exit codes: 0 done, 1 a run or check failed, 2 bad input (one line), 75 interrupted and resumable; `drift` also has
3 undecided and 4 no comparable baseline. Nothing heavy is imported before a command needs it; `report`, `export`,
`accept` and `drift` never load torch.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.errors import ACCEPTED, BAD_INPUT, DONE, FAILED, INTERRUPTED, RESULTS, SuiteError, nearest
from benchmarks.terminal import plain

if TYPE_CHECKING:
    from benchmarks.plan import Plan, Run
    from benchmarks.store import Store

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Train BERT-of-Theseus beside its baselines under one runner, and compare.",
)  # fmt: skip

SuiteName = Annotated[str, typer.Argument(help="demo, minilm, paper, auto or a .toml file", metavar="SUITE")]
ResultsFolder = Annotated[Path | None, typer.Argument(help="a suite's results folder (default: the last one)")]
Results = Annotated[Path | None, typer.Option(help="results folder (default: results/runs/SUITE)")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="override a suite key, e.g. training.epochs=1")]
Tasks = Annotated[str, typer.Option(help="only these tasks, comma-separated")]
Methods = Annotated[str, typer.Option(help="only these methods or arms, comma-separated")]
Seeds = Annotated[str, typer.Option(help="only these seeds, comma-separated")]
Workers = Annotated[int | None, typer.Option(min=1, help="processes at once (default: cores / threads)")]
EngineName = Annotated[str, typer.Option("--engine", help="local (ray will follow)")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


CTRL_C = 130


def say(text: str) -> None:
    print(plain(text), file=sys.stderr, flush=True)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in _split(text)]
    except ValueError:
        raise SuiteError(f"--seeds {text}: seeds are whole numbers, comma-separated") from None


def _prepare(suite_name: str, results: Path | None, settings: list[str] | None, tasks: str) -> tuple[Plan, Store]:
    """Load, check and plan a suite; every command that computes begins here."""
    from benchmarks.auto import resolve_suite
    from benchmarks.plan import make_plan
    from benchmarks.store import Store
    from benchmarks.suite import load_suite

    suite = load_suite(resolve_suite(suite_name, say), settings or [])
    for name in _split(tasks):
        if name not in suite.tasks:
            raise SuiteError(f"suite {suite.name} has no task {name!r}: {nearest(name, suite.tasks)}")
    plan = make_plan(suite, _split(tasks))
    for warning in plan.warnings:
        say(f"warning: {warning}")
    return plan, Store(results or RESULTS / suite.name)


@app.command()
def plan(
    suite: SuiteName, results: Results = None, tasks: Tasks = "", methods: Methods = "", seeds: Seeds = "",
    settings: Settings = None, as_json: Json = False,
    calibrate: Annotated[bool, typer.Option(help="time this machine's steps, where that is not done yet")] = True,
) -> int:  # fmt: skip
    """Every run with its id, what is already done, and the estimated time."""
    from benchmarks.show import plan_table

    planned, store = _prepare(suite, results, settings, tasks)
    runs = planned.select(_split(tasks), _split(methods), _numbers(seeds))
    document = _estimated(planned, store, runs, calibrate)
    print(json.dumps(document, indent=1) if as_json else plan_table(document))
    return DONE


@app.command()
def status(suite: SuiteName, results: Results = None, settings: Settings = None, as_json: Json = False) -> int:
    """How far a suite is, also while it runs, and how long the rest will take."""
    from benchmarks.show import status_text

    planned, store = _prepare(suite, results, settings, "")
    document = _estimated(planned, store, planned.runs, measure=False)
    print(json.dumps(document, indent=1) if as_json else status_text(document))
    return DONE


def _estimated(planned: Plan, store: Store, runs: list[Run], measure: bool) -> dict[str, Any]:
    """The plan with its times; `measure`: time this machine now, if that has not been done yet."""
    from benchmarks.cost import estimates
    from benchmarks.rates import calibrated, shape_of
    from benchmarks.show import plan_document
    from benchmarks.workers import default_workers

    shape, workers = shape_of(planned.encoder), default_workers(planned.device)
    batch_size = planned.suite.training.batch_size
    rates = calibrated(shape, planned.device, batch_size, workers, say if measure else None) if shape else None
    return plan_document(planned, runs, estimates(runs, planned, store, rates), store, rates is not None)


@app.command()
def run(
    suite: SuiteName, results: Results = None, tasks: Tasks = "", methods: Methods = "", seeds: Seeds = "",
    workers: Workers = None, engine: EngineName = "local", settings: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="a few steps of every cell, nothing kept")] = False,
    steps: Annotated[int, typer.Option(min=1, help="steps of a dry run")] = 2,
) -> int:  # fmt: skip
    """Execute what is missing. Safe to interrupt and repeat."""
    from benchmarks.dry import dry_run as rehearse

    planned, store = _prepare(suite, results, settings, tasks)
    runs = planned.select(_split(tasks), _split(methods), _numbers(seeds))
    if dry_run:
        rehearse(planned, _fetch(planned, runs), steps, say)
        return DONE
    return _execute(planned, store, runs, workers, engine)


def _execute(planned: Plan, store: Store, runs: list[Run], workers: int | None, engine: str) -> int:
    from benchmarks.engine import WorkerDied, find_engine
    from benchmarks.probe import probe_suite
    from benchmarks.show import Progress
    from benchmarks.workers import default_workers

    execute_all = find_engine(engine)
    _refuse_random(planned)
    store.open()
    store.sweep()
    missing = [run for run in runs if not store.settled(run)]
    missing = _fetch(planned, missing)
    probe_suite(planned, missing, say)
    store.write_suite(planned)
    with Progress(total=len(runs), done=len(runs) - len(missing)) as progress:
        try:
            execute_all(missing, store.path, workers or default_workers(planned.device), progress.report)
        except WorkerDied as error:
            say(f"error: {error}")
            return INTERRUPTED
    return FAILED if progress.failed else DONE


def _refuse_random(planned: Plan) -> None:
    if planned.encoder.random:
        raise SuiteError("encoder.random is for plan and run --dry-run only: its numbers would mean nothing")


def _fetch(planned: Plan, missing: list[Run]) -> list[Run]:
    """Data and encoder from the hub, if that is where they are: here once, not in every worker.

    Returns the runs that can be executed: an optional arm whose own checkpoint cannot be had is left out, and said
    to be.
    """
    from benchmarks.data import load_splits
    from benchmarks.encoder import fetch

    if not missing:
        return missing
    fetch(planned.encoder, planned.suite.encoder.sha256)
    lost = set()
    for name, encoder in {run.arm: run.encoder for run in missing if run.method == "pretrained"}.items():
        arm = planned.suite.arms[name]
        try:
            fetch(encoder, arm.encoder.sha256 if arm.encoder else None)
        except SuiteError as error:
            if not arm.optional:
                raise
            say(f"warning: arm {name} is left out: {error}")
            lost.add(name)
    missing = [run for run in missing if run.arm not in lost]
    for source in {run.task.name: run.source for run in missing}.values():
        load_splits(source)
    return missing


@app.command()
def submit(
    suite: SuiteName, output: Annotated[Path, typer.Option(help="the zip to write")],
    methods: Annotated[str, typer.Option(help="one arm")] = "theseus",
    seeds: Annotated[str, typer.Option(help="one seed")] = "1",
    results: Results = None, tasks: Tasks = "", settings: Settings = None,
) -> int:  # fmt: skip
    """One arm's test predictions of one seed as the zip that GLUE's server takes."""
    from benchmarks.submit import submit_runs

    planned, store = _prepare(suite, results, settings, tasks)
    chosen = planned.select(_split(tasks), _split(methods), _numbers(seeds))
    runs = [run for run in chosen if methods in (run.arm, run.method) and str(run.seed) == seeds]
    for line in submit_runs(runs, store.path, output):
        say(line)
    print(output)
    return DONE


@app.command()
def convert(source: str, output: Path) -> int:
    """Pickled weights (a folder, or name@revision on the hub) to a safetensors folder."""
    from benchmarks.convert import convert as rewrite

    print(rewrite(source, output))
    return DONE


@app.command()
def speed(
    suite: SuiteName, results: Results = None, settings: Settings = None, as_json: Json = False,
    matrix: Annotated[bool, typer.Option("--matrix", help="every variant, batch, length and thread count")] = False,
    output: Annotated[Path | None, typer.Option(help="folder for a copy to keep: speed.json and speed.md")] = None,
    machine: Annotated[str | None, typer.Option(help="the machine in words, for that copy")] = None,
) -> int:  # fmt: skip
    """Paired inference timing of predecessor and successor, kept as the suite's speed.json."""
    from benchmarks.settings import MATRIX

    planned, store = _prepare(suite, results, [*([MATRIX] if matrix else []), *(settings or [])], "")
    _refuse_random(planned)
    store.open()
    store.write_suite(planned)
    document = _time(planned, store, matrix)
    if output is not None:
        from reports import ReportError
        from reports.speed_markdown import publish

        try:
            say(f"kept in {publish(store.path, output, machine)}")
        except ReportError as error:
            raise SuiteError(str(error)) from None
        except OSError as error:
            raise SuiteError(f"cannot write {output} ({error.strerror}): choose another --output") from None
    if as_json:
        print(json.dumps({"schema": 1, **document}))
    return DONE


def _time(planned: Plan, store: Store, matrix: bool = False) -> dict[str, Any]:
    """speed.json, written when all is measured or when that is interrupted."""
    from benchmarks.encoder import fetch
    from benchmarks.settings import Speed
    from benchmarks.speed import measure, speed_key

    fetch(planned.encoder, planned.suite.encoder.sha256)
    document: dict[str, Any] = {}
    try:
        for document in measure(planned, planned.suite.speed or Speed(), store.path, say):  # noqa: B007
            pass
    finally:
        if document:
            store.write_speed(document, speed_key(planned), matrix)
    return document


def _last_results() -> Path:
    found = sorted(RESULTS.glob("*/suite.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SuiteError(f"no results under {RESULTS}: run a suite first, for example python -m benchmarks run demo")
    return found[-1].parent


@app.command()
def export(
    results: ResultsFolder = None,
    format_: Annotated[str, typer.Option("--format", help="csv, parquet or json")] = "csv",
    output: Annotated[Path | None, typer.Option(help="file to write (default: stdout)")] = None,
) -> int:
    """The results table: one row per run, protocol and metric."""
    from reports import ReportError
    from reports import export as export_results

    try:
        data = export_results(results or _last_results(), format_)
    except ReportError as error:
        raise SuiteError(str(error)) from None
    if output is None:
        sys.stdout.buffer.write(data)
    else:
        _write(output, data)
    return DONE


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise SuiteError(f"cannot write {path} ({error.strerror}): choose another --output") from None


@app.command()
def report(
    results: ResultsFolder = None,
    output: Annotated[Path | None, typer.Option(help="folder (default: RESULTS/report)")] = None,
) -> int:
    """The HTML report, with the main table as CSV and LaTeX beside it."""
    print(_report(results or _last_results(), output))
    return DONE


def _report(results: Path, output: Path | None) -> Path:
    from reports import ReportError, render

    try:
        return render(results, output)
    except ReportError as error:
        raise SuiteError(str(error)) from None
    except OSError as error:
        raise SuiteError(f"cannot write the report of {results} ({error.strerror}): choose another --output") from None


@app.command()
def bundle(
    results: ResultsFolder = None,
    output: Annotated[Path | None, typer.Option(help="archive to write (default: SUITE.zip here)")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="kept successors too")] = False,
) -> int:
    """Pack finished runs into one archive with a hash list, for `import` elsewhere."""
    from reports.bundle import pack

    packed = pack(results or _last_results(), output, weights)
    say(f"{packed.runs} runs, sha256 {packed.sha256}" + "".join(f"; {part}" for part in packed.left_out))
    print(packed.file)
    return DONE


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="what `bundle` wrote")], results: Results = None,
    only_missing: Annotated[bool, typer.Option("--only-missing", help="leave runs that are there as they are")] = False,
) -> int:  # fmt: skip
    """Check a bundle and add its runs to a results folder, marked as imported."""
    from reports.importing import import_bundle

    done = import_bundle(file, results, RESULTS, only_missing)
    for line in done.lines():
        say(line)
    print(done.results)
    return DONE


@app.command()
def accept(
    results: ResultsFolder = None,
    output: Annotated[Path | None, typer.Option(help="file to write (default: results/accepted/SUITE.json)")] = None,
    margins: Annotated[
        list[str] | None, typer.Option("--margin", help="points a task may fall, TASK=2.5, or 2.5 for all tasks")
    ] = None,
) -> int:
    """Freeze finished results as the accepted baseline that `drift` compares with."""
    from reports import ReportError, read
    from reports.baseline import freeze, read_margins

    try:
        found = read(results or _last_results())
        document = freeze(found, read_margins(margins or [], found))
    except ReportError as error:
        raise SuiteError(str(error)) from None
    if any(run.manifest.get("code_dirty") for run in found.runs):
        say("warning: the accepted runs come from a tree with uncommitted changes")
    if any(run.bundle for run in found.runs):
        say("warning: some of the accepted runs were imported and not run here")
    path = output or ACCEPTED / f"{found.suite.name}.json"
    _write(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
    print(path)
    return DONE


@app.command()
def drift(
    results: ResultsFolder = None,
    baseline: Annotated[Path | None, typer.Option(help="(default: results/accepted/SUITE.json)")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="where bits must repeat, any difference is drift")] = False,
    junit: Annotated[Path | None, typer.Option(help="write the cells as JUnit XML to this file")] = None,
    as_json: Json = False,
) -> int:
    """Compare results with the accepted baseline: 0 pass, 1 drift, 3 undecided, 4 no comparable baseline."""
    from reports import ReportError, read
    from reports.drift_output import check, document, lines, publish

    try:
        folder = results or _last_results()
        found = check(folder, baseline or ACCEPTED / f"{read(folder).suite.name}.json", exact)
        publish(found, junit)
    except ReportError as error:
        raise SuiteError(str(error)) from None
    print(json.dumps(document(found), indent=1) if as_json else "\n".join(lines(found)))
    return found.exit_code


@app.command()
def reproduce(
    suite: SuiteName = "auto", results: Results = None, settings: Settings = None, workers: Workers = None
) -> int:
    """Run a suite, time inference, write the report and print where it is: what `make reproduce-glue` calls."""
    from benchmarks.speed import speed_key, subject_key

    planned, store = _prepare(suite, results, settings, "")
    code = _execute(planned, store, planned.runs, workers, "local")
    if planned.suite.speed and not store.speed_is_current(speed_key(planned), subject_key(planned)):
        _time(planned, store)
    print(f"report: {_report(store.path, None)}")
    return code


@app.command()
def doctor(as_json: Json = False) -> int:
    """What this machine can run: device, precision, threads, data, encoders, and a determinism probe."""
    from benchmarks.doctor import examine, show

    found = examine()
    print(json.dumps(found, indent=1) if as_json else show(found))
    return DONE if found["determinism"]["bit_equal"] else FAILED


def main() -> None:
    """Run the command line and exit with its code; a user's mistake is one line, never a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop is a Ctrl-C
    try:
        code = app(standalone_mode=False)
        if code == CTRL_C:  # typer turns a KeyboardInterrupt into this exit code
            code = _interrupted()
    except SuiteError as error:
        say(f"error: {' '.join(str(error).split())}")
        code = BAD_INPUT
    except KeyboardInterrupt:
        code = _interrupted()
    except Exception as error:
        if type(error).__name__ == "Abort":  # what typer makes of Ctrl-C
            code = _interrupted()
        elif type(error).__name__ in {"SuiteError", "TheseusError", "ReportError"}:
            say(f"error: {' '.join(str(error).split())}")
            code = BAD_INPUT
        elif hasattr(error, "format_message"):  # its usage errors
            say(f"error: {error.format_message() or 'no command given'} (see --help)".replace("\n", " "))
            code = BAD_INPUT
        else:
            raise
    sys.exit(code or DONE)


def _interrupted() -> int:
    say("interrupted: finished runs are kept, the same command goes on from here")
    return INTERRUPTED
