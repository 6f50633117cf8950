"""A results folder as one tidy table, for pandas.

from reports import load_results
frame = load_results("results/runs/minilm")
frame.groupby(["arm", "task"]).score.mean()        # the means of the report's main table
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from results.format.errors import ReportError
from results.format.reader import export_table, read
from results.format.records import Results, Run
from results.format.trials import chosen_trial

HEAD = ("suite", "task", "arm", "method", "seed", "trial", "status", "protocol", "score")
TAIL = ("steps", "epochs", "layers", "parameters", "trainable_parameters", "train_seconds", "examples_per_second",
        "peak_memory_bytes", "origin", "run_id")  # fmt: skip
WHOLE = ("seed", "trial", "steps", "layers", "parameters", "trainable_parameters", "peak_memory_bytes")
TEXT = ("suite", "task", "arm", "method", "status", "protocol", "origin", "run_id")


def load_results(folder: Path | str, protocol: str | None = None, trials: bool = False) -> pd.DataFrame:
    """One row per planned run at one protocol's checkpoint, in planned order.

    `protocol` is `last`, `selected` or `held_out` (default: the suite's own). `score` is the task's score, 0 to 100; a
    column per metric of the suite's tasks follows, raw (0 to 1, correlations -1 to 1), NaN where a task lacks it. A run
    that is missing, failed or diverged has its `status` and NaN. Of a search only the chosen trials are in the table,
    as in the report; `trials=True` adds the others. Raises `ReportError`.
    """
    results = read(Path(folder))
    chosen = protocol or results.suite.protocol
    if chosen not in results.protocols:
        raise ReportError(f"{folder}: no protocol {chosen!r} here; there are {', '.join(results.protocols)}")
    counts = {(t.name, a.name): chosen_trial(results, t.name, a.name, chosen)
              for t in results.suite.tasks for a in results.suite.arms}  # fmt: skip
    runs = [run for run in results.runs if trials or run.trial == counts[run.task, run.arm]]
    rows = [_row(results, run, chosen) for run in runs]
    known = dict.fromkeys(name for row in rows for name in row)
    metrics = [name for name in known if name not in (*HEAD, *TAIL)]
    frame = pd.DataFrame(rows, columns=[*HEAD, *metrics, *TAIL])
    kinds: dict[str, str] = dict.fromkeys(WHOLE, "Int64") | dict.fromkeys(TEXT, "str")
    return frame.astype(dict.fromkeys(frame.columns, "float64") | kinds)


def table(folder: Path, wide: bool, protocol: str | None) -> pd.DataFrame:
    """What `export` writes: `load_results`, or a row per run, protocol and metric; of one `protocol` if it is given."""
    if wide:
        return load_results(folder, protocol)
    frame = export_table(Path(folder))
    if protocol is None:
        return frame
    known = sorted(set(frame["protocol"]))
    if protocol not in known:
        raise ReportError(f"{folder}: no protocol {protocol!r} here; there are {', '.join(known)}")
    return frame[frame["protocol"] == protocol]


def _row(results: Results, run: Run, protocol: str) -> dict[str, object]:
    checkpoint = run.at(protocol)
    own = {name: getattr(run, name) for name in (*HEAD, *TAIL) if hasattr(run, name) and name != "score"}
    at = dict(checkpoint.metrics) if checkpoint else {}
    return at | own | {"suite": results.suite.name, "protocol": protocol, "score": run.score(protocol)}
