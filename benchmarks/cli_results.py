"""The commands that read a suite's finished results: export, report, bundle, import, accept, drift; and convert.

They are part of `python -m benchmarks` (cli.py) and, but for `convert`, never load torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import ACCEPTED, DONE, RESULTS, SuiteError
from benchmarks.terminal import say

app = typer.Typer()

ResultsFolder = Annotated[Path | None, typer.Argument(help="a suite's results folder (default: the last one)")]
Results = Annotated[Path | None, typer.Option(help="results folder (default: results/runs/SUITE)")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]


def last_results() -> Path:
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
        data = export_results(results or last_results(), format_)
    except ReportError as error:
        raise SuiteError(str(error)) from None
    if output is None:
        sys.stdout.buffer.write(data)
    else:
        write(output, data)
    return DONE


def write(path: Path, data: bytes) -> None:
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
    print(write_report(results or last_results(), output))
    return DONE


def write_report(results: Path, output: Path | None) -> Path:
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

    packed = pack(results or last_results(), output, weights)
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
        found = read(results or last_results())
        document = freeze(found, read_margins(margins or [], found))
    except ReportError as error:
        raise SuiteError(str(error)) from None
    if any(run.manifest.get("code_dirty") for run in found.runs):
        say("warning: the accepted runs come from a tree with uncommitted changes")
    if any(run.bundle for run in found.runs):
        say("warning: some of the accepted runs were imported and not run here")
    path = output or ACCEPTED / f"{found.suite.name}.json"
    write(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
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
        folder = results or last_results()
        found = check(folder, baseline or ACCEPTED / f"{read(folder).suite.name}.json", exact)
        publish(found, junit)
    except ReportError as error:
        raise SuiteError(str(error)) from None
    print(json.dumps(document(found), indent=1) if as_json else "\n".join(lines(found)))
    return found.exit_code


@app.command()
def convert(source: str, output: Path) -> int:
    """Pickled weights (a folder, or name@revision on the hub) to a safetensors folder."""
    from benchmarks.convert import convert as rewrite

    print(rewrite(source, output))
    return DONE
