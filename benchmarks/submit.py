"""From finished runs to a submission: test predictions of the successors a suite has kept.

Which checkpoint that is, is the suite's `protocol`; nothing here looks at a test label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks import device as devices
from benchmarks.errors import SuiteError
from benchmarks.loading import load_tokenizer
from benchmarks.plan import Run
from benchmarks.submission import SERVER_FILES, predict_test, write_submission


def submit_runs(runs: Sequence[Run], results: Path, output: Path) -> list[str]:
    """Write `output` from one run per task; a line for each file the server demands and these runs do not give.

    Raises `SuiteError` for no run, several of one task, a task GLUE's server does not have, or a successor that
    was not kept.
    """
    if not runs:
        raise SuiteError("no run fits: name one arm with --methods and one seed with --seeds")
    for task, count in Counter(run.task.name for run in runs).items():
        if count > 1:
            raise SuiteError(f"{task} has {count} runs of that arm and seed: a search is submitted one trial at a time")
    known = {file.task for file in SERVER_FILES.values()}
    for run in runs:
        if run.task.name not in known:
            raise SuiteError(f"{run.task.name} is not a task of GLUE's server: leave it out with --tasks")
        if not (results / run.folder / "successor").is_dir():
            raise SuiteError(f"{run.folder} has no successor: run it with --set keep_successors=true, then submit")
    devices.apply(runs[0].device)
    predictions: dict[str, list[int | float]] = {}
    for run in runs:
        predictions |= predict_test(
            results / run.folder / "successor", run.task, run.source, load_tokenizer(run.tokenizer), run.max_length,
            run.device,
        )  # fmt: skip
    return write_submission(output, predictions)
