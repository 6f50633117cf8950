"""The export of a results folder as a table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

from reports.words import plain_cell
from results.format.errors import ReportError


def export(
    results_folder: Path,
    format: Literal["csv", "parquet", "json"] | str,
    wide: bool = False,
    protocol: str | None = None,
) -> bytes:
    """The results table as csv, parquet or json (a list of objects); raises `ReportError`.

    It has a row per run, protocol and metric (`reader.export_table`). `wide`: a row per run at one `protocol`
    (`reports.tidy`); without it, `protocol` keeps the rows of that protocol.
    """
    if format not in ("csv", "parquet", "json"):
        raise ReportError(f"export format {format!r} is unknown; use csv, parquet or json")
    from reports.tidy import table  # pandas: `import reports` loads this module and must stay quick

    frame = table(results_folder, wide, protocol)
    if format == "parquet":
        out = io.BytesIO()
        frame.to_parquet(out, index=False)
        return out.getvalue()
    if format == "json":
        return (frame.to_json(orient="records", indent=1, double_precision=15) + "\n").encode()
    for name in frame.columns[frame.dtypes == "str"]:
        frame[name] = frame[name].map(plain_cell, na_action="ignore")
    return bytes(frame.to_csv(index=False, lineterminator="\n").encode())
