"""The environment of a run, for ids and manifests: installed versions, the commit, the lock and the platform."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import metadata

from benchmarks.base.errors import ROOT
from results.format.documents.run import Surroundings

PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "evaluate", "safetensors", "numpy", "scipy",
            "scikit-learn", "pandas", "pyarrow")  # fmt: skip


def packages(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Installed versions. A run's id covers those of packages that compute; its manifest lists all of `PACKAGES`."""
    return {name: _version(name) for name in names}


_version = cache(metadata.version)  # it reads a package's whole metadata: 3 ms each, and every run asks for several


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@lru_cache(maxsize=1)
def surroundings() -> Surroundings:
    """The part of a manifest that is equal for all runs of a process: code, packages, lock, platform."""
    status = _git("status", "--porcelain")
    lock = ROOT / "constraints.txt"
    return Surroundings(
        code_commit=_git("rev-parse", "HEAD"),
        code_dirty=None if status is None else bool(status),
        lock_hash=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        packages=packages(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
    )
