"""Folders that libraries make whether they need them or not, also where the home folder cannot be written.

A container's user or a batch node often has no home folder. `evaluate.Metric` makes a cache at a run's first
evaluation, in which our metrics keep nothing, and every run failed there, after it had trained.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from benchmarks.base.errors import SuiteError


def lend_folders() -> None:
    """Give libraries a temporary folder where theirs cannot be written; call it before they are imported. Raises
    `SuiteError` where nothing at all can be written."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    hub = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    for variable, usual in (("HF_METRICS_CACHE", f"{hub}/metrics"), ("MPLCONFIGDIR", f"{cache}/matplotlib")):
        if not _writable(os.environ.get(variable) or usual):
            try:
                os.environ[variable] = lent = tempfile.mkdtemp(prefix="theseus-bench-")
            except OSError:
                raise SuiteError("no folder for temporary files can be written: name one in TMPDIR") from None
            atexit.register(shutil.rmtree, lent, ignore_errors=True)


def _writable(folder: str) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
