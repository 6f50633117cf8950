"""The commands that read a suite's finished results: report, export, bundle, import, accept, drift.

`benchmarks/cli/main.py` adds them to `python -m benchmarks`. None of them loads torch.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

import reports
from benchmarks.base.errors import ACCEPTED, DONE, RESULTS, SuiteError
from benchmarks.base.terminal import say
from benchmarks.machine.signals import as_interrupts
from results.format.layout import SUITE

app = typer.Typer()

ResultsFolder = Annotated[Path | None, typer.Argument(help="a suite's results folder (default: the latest)")]
Results = Annotated[Path | None, typer.Option(help="results folder (default: results/runs/SUITE)")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]


def last_results() -> Path:
    """The folder under results/runs that a command used last."""
    found = sorted(RESULTS.glob(f"*/{SUITE}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SuiteError(f"no results under {RESULTS}: run a suite first, for example python -m benchmarks run demo")
    return found[-1].parent


@app.command()
def report(
    results: ResultsFolder = None,
    output: Annotated[Path | None, typer.Option(help="folder (default: RESULTS/report)")] = None,
) -> int:
    """Write the HTML report, and the main table as CSV and LaTeX."""
    print(write_report(results or last_results(), output))
    return DONE


@app.command()
def export(
    results: ResultsFolder = None,
    format_: Annotated[str, typer.Option("--format", help="csv, parquet or json")] = "csv",
    wide: Annotated[bool, typer.Option("--wide", help="one row per run, a column per metric")] = False,
    protocol: Annotated[
        str | None, typer.Option(help="last, selected or held_out (default: all; with --wide the suite's)")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="file to write (default: stdout)")] = None,
) -> int:
    """Write the results as a table of runs, protocols and metrics."""
    data = reports.export(results or last_results(), format_, wide, protocol)
    if output is None:
        sys.stdout.buffer.write(data)
    else:
        with _writing(str(output)):
            output.write_bytes(data)
    return DONE


@contextlib.contextmanager
def _writing(target: str) -> Iterator[None]:
    """Raise `SuiteError` if `target` cannot be written."""
    try:
        yield
    except OSError as error:
        raise SuiteError(f"cannot write {target} ({error.strerror}): choose another --output") from None


def write_report(results: Path, output: Path | None) -> Path:
    with _writing(f"the report of {results}"):
        return reports.render(results, output)


def publish_timing(results: Path, output: Path, machine: str | None) -> Path:
    from reports.timing.markdown import publish  # loads scipy

    with _writing(str(output)):
        return publish(results, output, machine)


@app.command()
def bundle(
    results: ResultsFolder = None,
    output: Annotated[Path | None, typer.Option(help="archive to write (default: SUITE.zip here)")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="include kept successors")] = False,
) -> int:
    """Pack finished runs and their hashes into one archive. `import` reads it on another machine."""
    from results.format.bundles.pack import pack  # loads scipy

    with as_interrupts():
        packed = pack(results or last_results(), output, weights)
    say(f"{packed.runs} runs, sha256 {packed.sha256}" + "".join(f"; {part}" for part in packed.left_out))
    print(packed.file)
    return DONE


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="an archive written by `bundle`")], results: Results = None,
    only_missing: Annotated[bool, typer.Option("--only-missing", help="keep runs that the folder already has")] = False,
) -> int:  # fmt: skip
    """Check a bundle and add its runs to a results folder. They are marked as imported."""
    from results.format.bundles.importing import import_bundle  # loads scipy

    with as_interrupts():
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
        list[str] | None,
        typer.Option("--margin", help="points that may be lost: TASK=2.5, macro=1, or 2.5 for all tasks"),
    ] = None,
) -> int:
    """Save finished results as the accepted baseline for `drift`."""
    from reports.drift.baseline import accepted, baseline_document  # loads scipy
    from reports.drift.margins import advice, read_margins  # loads scipy

    found = reports.read(results or last_results())
    kept = accepted(found, read_margins(margins or [], found))
    if any(run.manifest.code_dirty for run in found.runs):
        say("warning: the accepted runs come from a tree with uncommitted changes")
    if any(run.bundle for run in found.runs):
        say("warning: some of the accepted runs were imported and not run here")
    path = output or ACCEPTED / f"{found.suite.name}.json"
    document = baseline_document(kept, found.digest)
    with _writing(str(path)):
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for line in advice(kept):
        say(line)
    print(path)
    return DONE


@app.command()
def drift(
    results: ResultsFolder = None,
    baseline: Annotated[Path | None, typer.Option(help="accepted file (default: results/accepted/SUITE.json)")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="any difference is drift in runs that must repeat bit for bit")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML file to write")] = None,
    as_json: Json = False,
) -> int:
    """Compare results with the accepted baseline. Exit codes: 0 pass, 1 drift, 3 undecided, 4 not comparable."""
    from reports.drift.output import check, document, lines, publish  # loads scipy

    new = reports.read(results or last_results())
    found = check(new, baseline or ACCEPTED / f"{new.suite.name}.json", exact)
    publish(found, junit)
    print(json.dumps(document(found), indent=1) if as_json else "\n".join(lines(found)))
    return found.exit_code
