"""speed.json: paired inference timing. Its values are only shown and compared, so they are read as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from results.format.documents.codec import LEFT_OUT, Each, Given, Key, Nested, as_is
from results.format.places import reason

Shown = partial(Nested, optional=True, lenient=True)
SIDES = ("predecessor", "successor")


@dataclass(frozen=True)
class Setting:
    """What was timed under which settings. `length` is a number of words or `dev`."""

    device: Given = None
    device_name: Given = None
    variant: Given = None
    precision: Given = None
    attention: Given = None
    threads: Given = None
    batch_size: Given = None
    length: Given = None
    predecessor_layers: Given = None
    successor_layers: Given = None

    @property
    def layers(self) -> tuple[Any, Any]:
        return self.predecessor_layers, self.successor_layers


@dataclass(frozen=True)
class DevLengths:
    """Lengths of the timed dev examples in tokens; `padded_median` is that of their padded batches."""

    task: Given = None
    examples: Given = None
    median: Given = None
    p90: Given = None
    longest: Given = None
    padded_median: Given = None


@dataclass(frozen=True)
class Ratio:
    """Ratio of two times: the median over rounds, its interval, and whether the interval is narrow enough."""

    ratio: Given = None
    ratio_low: Given = None
    ratio_high: Given = None
    decided: Given = None


@dataclass(frozen=True)
class Summary(Ratio, Setting):
    """A condition without its rounds, as an accepted baseline keeps it."""


@dataclass(frozen=True)
class Latency:
    """Percentiles of the seconds per batch over rounds."""

    p50: Given = None
    p90: Given = None
    p99: Given = None


@dataclass(frozen=True)
class Discarded:
    """Numbers of rounds that do not count, because a clock jumped or because they lie far from the others."""

    clock_gaps: Given = None
    outliers: Given = None


@dataclass(frozen=True)
class Sides:
    """A value for each of the two models."""

    predecessor: Given = None
    successor: Given = None


@dataclass(frozen=True)
class Memory:
    """Bytes of a model's weights, and the additional bytes of one call at its peak."""

    weights_bytes: Given = None
    working_bytes: Given = None


@dataclass(frozen=True)
class MemorySides:
    """The memory of the two models."""

    predecessor: Annotated[Memory | None, Key(Shown(Memory))] = None
    successor: Annotated[Memory | None, Key(Shown(Memory))] = None


@dataclass(frozen=True)
class Closeness:
    """A variant's logits compared with eager float32's on `examples`: the largest difference, the largest eager logit,
    and the share of equal argmax (None for one output)."""

    max_abs_difference: Given = None
    largest_logit: Given = None
    equal_argmax: Given = None
    examples: Given = None


@dataclass(frozen=True)
class Agreement:
    """How close the two models are to eager float32, and the limits within which a variant is timed."""

    predecessor: Annotated[Closeness | None, Key(Shown(Closeness))] = None
    successor: Annotated[Closeness | None, Key(Shown(Closeness))] = None
    tolerance: Given = None
    same_answers: Given = None


@dataclass(frozen=True)
class _Counted:
    dev_lengths: Annotated[DevLengths | None, Key(Shown(DevLengths))] = LEFT_OUT
    rounds: Given = None


@dataclass(frozen=True)
class Condition(Ratio, _Counted, Setting):
    """One timed condition; its ratio is the predecessor's time over the successor's in the same round.

    Older conditions, from before there were variants, lack `variant` and the keys from `preparation_seconds` on.
    """

    confidence: Given = None
    predecessor: Annotated[Latency | None, Key(Shown(Latency))] = None
    successor: Annotated[Latency | None, Key(Shown(Latency))] = None
    over_eager: Annotated[Ratio | None, Key(Shown(Ratio))] = None
    discarded: Annotated[Discarded | None, Key(Shown(Discarded))] = None
    ratios: Given = LEFT_OUT
    predecessor_seconds: Given = None
    successor_seconds: Given = None
    preparation_seconds: Annotated[Sides | None, Key(Shown(Sides))] = None
    first_call_seconds: Annotated[Sides | None, Key(Shown(Sides))] = None
    agreement: Annotated[Agreement | None, Key(Shown(Agreement))] = None
    memory: Annotated[MemorySides | None, Key(Shown(MemorySides))] = None


@dataclass(frozen=True)
class NotTimed:
    """A condition, or all conditions of a device or variant, that was not timed, with the reason."""

    device: Given = None
    threads: Given = None
    variant: Given = None
    predecessor_layers: Given = None
    successor_layers: Given = None
    batch_size: Given = None
    length: Given = None
    reason: Annotated[str | None, Key(reason)] = None

    precision = None  # `variant` is always known

    @property
    def layers(self) -> tuple[Any, Any]:
        return self.predecessor_layers, self.successor_layers


@dataclass(frozen=True)
class DevScore:
    """The dev scores of a rounding variant and of eager float32, or the reason why there is none."""

    device: Given = None
    variant: Given = None
    side: Given = None
    layers: Given = None
    task: Given = None
    run_id: Given = None
    eager_score: Given = None
    score: Given = None
    drop: Given = None
    examples: Given = None
    reason: Annotated[str | None, Key(reason)] = None

    precision = None  # `variant` is always known


@dataclass(frozen=True)
class Speed:
    """speed.json. `key` is a hash of the timed settings; a timing that was interrupted has none."""

    key: Given = LEFT_OUT
    matrix: Given = LEFT_OUT
    subject: Given = None
    complete: Given = None
    task: Given = None
    weights: Annotated[Mapping[str, Any] | None, Key(as_is)] = field(default_factory=dict)
    conditions: Annotated[tuple[Condition, ...], Key(Each(Nested(Condition)))] = ()
    refused: Annotated[tuple[NotTimed, ...], Key(Each(Nested(NotTimed)))] = ()
    dev_scores: Annotated[tuple[DevScore, ...], Key(Each(Nested(DevScore)))] = ()
