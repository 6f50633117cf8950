"""From a results folder to people: statistics, tables, figures and one HTML page.

    from reports import render, export, export_table
    render(Path("results/runs/minilm"))

Reads only a results folder (docs/results.md) and results/published/. Never imports torch,
transformers or the code that trains, so that a report can be made on a machine that has none.
"""

from reports.errors import ReportError
from reports.page import export, render
from reports.reader import export_table, read

__all__ = ["ReportError", "export", "export_table", "read", "render"]
