"""Write the files that every run has, however it ended: config.json, manifest.json and result.json.

A failed run has them too, with the reason; it is never left out of a table.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.base.identity import surroundings
from benchmarks.machine import device as devices
from benchmarks.plans.run import Run
from benchmarks.runs.store import Store
from results.format import layout
from results.format.documents.codec import joined, written
from results.format.documents.run import Manifest, Outcome, Probe, Result, repeated
from results.format.places import hidden_here


@dataclass(frozen=True)
class Elsewhere(Outcome):
    """The outcome of a run that another runner finished."""


def write(
    run: Run,
    folder: Path,
    started: datetime,
    outcome: Outcome,
    trained: Manifest,
    probe: Probe | None,
    peak: int | None,
) -> Outcome:
    """Fill `folder` with the three files; returns the outcome, whose reason names paths, which result.json does not.
    `trained` has the manifest's keys on
    training, `probe` is the machine's determinism probe.

    A run that is not done keeps only these files, because an error may leave predictions or weights half-written.
    """
    outcome = replace(outcome, peak_memory_bytes=peak)
    manifest = replace(
        trained, **vars(surroundings()), **repeated(run.config), run_id=run.id,
        started=started.isoformat(timespec="seconds"), finished=datetime.now(UTC).isoformat(timespec="seconds"),
        device_name=devices.device_name(run.device), determinism_probe=probe, peak_memory_bytes=peak,
    )  # fmt: skip
    if outcome.status != "done":
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    public = replace(outcome, reason=outcome.reason and hidden_here(outcome.reason, folder.parents[1]))
    result = joined(Result, public, run_id=run.id)
    for name, record in ((layout.CONFIG, run.config), (layout.MANIFEST, manifest), (layout.RESULT, result)):
        (folder / name).write_text(written(record), encoding="utf-8")
    return outcome


def fail(run: Run, store: Store, reason: str, probe: Probe | None) -> Outcome:
    """Record that a run failed whose worker can no longer do it; returns its outcome."""
    folder = store.start()
    outcome = write(run, folder, datetime.now(UTC), Outcome("failed", reason), Manifest(), probe, None)
    store.finish(run, folder)
    return outcome
