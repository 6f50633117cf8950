"""What the command line prints: the plan as a table or document, and the progress of a run."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from benchmarks.cost import Estimate, wall_seconds
from benchmarks.plan import Plan, Run
from benchmarks.store import Store
from benchmarks.terminal import plain
from benchmarks.workers import default_workers

LARGEST = 5


def plan_document(
    plan: Plan, runs: Sequence[Run], estimates: dict[str, Estimate], store: Store, calibrated: bool
) -> dict[str, Any]:
    """The plan as plain data: what `plan --json` prints. Seconds are None where neither `calibrated` rates nor
    finished runs say anything of a run."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        result = store.result(run)
        guess = estimates[run.id]
        rows.append(
            {
                "run_id": run.id,
                "task": run.task.name,
                "method": run.method,
                "arm": run.arm,
                "seed": run.seed,
                "trial": run.trial,
                "layers": run.layers,
                "steps": run.steps,
                "predecessor": run.predecessor,
                "start": run.start,
                "status": result["status"] if result else "missing",
                "origin": "imported" if (store.path / run.folder / "imported.json").exists() else "",
                "estimated_seconds": round(guess.seconds, 1) if calibrated or guess.measured else None,
                "estimated_evaluation_seconds": round(guess.evaluation, 1) if calibrated else None,
                "estimated_operations": guess.operations,
                "folder": str(store.path / run.folder),
            }
        )
    open_rows = [row for row in rows if row["status"] == "missing"]
    missing = [run for run in runs if store.result(run) is None]
    workers = default_workers(plan.device)
    known = calibrated or all(estimates[run.id].measured for run in missing)
    seconds = sum(estimates[run.id].seconds for run in missing)
    return {
        "suite": plan.suite.name,
        "title": plan.suite.title,
        "device": plan.device.model_dump(mode="json"),
        "workers": workers,
        "runs": rows,
        "missing": len(open_rows),
        "estimated_operations": sum(estimates[run.id].operations for run in missing),
        "estimated_seconds": round(wall_seconds(missing, estimates, workers), 1) if known else None,
        "estimated_device_hours": round(seconds / workers / 3600, 3) if known else None,
        "estimated_evaluation_share": round(sum(estimates[run.id].evaluation for run in missing) / seconds, 3)
        if known and seconds
        else None,
        "warnings": plan.warnings,
    }


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 48 s, 12 min, 3.4 h; ? for None."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def plan_table(document: dict[str, Any]) -> str:
    """The plan for people: a line per run, then totals and the largest cells."""
    lines = [f"{'run':<18}{'task':<12}{'arm':<22}{'seed':>5}{'steps':>9}{'estimate':>10}  status"]
    cells: dict[str, float] = {}
    for row in document["runs"]:
        lines.append(
            f"{row['run_id']:<18}{row['task']:<12}{row['arm']:<22}{row['seed']:>5}{row['steps']:>9,}"
            f"{duration(row['estimated_seconds']):>10}  {row['status']}{', imported' if row['origin'] else ''}"
        )
        if row["status"] == "missing":
            cell = f"{row['task']} {row['arm']}"
            cells[cell] = cells.get(cell, 0.0) + (row["estimated_seconds"] or 0.0)
    total = sum(cells.values())
    device = document["device"]
    share = document["estimated_evaluation_share"]
    lines.append(
        f"{len(document['runs'])} runs, {document['missing']} to do: about {duration(document['estimated_seconds'])} "
        f"on this machine ({device['device']}, {device['precision']}, {device['threads']} thread(s), "
        f"{document['workers']} at once), {document['estimated_operations']:.2g} operations"
        + (f", {document['estimated_device_hours']:,} device-hours, {share:.0%} of it evaluating" if share else "")
    )
    if total:
        largest = sorted(cells.items(), key=lambda item: -item[1])[:LARGEST]
        lines.append("largest: " + ", ".join(f"{cell} {share / total:.0%}" for cell, share in largest))
    return "\n".join(lines)


def status_text(document: dict[str, Any]) -> str:
    """`status` for people: how many runs are where, and how long the rest will take."""
    counts = Counter(row["status"] for row in document["runs"])
    done = ", ".join(f"{counts[state]} {state}" for state in ("done", "diverged", "failed") if counts[state])
    left = document["estimated_seconds"]
    rest = (
        f"about {duration(left)} left with {document['workers']} at once" if left is not None else "time left unknown"
    )
    return f"{document['suite']}: {done or 'none done'}, {document['missing']} of {len(document['runs'])} to do" + (
        f"; {rest}" if document["missing"] else ""
    )


class Progress:
    """A bar on a terminal, a plain line per finished run elsewhere; counts the failures.

    `guesses`: what each missing run will take, None where this machine was never measured; `workers` run at once.
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
        word = "nothing to do" if self.done == self.total else f"{self.total - self.done} to do{self._left()}"
        self.say(f"{self.done} of {self.total} runs done, {word}")
        self.bar.start()
        self.task = self.bar.add_task("runs", total=self.total, completed=self.done)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        """A line beside the bar."""
        self.console.print(plain(text), markup=False, soft_wrap=True)  # a failure's reason quotes what it met

    def report(self, run: Run, result: dict[str, Any]) -> None:
        """Called as each run ends."""
        self.done += 1
        self.missing.pop(run.id, None)
        self.bar.update(self.task, completed=self.done)
        if result["status"] == "done":
            outcome = f"{result['last']['score']:.1f}  ({result['train_seconds']:.1f} s training)"
        else:
            outcome = f"{result['status']}: {result['reason']}"
            self.failed += result["status"] == "failed"  # a divergence is a finding, not a fault
        if result.get("elsewhere"):
            outcome += ", by another runner"
        elapsed = duration(time.monotonic() - self.started)
        cell = f"{run.task.name} {run.arm} seed {run.seed}"
        self.say(f"[{self.done}/{self.total}] {cell}: {outcome}  [{elapsed}{self._left()}]")

    def _left(self) -> str:
        if self.guesses is None or not self.missing:
            return ""
        return f", about {duration(wall_seconds(list(self.missing.values()), self.guesses, self.workers))} left"
