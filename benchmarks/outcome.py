"""What a run leaves behind whatever became of it: config.json, manifest.json and result.json.

A run that failed has them too, with the reason; it is never left out of a table.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import device as devices
from benchmarks.identity import surroundings
from benchmarks.plan import Run
from benchmarks.store import Store, dump

RESULT = ("status", "reason", "last", "selected", "held_out", "evaluations", "steps", "epochs", "layers", "parameters",
          "trainable_parameters", "train_seconds", "examples_per_second")  # fmt: skip


def write(
    run: Run, folder: Path, started: datetime, result: dict[str, Any], extra: dict[str, Any], peak: int | None
) -> dict[str, Any]:
    """Fill `folder` with the three files; what result.json says. `extra` goes into the manifest.

    A run that is not done has nothing but these: a full disk leaves predictions or weights half-written.
    """
    result = {"schema": 1, "run_id": run.id, **dict.fromkeys(RESULT), **result, "peak_memory_bytes": peak}
    manifest = {
        "schema": 1,
        "run_id": run.id,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **surroundings(),
        "code_hash": run.config["code"],
        "device": run.config["device"],
        "device_name": devices.device_name(run.device),
        "data_fingerprint": run.config["data"]["fingerprint"],
        "encoder_hash": run.encoder.hash,
        "predecessor": run.predecessor,
        "determinism_probe": None,
        "peak_memory_bytes": peak,
        **extra,
    }
    if result["status"] != "done":
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    for name, value in (("config", run.config), ("manifest", manifest), ("result", result)):
        (folder / f"{name}.json").write_text(dump(value), encoding="utf-8")
    return result


def fail(run: Run, store: Store, reason: str, extra: dict[str, Any]) -> dict[str, Any]:
    """Write down that a run failed whose worker cannot do it any more; its result."""
    folder = store.start()
    written = write(run, folder, datetime.now(UTC), {"status": "failed", "reason": reason}, extra, None)
    store.finish(run, folder)
    return written
