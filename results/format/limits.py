"""Size limits for files from elsewhere; a larger file is refused unread. docs/faults.md says why.

Each limit is many times the size of the largest honest file: the largest planned suite (8 tasks, 12 arms of 16 trials,
20 seeds) has a suite.json of 8 MB, a run's config.json has 3 kB, QQP's predictions have 3 MB.
"""

from __future__ import annotations

from pathlib import Path

from results.format import layout
from results.format.errors import UserError

KIB, MIB, GIB = 2**10, 2**20, 2**30

# bytes of a file, by its name
FILES = {
    layout.SUITE: 32 * MIB,
    layout.SPEED: 16 * MIB,
    layout.CONFIG: MIB,
    layout.MANIFEST: 4 * MIB,
    layout.RESULT: MIB,
    layout.MARK: MIB,
    layout.METRICS: 64 * MIB,
    layout.PREDICTIONS: 256 * MIB,
}
OTHER_FILE = 64 * MIB  # an accepted baseline, under any name
METRICS_LINE = MIB
DEPTH = 64  # nested arrays and objects; ours have 6 levels
WHOLE_NUMBER = 2**63  # the first whole number that no column holds

# predictions.parquet
PREDICTION_ROWS = 3_000_000  # if a task does not state its number of dev examples
OUTPUTS = 1024  # logits per example: a task has at most as many classes
PREDICTION_VALUES = 192_000_000  # logits of a file: 64 of each of the most rows, 1,024 of each of 187,500
TOKEN_OUTPUTS = 64 * 1024  # logits per example of a task that labels words
UNPACKED = 4 * FILES[layout.PREDICTIONS]  # bytes of a row group

# data of a task
DATA_ROWS = 3_000_000  # of a split; QQP's test split has 390,965

# bundles
BUNDLE_FILES = 200_000
BUNDLE_LIST = 64 * MIB  # bytes of bundle.json
BUNDLE_BYTES = 8 * GIB  # unpacked, weights aside
BUNDLE_WEIGHTS = 512 * GIB  # unpacked, weights
WEIGHTS_FILE = 32 * GIB
TEXT_FILE = 64 * MIB  # tokenizer and configuration of a model: XLM-R's tokenizer.json has 17 MB
RATIO = 100  # unpacked bytes per byte of the archive; our own bundles are not packed and have 1

# suite.json
CELLS = 1_000  # tasks times arms: the page spends 30 ms on each; the largest planned suite has 96

# suite files and models
SUITE_TEXT, SUITE_ITEMS, SUITE_DEPTH = 10_000, 10_000, 20  # characters, entries of a list or section, nesting
SUITE_NUMBER = 1e30  # the largest number in a suite file; beyond it arithmetic ends in infinities
PLANNED_RUNS = 100_000  # of one suite, predecessors aside; the paper's search has 4,804
SUITE = MIB  # the largest built-in suite file has 4 kB
DATA = GIB  # a user's own data file, which is read as a whole; QQP's training file has 44 MB
MODEL_CONFIG = MIB  # config.json of an encoder
MODEL_TEXT = 64 * MIB  # tokenizer and vocabulary; XLM-R's tokenizer.json has 17 MB
WEIGHTS = 64 * GIB
HEAD_OUTPUTS = 10_000  # labels of a head

MESSAGE = 1000  # characters of a line on the terminal


def check_size(path: Path, limit: int, what: str) -> None:
    """Raises `UserError` for a file of more than `limit` bytes, or one that is not a plain file."""
    if not path.is_file():
        raise UserError(f"{what}: {path} is missing or not a plain file")
    found = path.stat().st_size
    if found > limit:
        raise UserError(f"{what}: {path} has {found:,} bytes, at most {limit:,} are read: is it the right file?")
