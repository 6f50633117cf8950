"""The other documents of one run: manifest.json, metrics.jsonl, predictions.parquet, result.json and imported.json.

Values that are only shown, compared or hashed are read as they are. Values that are computed with are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from results.format.documents.codec import LEFT_OUT, ByName, Each, Given, Key, Nested, from_json, keys, words
from results.format.documents.config import AsRead, Config, DeviceUsed
from results.format.documents.suite import PROTOCOLS
from results.format.errors import ReportError
from results.format.places import reason
from results.format.untrusted import as_mapping, mapping, number, real, slug, whole

DEVICE = Nested(DeviceUsed, lenient=True)
STATUSES = ("done", "diverged", "failed")

GivenByName = Annotated[Mapping[str, Any], Key(lambda value, where: as_mapping(value))]
Whole = Annotated[int | None, Key(whole)]
Real = Annotated[float | None, Key(number)]


@dataclass(frozen=True)
class Probe:
    """Whether training repeated bit for bit on the machine. `methods`: per arm the first tensor that differed."""

    bit_equal: Given = None
    steps: Given = None
    methods: GivenByName = field(default_factory=dict)


@dataclass(frozen=True)
class Seconds:
    """Duration of the parts of a run."""

    setup: Given = None
    predecessor_outputs: Given = None
    training: Given = None
    evaluation: Given = None

    @property
    def own(self) -> float:
        """Their sum, excluding the predecessor's outputs, which one run computes for all."""
        return sum(real(part) or 0.0 for part in (self.setup, self.training, self.evaluation))


@dataclass(frozen=True)
class _When:
    run_id: Given = None
    started: Given = None
    finished: Given = None


@dataclass(frozen=True)
class Surroundings:
    """The part of a manifest that is equal for all runs of a process."""

    code_commit: Given = None
    code_dirty: Given = None
    lock_hash: Given = None
    packages: GivenByName = field(default_factory=dict)
    python: Given = None
    platform: Given = None


@dataclass(frozen=True)
class Manifest(Surroundings, _When, AsRead):
    """manifest.json: the origin of the numbers. Only a run that finished has the keys from `seconds` on."""

    code_hash: Given = None
    device: Annotated[DeviceUsed, Key(DEVICE)] = field(default_factory=DeviceUsed)
    device_name: Given = None
    data_fingerprint: Given = None
    encoder_hash: Given = None
    predecessor: Given = None
    determinism_probe: Annotated[Probe | None, Key(Nested(Probe, optional=True, lenient=True))] = None
    peak_memory_bytes: Given = None
    seconds: Annotated[Seconds | None, Key(Nested(Seconds, optional=True, lenient=True))] = LEFT_OUT
    cache_rebuilt: Given = LEFT_OUT
    resumed_at_step: Given = LEFT_OUT
    checkpoint_notes: Given = LEFT_OUT
    successor_hash: Given = LEFT_OUT


def repeated(config: Config) -> dict[str, Any]:
    """The keys of a manifest that repeat settings, with their values for a run of these settings."""
    return dict(
        code_hash=config.code,
        device=config.device,
        data_fingerprint=config.data.fingerprint,
        encoder_hash=config.encoder.hash,
        predecessor=config.predecessor,
    )


def _points(value: Any, where: str) -> float | None:
    score = number(value, where)
    if score is not None and abs(score) > 100:
        raise ReportError(f"{where} {score:g} is outside -100 to 100; scores are the task's metric times 100")
    return score


@dataclass(frozen=True)
class Checkpoint:
    """Dev results at one checkpoint: raw metrics, and `score` on the paper's scale of 0 to 100.

    `held_out_score` is the same score on the share of train that was set aside, if there is one.
    """

    step: Whole
    epoch: Real
    metrics: Annotated[Mapping[str, float | None], Key(ByName(slug, number))]
    score: Annotated[float | None, Key(_points)]
    flags: Annotated[tuple[str, ...], Key(Each(words(120)))]
    held_out_score: Annotated[float | None, Key(_points)] = None


def _status(value: Any, where: str) -> str:
    if value not in STATUSES:
        raise ReportError(f"{where} must be one of {', '.join(STATUSES)}; run it again")
    return str(value)


AtCheckpoint = Annotated[Checkpoint | None, Key(Nested(Checkpoint, optional=True))]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: done, diverged or failed; a planned run without a result is missing."""

    status: Annotated[str, Key(_status)] = "missing"
    reason: Annotated[str | None, Key(reason)] = None
    last: AtCheckpoint = None
    selected: AtCheckpoint = None
    held_out: AtCheckpoint = None
    evaluations: Whole = None
    steps: Whole = None
    epochs: Real = None
    layers: Whole = None
    parameters: Whole = None
    trainable_parameters: Whole = None
    train_seconds: Real = None
    examples_per_second: Real = None
    peak_memory_bytes: Whole = None

    def at(self, protocol: str) -> Checkpoint | None:
        """The checkpoint of a protocol: `last`, `selected` (best on dev) or `held_out` (best on held-out train)."""
        return dict(zip(PROTOCOLS, (self.last, self.selected, self.held_out), strict=True))[protocol]

    def score(self, protocol: str) -> float | None:
        """The task score (0 to 100) at a protocol's checkpoint, None without one."""
        checkpoint = self.at(protocol)
        return None if checkpoint is None else checkpoint.score


@dataclass(frozen=True)
class _Identified:
    run_id: Given


@dataclass(frozen=True)
class Result(Outcome, _Identified):
    """result.json."""


def read_result(raw: Mapping[str, Any], where: str) -> Result:
    """A run's result; raises `ReportError` for a run that is done but has no scores."""
    result = from_json(Result, raw, where)
    if result.status != "done":
        return replace(result, last=None, selected=None, held_out=None)
    for checkpoint in (result.last, result.selected, *([result.held_out] if result.held_out else [])):
        if checkpoint is None or checkpoint.score is None:
            raise ReportError(f"{where}: says done but has no score; mark it failed or run it again")
    return result


@dataclass(frozen=True)
class Evaluation:
    """One line of metrics.jsonl; `loss` is the mean training loss since the line before."""

    step: Given = None
    epoch: Given = None
    loss: Given = None
    learning_rate: Given = None
    replacing_rate: Given = None
    gradient_norm: Given = None
    metrics: Given = None
    score: Given = None
    held_out_score: Given = None


@dataclass(frozen=True)
class _Examples:
    checkpoint: Given
    split: Given
    idx: Given


@dataclass(frozen=True)
class Answered:
    """What a model answered to examples. `sums`: only of a task whose answers are lists or texts
    (results/format/scores.py:SUMMED)."""

    label: Given
    prediction: Given
    logits: Given
    sums: Given = LEFT_OUT


@dataclass(frozen=True)
class Predictions(Answered, _Examples):
    """The columns of predictions.parquet: the output of a checkpoint for each example of a dev split."""

    def columns(self) -> dict[str, Any]:
        """The values by the name of their column."""
        values = {name: getattr(self, name) for name in keys(Predictions)}
        return {name: value for name, value in values.items() if value is not LEFT_OUT}


COLUMN = Predictions(*keys(Predictions))  # the name of each column


@dataclass(frozen=True)
class Mark:
    """imported.json: the bundle that a run, or some `files` (with their sha256) of the results folder, came from."""

    bundle_sha256: Given
    imported: Given = None
    run_id: Given = LEFT_OUT
    files: Annotated[Mapping[str, Any], Key(mapping)] = LEFT_OUT
