"""A suite's results as drift compares them: scores, digests of predictions, and the facts behind them.

    now = snapshot(read(Path("results/runs/demo-ci")))     # from a results folder
    then = load_baseline(path)                             # the same object, read from an accepted file

Per cell and seed a snapshot has the score at the suite's protocol, a digest of the stored predictions, and the *facts*:
the values of manifest and settings that could explain another number.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reports.statistics.cells import macro_tasks
from reports.statistics.significance import ROUNDING
from reports.timing.matrix import variant_of
from results.format import layout, limits
from results.format.documents.codec import keys, plain
from results.format.documents.run import COLUMN
from results.format.documents.speed import Condition, Setting, Summary
from results.format.errors import ReportError
from results.format.predictions import THREADS, check_sizes
from results.format.records import Results, Run
from results.format.trials import chosen_runs
from results.format.untrusted import inside, number, read_bytes, text

# Facts that are keys of a manifest, and keys of config.json whose contents are facts.
FACTS = ("code_commit", "code_dirty", "code_hash", "lock_hash", "python", "platform", "device_name",
         "data_fingerprint", "encoder_hash")  # fmt: skip
SETTINGS = ("options", "training", "data", "layers", "modules", "finetuned", "start")
Fact = str | int | float | bool | None


@dataclass(frozen=True)
class Outcome:
    """One run as the baseline file has it. `outputs_sha256` is of its stored predictions, None without any."""

    seed: int
    run_id: str
    status: str
    score: float | None
    steps: int | None
    predecessor: str | None
    outputs_sha256: str | None
    result_sha256: str | None
    predictions_sha256: str | None
    facts: Mapping[str, Fact] = field(repr=False)

    def same_bits(self, other: Outcome) -> bool:
        """Whether status, steps and every stored prediction are equal, and so the score.

        A score is computed from the predictions by libraries that choose their kernels by the CPU. Between two
        generations of one CPU family, with every logit bit-equal, four of 26 correlations differed by up to 4e-15
        (LOG.md). So where predictions are stored their bits decide, and scores may differ by `ROUNDING`.
        """
        own, theirs = ((o.status, o.steps, o.outputs_sha256) for o in (self, other))
        if own != theirs or self.score is None or other.score is None or self.outputs_sha256 is None:
            return own == theirs and self.score == other.score
        return abs(self.score - other.score) <= ROUNDING


@dataclass(frozen=True)
class Cell:
    """One task × arm: the outcomes of its chosen trial by seed, and the training throughput by seed.

    Throughput is a ratio to the fine-tuning arm with the same seed: absolute speed drifts by 1.5 within an hour.
    """

    task: str
    arm: str
    method: str
    trial: int
    outcomes: Mapping[int, Outcome]
    throughput: Mapping[int, float]

    @property
    def name(self) -> str:
        """`task arm`."""
        return f"{self.task} {self.arm}"

    @property
    def typical_throughput(self) -> float | None:
        """The median over seeds."""
        return median(self.throughput.values()) if self.throughput else None


@dataclass(frozen=True)
class Snapshot:
    """A suite's results as drift compares them; `margins` (points of the 0 to 100 scale) by task.

    `macro_tasks` are the tasks of the macro score. An old baseline file lacks them (empty), and `macro_margin` (None).
    """

    suite: str
    protocol: str
    cells: Mapping[tuple[str, str], Cell]
    speed: tuple[Summary, ...]
    margins: Mapping[str, float]
    macro_tasks: tuple[str, ...] = ()
    macro_margin: float | None = None


def snapshot(results: Results, margins: Mapping[str, float] | None = None) -> Snapshot:
    """Summarise a results folder, including missing and failed runs."""
    suite = results.suite
    reference = next((arm.name for arm in suite.arms if arm.method == "finetune"), None)
    cells = {}
    for task in suite.tasks:
        base = _rates(chosen_runs(results, task.name, reference, suite.protocol)) if reference else {}
        for arm in suite.arms:
            runs = chosen_runs(results, task.name, arm.name, suite.protocol)
            if runs:
                rates = _rates(runs)
                both = [seed for seed in rates if seed in base and arm.name != reference]
                ratios = {seed: round(rates[seed] / base[seed], 4) for seed in both}
                outcomes = {run.seed: _outcome(results, run) for run in runs}
                cells[task.name, arm.name] = Cell(task.name, arm.name, arm.method, runs[0].trial, outcomes, ratios)
    speed = tuple(summary(condition) for condition in results.speed)
    return Snapshot(suite.name, suite.protocol, cells, speed, margins or {}, macro_tasks(suite))


def _rates(runs: Iterable[Run]) -> dict[int, float]:
    return {run.seed: run.examples_per_second for run in runs if run.status == "done" and run.examples_per_second}


def _outcome(results: Results, run: Run) -> Outcome:
    result = predictions = outputs = None
    if run.status != "missing":
        result = hashlib.sha256(read_bytes(results.root / run.folder / layout.RESULT)).hexdigest()
        path = inside(results.root, f"{run.folder}/{layout.PREDICTIONS}", run.folder)
        if path.is_file():
            data = read_bytes(path)
            predictions, outputs = hashlib.sha256(data).hexdigest(), _outputs_digest(data, path)
    predecessor = run.manifest.predecessor
    return Outcome(
        run.seed,
        run.run_id,
        run.status,
        run.score(results.suite.protocol),
        run.steps,
        text(predecessor, 64) if predecessor else None,
        outputs,
        result,
        predictions,
        _facts_of(run),
    )


def _outputs_digest(data: bytes, path: Path) -> str:
    """sha256 of the contents of predictions.parquet, because the file's bytes change with pyarrow's version."""
    digest = hashlib.sha256()
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        check_sizes(path, file.metadata, limits.PREDICTION_ROWS)
        table = file.read(use_threads=THREADS)
        for name in (COLUMN.checkpoint, COLUMN.split):
            digest.update("\n".join(map(str, table[name].to_pylist())).encode("utf-8", "surrogatepass"))
        for name in (COLUMN.idx, COLUMN.label, COLUMN.prediction):
            digest.update(table[name].to_numpy().astype(np.float64).tobytes())
        logits = table[COLUMN.logits].combine_chunks()
        digest.update(np.asarray(logits.value_lengths(), dtype=np.int64).tobytes())
        digest.update(np.asarray(logits.flatten(), dtype=np.float32).tobytes())
    except (pa.ArrowException, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise ReportError(f"{path} cannot be read as predictions ({text(error, 80)}); run that part again") from None
    return digest.hexdigest()


def _facts_of(run: Run) -> dict[str, Fact]:
    """The values of a run's manifest and settings that could explain another number, in one flat object."""
    facts = {name: as_fact(getattr(run.manifest, name)) for name in FACTS} | {"origin": run.origin or None}
    facts |= _flat("package", run.manifest.packages)
    facts |= _flat("device", plain(run.device))
    for name in SETTINGS:
        facts |= _flat(f"setting.{name}", run.config.content.get(name))
    for twice in ("setting.data.fingerprint", "setting.start"):  # the fingerprint is a fact already; `start` is an id
        facts.pop(twice, None)
    return {name: value for name, value in facts.items() if value is not None}


def _flat(prefix: str, value: object) -> dict[str, Fact]:
    if isinstance(value, Mapping):
        found: dict[str, Fact] = {}
        for key, inner in value.items():
            found |= _flat(f"{prefix}.{text(key, 80)}", inner)
        return found
    return {prefix: as_fact(value)}


def as_fact(value: object) -> Fact:
    """A JSON value as a fact: numbers as they are, anything else as text."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return text(value if isinstance(value, str) else json.dumps(value, sort_keys=True))


def summary(condition: Condition | Summary) -> Summary:
    """A timing condition without its rounds."""
    ratios = (condition.ratio, condition.ratio_low, condition.ratio_high)
    ratio, low, high = (number(value, "speed: ratio") for value in ratios)
    setting = {name: as_fact(getattr(condition, name)) for name in keys(Setting)}
    found = Summary(**setting, ratio=ratio, ratio_low=low, ratio_high=high, decided=bool(condition.decided))
    return replace(found, variant=variant_of(condition))
