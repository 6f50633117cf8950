"""The commands that prepare a suite: choose, convert, new, check-data.

`benchmarks/cli/main.py` adds them to `python -m benchmarks`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import reports
from benchmarks.base.errors import DONE
from benchmarks.base.terminal import say

app = typer.Typer()


def _preparing() -> Any:
    from benchmarks.cli import preparing  # loads torch, for one second; --help does not need it

    return preparing


@app.command()
def choose(
    search: Annotated[Path, typer.Argument(help="the results folder of a suite with grids")],
    suite: Annotated[str, typer.Argument(help="the suite that trains the winners again on other seeds")],
) -> int:
    """Write the winners of a search into another suite's file."""
    path, unfinished = _preparing().choose(reports.read(search), suite)
    if unfinished:
        say(f"left out, because their search is not finished: {', '.join(unfinished)}")
    print(path)
    return DONE


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="a folder, or NAME@REVISION on the hub")],
    output: Annotated[Path, typer.Argument(help="the folder to write")],
) -> int:
    """Convert pickled weights to a folder with safetensors."""
    print(_preparing().convert(source, output))
    return DONE


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="the suite file to write, a .toml")],
    data: Annotated[Path, typer.Option(help="training data: .csv, .tsv, .jsonl or .parquet")],
    encoder: Annotated[Path, typer.Option(help="a save_pretrained folder")],
    dev: Annotated[Path | None, typer.Option(help="dev data (default: a tenth of the training data)")] = None,
    kind: Annotated[str | None, typer.Option(help="classification or regression (default: by the labels)")] = None,
    text: Annotated[list[str] | None, typer.Option(help="column with the text; twice for a pair of texts")] = None,
    label: Annotated[str | None, typer.Option(help="column with the label")] = None,
) -> int:
    """Write a suite file for data and an encoder of your own."""
    work = _preparing()
    say(work.new_suite(file, work.Wanted(data, encoder, dev, kind, tuple(text or ()), label)))
    print(file)
    return DONE


@app.command(name="check-data")
def check_data(
    suite: Annotated[str, typer.Argument(help="a suite or a .toml file", metavar="SUITE")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="override a suite key")] = None,
) -> int:
    """Check the data of every task, and nothing else."""
    for line in _preparing().checked_data(suite, settings or ()):
        print(line)
    return DONE
