"""The text that the command line prints: the plan as a table, the status of a suite and the progress of a run."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from benchmarks.plans.run import Run
from benchmarks.preflight.cost import Estimate, wall_seconds
from benchmarks.runs.record import Elsewhere
from reports.words import duration
from results.format.documents.run import Outcome
from results.format.limits import MESSAGE
from results.format.untrusted import text

LARGEST = 5


def plan_table(document: dict[str, Any]) -> str:
    """One line per run, then totals and the cells that take longest."""
    lines = [f"{'run':<18}{'task':<12}{'arm':<22}{'seed':>5}{'steps':>9}{'estimate':>10}  status"]
    cells: dict[str, float] = defaultdict(float)
    for row in document["runs"]:
        lines.append(
            f"{row['run_id']:<18}{row['task']:<12}{row['arm']:<22}{row['seed']:>5}{row['steps']:>9,}"
            f"{duration(row['estimated_seconds']):>10}  {row['status']}{', imported' if row['origin'] else ''}"
        )
        if row["status"] == "missing":
            cells[f"{row['task']} {row['arm']}"] += row["estimated_seconds"] or 0.0
    place = "{device}, {precision}, {threads} thread(s)".format(**document["device"])
    seconds, share = document["estimated_seconds"], document["estimated_evaluation_share"]
    wall = "time unknown" if seconds is None else f"about {duration(seconds)}"
    lines.append(
        f"{len(document['runs'])} runs, {document['missing']} to do: {wall} "
        f"on this machine ({place}, {document['workers']} at once), {document['estimated_operations']:.2g} operations"
        + (f", {document['estimated_device_hours']:,} device-hours, {share:.0%} of it evaluating" if share else "")
    )
    if total := sum(cells.values()):
        largest = [
            f"{cell} {cells[cell] / total:.0%}" for cell in sorted(cells, key=lambda cell: -cells[cell])[:LARGEST]
        ]
        lines.append("largest: " + ", ".join(largest))
    return "\n".join(lines)


def status_text(document: dict[str, Any]) -> str:
    """One line: the number of runs by status, and the time left."""
    counts = Counter(row["status"] for row in document["runs"])
    done = ", ".join(f"{counts[state]} {state}" for state in ("done", "diverged", "failed") if counts[state])
    line = f"{document['suite']}: {done or 'none done'}, {document['missing']} of {len(document['runs'])} to do"
    if not document["missing"]:
        return line
    left = document["estimated_seconds"]
    if left is None:
        return f"{line}; time left unknown"
    return f"{line}; about {duration(left)} left with {document['workers']} at once"


class Progress:
    """Show a bar on a terminal and a plain line per finished run elsewhere; count the failures.

    `guesses`: estimates by run id, None if this machine's step times are unknown. `workers` runs train at once.
    """

    def __init__(
        self, runs: Sequence[Run], missing: Sequence[Run], guesses: dict[str, Estimate] | None, workers: int
    ) -> None:
        self.total, self.done, self.failed = len(runs), len(runs) - len(missing), 0
        self.missing, self.guesses, self.workers = {run.id: run for run in missing}, guesses, workers
        self.console = Console(file=sys.stderr, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Bar(*columns, console=self.console, disable=not self.console.is_terminal)
        self.started = time.monotonic()

    def __enter__(self) -> Progress:
        rest = "nothing to do" if self.done == self.total else f"{self.total - self.done} to do{self._left()}"
        self.say(f"{self.done} of {self.total} runs done, {rest}")
        self.bar.start()
        self.task = self.bar.add_task("runs", total=self.total, completed=self.done)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def say(self, said: str) -> None:
        """Print a line above the bar, cleaned, because the reason of a failure quotes foreign text."""
        self.console.print(text(said, MESSAGE), markup=False, soft_wrap=True)

    def report(self, run: Run, result: Outcome) -> None:
        """Count and print a run that has ended."""
        self.done += 1
        self.missing.pop(run.id, None)
        self.bar.update(self.task, completed=self.done)
        if result.status == "done":
            outcome = f"{result.score('last'):.1f}  ({result.train_seconds:.1f} s training)"
        else:
            outcome = f"{result.status}: {result.reason}"
            self.failed += result.status == "failed"  # a divergence is a finding, not a fault
        if isinstance(result, Elsewhere):
            outcome += ", by another runner"
        elapsed = duration(time.monotonic() - self.started)
        cell = f"{run.task.name} {run.arm} seed {run.seed}"
        self.say(f"[{self.done}/{self.total}] {cell}: {outcome}  [{elapsed}{self._left()}]")

    def _left(self) -> str:
        if self.guesses is None or not self.missing:
            return ""
        return f", about {duration(wall_seconds(list(self.missing.values()), self.guesses, self.workers))} left"
