"""How large anything that somebody else wrote may be before it is refused unread. docs/faults.md says why.

Each limit is many times what the largest honest file needs: the largest planned suite (8 tasks, 12 arms of 16
trials, 20 seeds) has a suite.json of 8 MB, a run's config.json has 3 kB, QQP's predictions have 3 MB. Suite files
and model folders are read by the laboratory: `benchmarks/limits.py` has theirs.
"""

KIB, MIB, GIB = 2**10, 2**20, 2**30

# bytes of a file, by its name
FILES = {
    "suite.json": 32 * MIB,
    "speed.json": 16 * MIB,
    "config.json": MIB,
    "manifest.json": 4 * MIB,
    "result.json": MIB,
    "imported.json": MIB,
    "metrics.jsonl": 64 * MIB,
    "predictions.parquet": 256 * MIB,
}
OTHER_FILE = 64 * MIB  # an accepted baseline, under any name
METRICS_LINE = MIB
DEPTH = 64  # arrays and objects within each other; ours have 6
WHOLE_NUMBER = 2**63  # the first whole number that no column holds

# predictions.parquet
PREDICTION_ROWS = 3_000_000  # where a task does not say how many dev examples it has
OUTPUTS = 64  # logits per example
UNPACKED = 4 * FILES["predictions.parquet"]  # bytes of a row group

# bundles
BUNDLE_FILES = 200_000
BUNDLE_LIST = 64 * MIB  # bytes of bundle.json
BUNDLE_BYTES = 8 * GIB  # unpacked, weights aside
BUNDLE_WEIGHTS = 512 * GIB  # unpacked, weights
WEIGHTS_FILE = 32 * GIB
TEXT_FILE = 64 * MIB  # tokenizer and configuration beside weights: XLM-R's tokenizer.json has 17 MB
RATIO = 100  # bytes unpacked per byte of the archive; our own bundles are stored as they are, which is 1
