"""Inference timing as tables: one table per device and thread count, with rows grouped by variant. Also the refused
conditions, the dev scores of variants that round, and the paper's speed-ups beside ours.

    found = matrix(results)          # Matrix
    IN_WORDS                         # the functions with which the templates put a condition into words

The variants come from speed.json; older files without variants have eager conditions. Only the range beside the paper's
number pools conditions, and it says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from reports.words import decimals
from results.format.documents.speed import DevScore as Score
from results.format.documents.speed import Latency, MemorySides, NotTimed, Ratio
from results.format.documents.speed import Setting as Timed
from results.format.published_numbers import paper_speed_up
from results.format.records import Condition, Results
from results.format.untrusted import real, text

TITLES = {
    "eager": "Eager, float32", "bfloat16": "Eager, bfloat16 autocast", "compiled": "torch.compile, float32",
    "onnx": "ONNX Runtime, float32", "onnx-int8": "ONNX Runtime, dynamic int8",
}  # fmt: skip
PAPER_LAYERS = 12


class RatioWords(NamedTuple):
    """A ratio with its interval, both empty where there is none, and whether it is decided."""

    ratio: str
    interval: str
    decided: bool


@dataclass(frozen=True)
class DevScore:
    """A rounding variant's dev score beside eager's, or the reason why it has none."""

    model: str
    eager: str
    score: str
    drop: str
    examples: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """One printed speed-up, and a line per variant on our measurements at the same share of layers."""

    paper: str
    ours: list[str]


@dataclass(frozen=True)
class Matrix:
    """Everything that the page shows of speed.json. `settings`: by device and threads, the conditions by variant."""

    settings: Mapping[str, Mapping[str, list[Condition]]]
    refused: list[str]
    dev_scores: list[DevScore]
    claims: list[Claim]
    agreement: list[str]
    incomplete: bool
    memory: bool
    gains: bool


def matrix(results: Results) -> Matrix:
    """The tables of a results folder's timing; a synthetic suite is not compared with the paper."""
    timing = results.timing
    settings = _grouped(timing.conditions, _place)
    return Matrix(
        settings={place: _grouped(found, variant_title) for place, found in settings.items()},
        refused=list(dict.fromkeys(_refusal(entry) for entry in timing.refused)),
        dev_scores=[_dev_score(entry) for entry in timing.dev_scores],
        claims=[] if results.suite.synthetic else claims(timing.conditions),
        agreement=_agreement(timing.conditions),
        incomplete=timing.complete is False,
        memory=any(memory(condition.memory) for condition in timing.conditions),
        gains=any(gain(condition).ratio for condition in timing.conditions),
    )


def variant_of(condition: Timed | NotTimed | Score) -> str:
    """The variant of a condition; older conditions have none and are eager, or bfloat16 by their precision."""
    if condition.variant is not None:
        return text(condition.variant, 40)
    return "bfloat16" if condition.precision == "bfloat16" else "eager"


