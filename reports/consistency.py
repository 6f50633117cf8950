"""Does a run folder agree with itself, as far as that can be told without training it again?

    check_consistent(results, run)      # raises ReportError

The id is the hash of the settings, so a folder cannot claim another run's name; settings, manifest, log,
predictions and result must tell one story. Bundles are held to it in both directions. None of this
proves that a number was measured: it proves that nobody mixed up, cut or carelessly edited the files.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reports.environment import as_mapping
from reports.errors import ReportError
from reports.predictions import check_run
from reports.results import PROTOCOLS, Results, Run
from reports.untrusted import real, shown

TOLERANCE = 1e-6  # points
# what a manifest repeats of the settings: its key, and where it stands in config.json
REPEATED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("code_hash", ("code",)),
    ("data_fingerprint", ("data", "fingerprint")),
    ("encoder_hash", ("encoder", "hash")),
    ("predecessor", ("predecessor",)),
    ("device", ("device",)),
)


def config_id(config: Mapping[str, Any]) -> str:
    """The id of a run with these settings: a hash of all of config.json but the suite's name (docs/results.md)."""
    content = {key: value for key, value in config.items() if key != "suite"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def check_consistent(results: Results, run: Run) -> None:
    """One finished run of a folder that `read` has accepted; raises `ReportError` with the file that is wrong."""
    folder = results.root / run.folder
    _check_names(folder, results, run)
    _check_manifest(folder, run)
    _check_scores(folder, run)
    check_run(results, run)


def _check_names(folder: Path, results: Results, run: Run) -> None:
    path = folder / "config.json"
    if not run.config:
        raise ReportError(f"{path}: is missing, so its run cannot be told from others; run it again")
    if config_id(run.config) != run.run_id:
        raise ReportError(f"{path}: is not the settings of run {run.run_id}, whose id is their hash; run it again")
    if run.folder != f"{run.task}/{run.method}/seed-{run.seed}-{run.run_id}":
        raise ReportError(f"{folder}: is not where run {run.run_id} belongs; move it there, or run it again")
    named = (run.config.get("suite"), run.config.get("arm"))
    if named != (results.suite.name, run.arm):
        raise ReportError(f"{path}: is of suite and arm {shown(named)}, not of {results.suite.name} and {run.arm}")


def _check_manifest(folder: Path, run: Run) -> None:
    path = folder / "manifest.json"
    if not run.manifest:
        raise ReportError(f"{path}: is missing, so nobody can tell where its numbers come from; run it again")
    if run.manifest.get("run_id") != run.run_id:
        raise ReportError(f"{path}: is of another run than {run.run_id}; run it again")
    for key, place in REPEATED:
        value: Any = run.config
        for part in place:
            value = as_mapping(value).get(part)
        if run.manifest.get(key) != value:
            raise ReportError(f"{path}: {key} is not the one in config.json; run it again")


def _check_scores(folder: Path, run: Run) -> None:
    if run.status != "done":
        return
    for protocol in PROTOCOLS:
        checkpoint = run.at(protocol)
        if checkpoint is None or checkpoint.score is None:
            continue
        values = [value for value in checkpoint.metrics.values() if value is not None]
        if not values or abs(100 * sum(values) / len(values) - checkpoint.score) > TOLERANCE:
            raise ReportError(f"{folder / 'result.json'}: the {protocol} score is not the mean of its metrics")
    if run.curve and run.last is not None:
        path = folder / "metrics.jsonl"
        if run.evaluations != len(run.curve):
            raise ReportError(f"{path}: has {len(run.curve)} evaluations, result.json {run.evaluations}; run it again")
        score, stated = real(run.curve[-1].get("score")), run.last.score
        if score is None or stated is None or abs(score - stated) > TOLERANCE:
            raise ReportError(f"{path}: its last score is not the one in result.json; run it again")
