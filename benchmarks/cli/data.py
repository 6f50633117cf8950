"""The commands for a user's own data: new and check-data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.base.errors import DONE
from benchmarks.base.terminal import say

app = typer.Typer()


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
    from benchmarks.suites.new import Wanted, new_suite  # loads torch

    say(new_suite(file, Wanted(data, encoder, dev, kind, tuple(text or ()), label)))
    print(file)
    return DONE


@app.command(name="check-data")
def check_data(
    suite: Annotated[str, typer.Argument(help="a suite or a .toml file", metavar="SUITE")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="override a suite key")] = None,
) -> int:
    """Check the data of every task, and nothing else."""
    from benchmarks.plans.inputs import source_of  # loads torch
    from benchmarks.suites.suite import load_suite  # loads torch
    from benchmarks.tasks.data import check_splits  # loads pyarrow, which --help does not need
    from benchmarks.tasks.own.summary import summary  # the same

    found = load_suite(suite, settings or ())
    for name in found.tasks:
        source = source_of(found, name)
        for warning in check_splits(source):
            say(f"warning: {warning}")
        print(summary(source))
    return DONE
