"""Check that the files of a run folder agree with each other, before packing and after unpacking a bundle.

    check_consistent(results, run)      # raises ReportError

The id is the hash of the settings, so a folder cannot claim another run's name; settings, manifest, log, predictions
and result must agree. This does not prove that a number was measured, only that the files were not mixed up, cut or
carelessly edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from results.format import layout
from results.format.documents.run import repeated
from results.format.errors import ReportError
from results.format.predictions import check_run
from results.format.records import PROTOCOLS, Results, Run
from results.format.untrusted import real, shown

TOLERANCE = 1e-6  # points


def check_consistent(results: Results, run: Run) -> None:
    """Check one finished run of a folder that `read` accepted; raises `ReportError` naming the wrong file."""
    folder = results.root / run.folder
    _check_names(folder, results, run)
    _check_manifest(folder, run)
    _check_scores(folder, run, next(task.score for task in results.suite.tasks if task.name == run.task))
    check_run(results, run)


def _check_names(folder: Path, results: Results, run: Run) -> None:
    path = folder / layout.CONFIG
    if not run.config:
        raise ReportError(f"{path}: is missing, so its run cannot be identified; run it again")
    if run.config.id != run.run_id:
        raise ReportError(
            f"{path}: does not hold the settings of run {run.run_id}, whose id is their hash; run it again"
        )
    if run.folder != layout.run_folder(run.task, run.method, run.seed, run.run_id):
        raise ReportError(f"{folder}: is not where run {run.run_id} belongs; move it there, or run it again")
    named = (run.config.suite, run.config.arm)
    if named != (results.suite.name, run.arm):
        raise ReportError(f"{path}: is of suite and arm {shown(named)}, not of {results.suite.name} and {run.arm}")


def _check_manifest(folder: Path, run: Run) -> None:
    path = folder / layout.MANIFEST
    if not run.manifest:
        raise ReportError(f"{path}: is missing, so the origin of its numbers is unknown; run it again")
    if run.manifest.run_id != run.run_id:
        raise ReportError(f"{path}: is of another run than {run.run_id}; run it again")
    for key, value in repeated(run.config).items():
        if getattr(run.manifest, key) != value:
            raise ReportError(f"{path}: {key} differs from config.json; run it again")


def _of_score(score: str, metrics: Mapping[str, float | None]) -> list[float]:
    """The metrics that make the score: those whose names begin with its name, else all."""
    own = {name: value for name, value in metrics.items() if name.startswith(score)} or metrics
    return [value for value in own.values() if value is not None]


def _check_scores(folder: Path, run: Run, score_name: str) -> None:
    if run.status != "done":
        return
    for protocol in PROTOCOLS:
        checkpoint = run.at(protocol)
        if checkpoint is None or checkpoint.score is None:
            continue
        values = _of_score(score_name, checkpoint.metrics)
        if not values or abs(100 * sum(values) / len(values) - checkpoint.score) > TOLERANCE:
            raise ReportError(f"{folder / layout.RESULT}: the {protocol} score is not the mean of its metrics")
    if run.curve and run.last is not None:
        path = folder / layout.METRICS
        if run.evaluations != len(run.curve):
            raise ReportError(f"{path}: has {len(run.curve)} evaluations, result.json {run.evaluations}; run it again")
        score, stated = real(run.curve[-1].score), run.last.score
        if score is None or stated is None or abs(score - stated) > TOLERANCE:
            raise ReportError(f"{path}: its last score differs from result.json; run it again")
