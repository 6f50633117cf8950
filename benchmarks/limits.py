"""How large a file that somebody else wrote may be before it is refused unread: suite files and model folders.

`reports/limits.py` has the limits of results folders, baselines and bundles. docs/faults.md says why.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import SuiteError

MIB = 2**20
SUITE = MIB  # the largest built-in suite file has 4 kB
MODEL_CONFIG = MIB  # config.json of an encoder
MODEL_TEXT = 64 * MIB  # tokenizer and vocabulary; XLM-R's tokenizer.json has 17 MB
WEIGHTS = 64 * 1024 * MIB
OUTPUTS = 10_000  # labels a head may name
MESSAGE = 1000  # characters of a line on the terminal


def check_size(path: Path, limit: int, what: str) -> None:
    """Raises `SuiteError` for a file of more than `limit` bytes, or one that is no plain file; reads nothing of it."""
    if not path.is_file():
        raise SuiteError(f"{what}: {path} is missing or no plain file")
    found = path.stat().st_size
    if found > limit:
        raise SuiteError(f"{what}: {path} has {found:,} bytes, at most {limit:,} are read: is it the right file?")
