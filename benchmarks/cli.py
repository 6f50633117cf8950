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
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks import cli_results, stopping
from benchmarks.cli_results import Json, Results, write_report
from benchmarks.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED, RESULTS, SuiteError, nearest
from benchmarks.terminal import say

if TYPE_CHECKING:
    from benchmarks.plan import Plan, Run
    from benchmarks.store import Store

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Train BERT-of-Theseus beside its baselines under one runner, and compare.",
)  # fmt: skip

app.registered_commands += cli_results.app.registered_commands

SuiteName = Annotated[str, typer.Argument(help="demo, minilm, paper, auto or a .toml file", metavar="SUITE")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="override a suite key, e.g. training.epochs=1")]
Tasks = Annotated[str, typer.Option(help="only these tasks, comma-separated")]
Methods = Annotated[str, typer.Option(help="only these methods or arms, comma-separated")]
Seeds = Annotated[str, typer.Option(help="only these seeds, comma-separated")]
Workers = Annotated[int | None, typer.Option(min=1, help="processes at once (default: cores / threads)")]
EngineName = Annotated[str, typer.Option("--engine", help="local (ray will follow)")]


CTRL_C = 130


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
    from benchmarks.stale import older_runs

    planned, store = _prepare(suite, results, settings, tasks)
    runs = planned.select(_split(tasks), _split(methods), _numbers(seeds))
    if older := older_runs(runs, store.path):
        say(older)
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
    from benchmarks.rates import rates_of
    from benchmarks.show import plan_document

    rates = rates_of(planned, say if measure else None)
    return plan_document(planned, runs, estimates(runs, planned, store, rates), store, rates is not None)


@app.command()
def run(
    suite: SuiteName, results: Results = None, tasks: Tasks = "", methods: Methods = "", seeds: Seeds = "",
    workers: Workers = None, engine: EngineName = "local", settings: Settings = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="between checkpoints of a run")] = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="a few steps of every cell, nothing kept")] = False,
    steps: Annotated[int, typer.Option(min=1, help="steps of a dry run")] = 2,
) -> int:  # fmt: skip
    """Execute what is missing. Safe to interrupt and repeat."""
    from benchmarks.dry import dry_run as rehearse
    from benchmarks.running import execute_missing, fetch_inputs

    planned, store = _prepare(suite, results, settings, tasks)
    runs = planned.select(_split(tasks), _split(methods), _numbers(seeds))
    if dry_run:
        rehearse(planned, fetch_inputs(planned, runs), steps, say)
        return DONE
    return execute_missing(planned, store, runs, workers, engine, checkpoint_seconds)


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
def speed(
    suite: SuiteName, results: Results = None, settings: Settings = None, as_json: Json = False,
    matrix: Annotated[bool, typer.Option("--matrix", help="every variant, batch, length and thread count")] = False,
    output: Annotated[Path | None, typer.Option(help="folder for a copy to keep: speed.json and speed.md")] = None,
    machine: Annotated[str | None, typer.Option(help="the machine in words, for that copy")] = None,
) -> int:  # fmt: skip
    """Paired inference timing of predecessor and successor, kept as the suite's speed.json."""
    from benchmarks.running import refuse_random
    from benchmarks.settings import MATRIX

    planned, store = _prepare(suite, results, [*([MATRIX] if matrix else []), *(settings or [])], "")
    refuse_random(planned)
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
    from benchmarks.loading import fetch
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


@app.command()
def reproduce(
    suite: SuiteName = "auto", results: Results = None, settings: Settings = None, workers: Workers = None
) -> int:
    """Run a suite, time inference, write the report and print where it is: what `make reproduce-glue` calls."""
    from benchmarks.running import execute_missing
    from benchmarks.speed import speed_key, subject_key

    planned, store = _prepare(suite, results, settings, "")
    code = execute_missing(planned, store, planned.runs, workers, "local")
    if planned.suite.speed and not store.speed_is_current(speed_key(planned), subject_key(planned)):
        _time(planned, store)
    print(f"report: {write_report(store.path, None)}")
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
    with stopping.as_interrupts():
        code = _run()
    sys.exit(code)


def _run() -> int:
    try:
        code = app(standalone_mode=False)
        return _interrupted() if code == CTRL_C else code or DONE  # typer turns a KeyboardInterrupt into this exit code
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:
        if type(error).__name__ == "Abort":  # what typer makes of Ctrl-C
            return _interrupted()
        if type(error).__name__ in {"SuiteError", "TheseusError", "ReportError"}:
            say(f"error: {' '.join(str(error).split())}")
        elif hasattr(error, "format_message"):  # its usage errors
            say(f"error: {error.format_message() or 'no command given'} (see --help)".replace("\n", " "))
        else:
            raise
        return BAD_INPUT


def _interrupted() -> int:
    say(stopping.SAID)
    return INTERRUPTED
