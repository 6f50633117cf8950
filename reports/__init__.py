"""Reports on a results folder: statistics, tables, figures and one HTML page.

    from reports import load_results, render
    render(Path("results/runs/minilm"))
    load_results("results/runs/minilm").groupby(["arm", "task"]).score.mean()

The package reads only a results folder (docs/results.md), results/published/ and, for `drift`, an accepted baseline. It
never imports torch, transformers or the code that trains, so that a report can be made on a machine without them.

`load_results`, `render`, `read` and `export_table` are imported when they are first used, because pandas, scipy,
matplotlib and jinja2 take more than a second to load and most callers need only some of them.
"""

from importlib import import_module
from typing import Any

from reports.export import export
from results.format.errors import ReportError

__all__ = ["ReportError", "export", "export_table", "load_results", "read", "render"]
_LATER = {
    "export_table": "results.format.reader",
    "read": "results.format.reader",
    "render": "reports.page.page",
    "load_results": "reports.tidy",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