def plain(conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions of eager execution in either precision, which a speed-up without further words refers to."""
    return [condition for condition in conditions if variant_of(condition) in ("eager", "bfloat16")]


def variant_title(condition: Timed | NotTimed | Score) -> str:
    return TITLES.get(variant_of(condition), variant_of(condition))


def _place(condition: Condition) -> str:
    threads = condition.threads
    count = f"{text(threads, 10)} thread{'' if threads == 1 else 's'}" if threads is not None else ""
    attention = f"{text(condition.attention, 40)} attention" if condition.attention else ""
    name = text(condition.device_name or condition.device, 80)
    return ", ".join(part for part in (name, count, attention) if part)


def _grouped(conditions: Iterable[Condition], key: Any) -> dict[str, list[Condition]]:
    found: dict[str, list[Condition]] = {}
    for condition in conditions:
        found.setdefault(key(condition), []).append(condition)
    return found


def shape(condition: Condition) -> str:
    """`8 × dev (rte, median 97)`: batch size and length."""
    found, dev = f"{text(condition.batch_size, 10)} × {text(condition.length, 10)}", condition.dev_lengths
    if not dev:
        return found
    padded = real(dev.padded_median)
    return f"{found} ({text(dev.task, 20)}{f', median {padded:.0f}' if padded is not None else ''})"


def depth(condition: Condition) -> str:
    """`12 to 6`."""
    return " to ".join(text(layers, 5) for layers in condition.layers)


def ratio(source: Ratio) -> RatioWords:
    """The speed-up within the variant."""
    found, low, high = (real(value) for value in (source.ratio, source.ratio_low, source.ratio_high))
    interval = f"{low:.2f} to {high:.2f}" if low is not None and high is not None else ""
    shown = f"{found:.2f}×" if found is not None else ""
    return RatioWords(shown, interval, source.decided is True and found is not None)


def gain(condition: Condition) -> RatioWords:
    """The eager predecessor's time over the successor's; empty for eager itself, where it is the speed-up."""
    over_eager = condition.over_eager if variant_of(condition) != "eager" else None
    return ratio(over_eager or Ratio())


def latency(timed: Latency | None) -> str:
    """p50 · p90 · p99 in milliseconds, empty where not measured."""
    found = [real(value) for value in (timed.p50, timed.p90, timed.p99)] if timed else []
    shown = ["" if value is None else f"{value * 1000:.2f}" for value in found]
    return " · ".join(shown) if any(shown) else ""


def memory(sides: MemorySides | None) -> str:
    """Predecessor and successor in MB: weights plus the peak of one call."""
    shown = []
    for side in (sides.predecessor, sides.successor) if sides else ():
        weights, working = (real(side.weights_bytes), real(side.working_bytes)) if side else (None, None)
        shown.append("" if weights is None or working is None else f"{(weights + working) / 1e6:,.0f}")
    return " · ".join(shown) if all(shown) else ""


def discarded(condition: Condition) -> str:
    """`2 discarded`; empty without discarded rounds."""
    found = condition.discarded
    count = sum(int(real(value) or 0) for value in (found.clock_gaps, found.outliers)) if found else 0
    return f"{count} discarded" if count else ""


def _refusal(entry: NotTimed) -> str:
    """`ONNX Runtime, float32, 6 layers, batch 8, length 64, cpu: reason`."""
    layers = [layers for layers in entry.layers if layers is not None]
    parts = [
        variant_title(entry) if entry.variant else "",
        f"{' to '.join(text(n, 5) for n in layers)} layers" if layers else "",
        f"batch {text(entry.batch_size, 10)}" if entry.batch_size is not None else "",
        f"length {text(entry.length, 10)}" if entry.length is not None else "",
        text(entry.device, 20),
        f"{text(entry.threads, 10)} thread(s)" if entry.threads is not None else "",
    ]
    return f"{', '.join(part for part in parts if part)}: {text(entry.reason)}"


def _dev_score(entry: Score) -> DevScore:
    drop, examples = real(entry.drop), real(entry.examples)
    model = f"{text(entry.side, 20)}, {text(entry.layers, 5)} layers, {text(entry.device, 20)}"
    return DevScore(
        model=f"{variant_title(entry)}: {model}, {text(entry.task, 40)}",
        eager=decimals(real(entry.eager_score), 2),
        score=decimals(real(entry.score), 2),
        drop="" if drop is None else f"{drop:+.2f}".replace("-", "−"),
        examples="" if examples is None else f"{examples:,.0f}",
        reason=text(entry.reason, 200),
    )


def _agreement(conditions: Sequence[Condition]) -> list[str]:
    """Per variant the worst agreement with eager float32 over all timed conditions."""
    lines = []
    for title, found in _grouped(conditions, variant_title).items():
        sides = [side for c in found if c.agreement for side in (c.agreement.predecessor, c.agreement.successor)]
        known = [side for side in sides if side is not None]
        worst = [v for side in known if (v := real(side.max_abs_difference)) is not None]
        equal = [v for side in known if (v := real(side.equal_argmax)) is not None]
        if worst:
            same = f", the same answer on at least {100 * min(equal):.1f} % of examples" if equal else ""
            lines.append(f"{title}: logits at most {max(worst):.2g} from eager float32{same}")
    return lines


def claims(conditions: Sequence[Condition]) -> list[Claim]:
    """The paper's 12 to 6, 4 and 3 layers, each beside our decided conditions that keep the same share of layers."""
    found = []
    for layers in (6, 4, 3):
        printed = paper_speed_up(layers)
        like = [c for c in conditions if _same_share(c, layers)]
        if printed is not None:
            ours = [line for title, group in _grouped(like, variant_title).items() for line in _range(title, group)]
            found.append(Claim(f"{PAPER_LAYERS} to {layers} layers: {printed:.2f}×", ours))
    return found if any(claim.ours for claim in found) else []


def _same_share(condition: Condition, layers: int) -> bool:
    deep, shallow = (real(layers) for layers in condition.layers)
    return deep is not None and shallow is not None and shallow > 0 and deep * layers == shallow * PAPER_LAYERS


def _range(title: str, conditions: Sequence[Condition]) -> list[str]:
    """`Eager, float32, 6 to 3 layers: 1.71× to 1.98× in 6 of 8 conditions, the others undecided`."""
    lines = []
    for layers, group in _grouped(conditions, depth).items():
        ratios = sorted(r for c in group if c.decided is True and (r := real(c.ratio)) is not None)
        count = f"{len(group)} condition{'' if len(group) == 1 else 's'}"
        if not ratios:
            lines.append(f"{title}, {layers} layers: undecided in {count}")
            continue
        spread = f"{ratios[0]:.2f}×" if len(ratios) == 1 else f"{ratios[0]:.2f}× to {ratios[-1]:.2f}×"
        rest = "" if len(ratios) == len(group) else ", the others undecided"
        lines.append(f"{title}, {layers} layers: {spread} in {len(ratios)} of {count}{rest}")
    return lines


IN_WORDS: dict[str, Callable[..., Any]] = {
    "shape": shape, "depth": depth, "ratio": ratio, "gain": gain, "latency": latency, "memory": memory,
    "discarded": discarded, "text": text,
}  # fmt: skip
