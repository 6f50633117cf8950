"""The command line: `python -m benchmarks plan | run | export | report | accept | drift | speed | …`.

    python -m benchmarks plan minilm
    python -m benchmarks run minilm --tasks rte --seeds 1 --set training.epochs=1
    python -m benchmarks report results/runs/minilm

Messages go to stderr; tables, documents (--json, export) and the report's path go to stdout. Exit codes: 0 done, 1 a
run or check failed, 2 bad input (one line), 75 interrupted and resumable; `drift` also has 3 undecided and 4 no
comparable baseline. Only the commands that need heavy packages import them; `report`, `export`, `accept` and `drift`
never load torch.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.base.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED
from benchmarks.base.folders import lend_folders
from benchmarks.base.terminal import quieten_clients, say
from benchmarks.cli import prepare, results
from benchmarks.cli.asked import asked
from benchmarks.cli.results import Json, Results, publish_timing, write_report
from benchmarks.machine import signals
from results.format.documents.codec import document
from results.format.errors import UserError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train BERT-of-Theseus and its baselines under one runner, and compare them.",
)

SuiteName = Annotated[str, typer.Argument(help="demo, minilm, paper, auto or a .toml file", metavar="SUITE")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="override a suite key, e.g. training.epochs=1")]
Tasks = Annotated[str, typer.Option(help="only these tasks, comma-separated")]
Methods = Annotated[str, typer.Option(help="only these methods or arms, comma-separated")]
Seeds = Annotated[str, typer.Option(help="only these seeds, comma-separated")]
Workers = Annotated[int | None, typer.Option(min=1, help="worker processes (default: cores / threads)")]
EngineName = Annotated[str, typer.Option("--engine", help="where workers run: local (ray is refused: not written yet)")]

CTRL_C = 130


def _planning() -> Any:
    from benchmarks.cli import planning  # loads torch, for one second; --help does not need it

    return planning


def _experiment() -> Any:
    from benchmarks.cli import experiment  # loads transformers, for four seconds

    return experiment


@app.command()
def plan(
    suite: SuiteName, results: Results = None, tasks: Tasks = "", methods: Methods = "", seeds: Seeds = "",
    settings: Settings = None, as_json: Json = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="first measure unknown step times of this machine")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="first try a step of every kind of run, as run does")] = False,
) -> int:  # fmt: skip
    """List every run with its id, status and estimated time."""
    print(_planning().plan_text(asked(suite, results, settings, tasks, methods, seeds), calibrate, as_json, check))
    return DONE


@app.command()
def status(suite: SuiteName, results: Results = None, settings: Settings = None, as_json: Json = False) -> int:
    """Show how many runs are done and the time left. A suite may be running meanwhile."""
    print(_planning().progress_text(asked(suite, results, settings), as_json))
    return DONE


@app.command()
def run(
    suite: SuiteName, results: Results = None, tasks: Tasks = "", methods: Methods = "", seeds: Seeds = "",
    workers: Workers = None, engine: EngineName = "local", settings: Settings = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="seconds between checkpoints of a run")] = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="take a few steps of every cell and keep nothing")] = False,
    steps: Annotated[int, typer.Option(min=1, help="steps of a dry run")] = 2,
) -> int:  # fmt: skip
    """Execute the missing runs. The command is safe to interrupt and repeat."""
    wanted, lab = asked(suite, results, settings, tasks, methods, seeds), _experiment()
    code: int = lab.rehearse(wanted, steps) if dry_run else lab.run(wanted, workers, engine, checkpoint_seconds)
    return code


@app.command()
def reproduce(
    suite: SuiteName = "auto", results: Results = None, settings: Settings = None, workers: Workers = None
) -> int:
    """Run a suite, time inference, write the report, print its path. `make reproduce-glue` calls this."""
    folder, code = _experiment().reproduce(asked(suite, results, settings), workers)
    print(f"report: {write_report(folder, None)}")
    return int(code)


# here, because --help lists them in this order
app.registered_commands += results.app.registered_commands + prepare.app.registered_commands


@app.command()
def speed(
    suite: SuiteName, results: Results = None, settings: Settings = None, as_json: Json = False,
    matrix: Annotated[bool, typer.Option("--matrix", help="every variant, batch, length and thread count")] = False,
    output: Annotated[Path | None, typer.Option(help="folder for a copy: speed.json and speed.md")] = None,
    machine: Annotated[str | None, typer.Option(help="description of the machine, for that copy")] = None,
) -> int:  # fmt: skip
    """Time predecessor and successor in pairs, and write speed.json."""
    folder, timing = _experiment().time_inference(asked(suite, results, settings), matrix)
    if output is not None:
        say(f"written to {publish_timing(folder, output, machine)}")
    if as_json:
        print(json.dumps(document(timing)))
    return DONE


@app.command()
def submit(
    suite: SuiteName, output: Annotated[Path, typer.Option(help="the zip to write")],
    methods: Annotated[str, typer.Option(help="one arm")] = "theseus",
    seeds: Annotated[str, typer.Option(help="one seed")] = "1",
    results: Results = None, tasks: Tasks = "", settings: Settings = None,
) -> int:  # fmt: skip
    """Write one arm's test predictions as a zip for GLUE's server."""
    _experiment().submit(asked(suite, results, settings, tasks, methods, seeds), output)
    print(output)
    return DONE


@app.command()
def doctor(as_json: Json = False) -> int:
    """Show what this machine can run, and whether it repeats itself."""
    from benchmarks.preflight.doctor import examine, show  # loads transformers

    found = examine()
    print(json.dumps(found, indent=1) if as_json else show(found))
    return DONE if found["determinism"]["bit_equal"] else FAILED


def main() -> None:
    """Run the command line and exit with its code. A user's mistake gives one line and no traceback."""
    for stream in (sys.stdout, sys.stderr):  # a terminal or a log may take ASCII only; hours of work must not end there
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run())


def _run() -> int:
    try:
        lend_folders()
        quieten_clients()
        code = app(standalone_mode=False)
        sys.stdout.flush()
        return _interrupted() if code == CTRL_C else code or DONE  # typer returns this code for a KeyboardInterrupt
    except KeyboardInterrupt:
        return _interrupted()
    except (BrokenPipeError, SystemExit):  # typer and rich turn a broken pipe into a SystemExit
        return INTERRUPTED  # no message, because the reader of our output has gone, as in `| head`
    except Exception as error:
        if type(error).__name__ == "Abort":  # typer raises this for Ctrl-C
            return _interrupted()
        # TheseusError is compared by name, because importing it loads torch and `theseus` does not use our errors
        if isinstance(error, UserError) or type(error).__name__ == "TheseusError":
            say(f"error: {' '.join(str(error).split())}")
        elif hasattr(error, "format_message"):  # a usage error of typer
            message = (error.format_message() or "no command given").replace("\n", " ")
            hint = "the suites are benchmarks/suites/*.toml; " if "'SUITE'" in message else ""
            say(f"error: {message} ({hint}see --help)")
        elif isinstance(error, OSError) and error.filename is not None:
            # A path that the user gave or that somebody else changed; our own faults have no file's name.
            say(f"error: {error.filename}: {error.strerror or error}: check the path and its permissions")
        else:
            raise
        return BAD_INPUT


def _interrupted() -> int:
    say(signals.SAID)
    return INTERRUPTED
