"""Names in a results folder: run ids, run folders, files, and the machine that writes them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import uuid
from collections.abc import Mapping
from typing import Any

# files of a results folder
SUITE = "suite.json"
SPEED = "speed.json"
# files of a run folder
CONFIG = "config.json"
MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
PREDICTIONS = "predictions.parquet"
RESULT = "result.json"
SUCCESSOR = "successor"
# in it, of a sentence encoder that does not pool by the mean: how it does, and the parts for sentence-transformers
POOLING = "1_Pooling/config.json"
MODULES = "modules.json"
# The folder of imported weights. No run looks for this name, so a stranger's model is used only if a suite names it.
IMPORTED_SUCCESSOR = "imported-successor"
# in either: marks an import
MARK = "imported.json"
# folders of runs in progress
CACHE = "cache"
STAGING = ".partial"
CHECKPOINTS = ".checkpoints"
LEASES = ".leases"
DAMAGED = ".damaged"  # folders of runs whose result cannot be read, moved away when the run was made again

RUN = re.compile(r"([^/]+)/([^/]+)/seed-\d{1,10}-([0-9a-f]{16})")
FIRST_NAMESPACE = "4026531836"  # the namespace of process ids outside containers, the same on every Linux


def run_folder(task: str, method: str, seed: int, id_: str) -> str:
    """The folder of a run, relative to the results folder."""
    return f"{task}/{method}/seed-{seed}-{id_}"


def id_in(name: str) -> str | None:
    """The run id in the name of a run's folder, None for any other name."""
    return name.rpartition("-")[2] if name.startswith("seed-") else None


def digest(value: Any) -> str:
    """sha256 of a JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def run_id(settings: Mapping[str, Any]) -> str:
    """The id of the run with these settings (`Config.settings`)."""
    return digest(settings)[:16]


def _namespace() -> str:
    """The namespace of process ids; "" outside containers."""
    with contextlib.suppress(OSError):
        found = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
        return "" if found == FIRST_NAMESPACE else found
    return ""


def _boot() -> str:
    """This boot of this machine: two machines of one host name differ in it, and so do two boots of one machine."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return re.sub(r"[^0-9a-f]", "", file.read())[:12]
    return f"{uuid.getnode():012x}"


# This machine in names of folders and in leases: only if it is equal does a process id mean the same process. It
# includes the namespace, because containers may share their host's name and boot but not its process ids.
MACHINE = f"{re.sub(r'[^A-Za-z0-9]', '', platform.node()) or 'here'}{_namespace()}-{_boot()}"
