"""Inference timing as tables: one per device and thread count, its rows grouped by variant; what was refused; the dev
scores of variants that round; and the paper's speed-ups beside ours.

    found = matrix(results)          # Matrix, everything already in words

The variants come from speed.json; conditions of before there were any are eager ones. Nothing is pooled over
conditions but the range that stands beside the paper, which says how many conditions it is from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.published import paper_speed_up
from reports.results import Results
from reports.untrusted import inside, items, load, mapping, real, text

Condition = Mapping[str, Any]
TITLES = {
    "eager": "Eager, float32", "bfloat16": "Eager, bfloat16 autocast", "compiled": "torch.compile, float32",
    "onnx": "ONNX Runtime, float32", "onnx-int8": "ONNX Runtime, dynamic int8",
}  # fmt: skip
SIDES = ("predecessor", "successor")
PAPER_LAYERS = 12


@dataclass(frozen=True)
class Row:
    """One condition: shape, depth, the ratio within the variant, the gain over eager, latency and memory."""

    shape: str
    depth: str
    ratio: str
    interval: str
    decided: bool
    gain: str
    gain_interval: str
    gain_decided: bool
    predecessor: str
    successor: str
    memory: str
    rounds: str
    discarded: str


@dataclass(frozen=True)
class Group:
    """The rows of one variant."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Setting:
    """One device and thread count."""

    where: str
    groups: list[Group]

    @property
    def count(self) -> int:
        """Conditions in the table."""
        return sum(len(group.rows) for group in self.groups)


@dataclass(frozen=True)
class DevScore:
    """A rounding variant's dev score beside eager's, or why there is none."""

    model: str
    eager: str
    score: str
    drop: str
    examples: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """One printed speed-up and what was measured at the same share of layers, a line per variant."""

    paper: str
    ours: list[str]


@dataclass(frozen=True)
class Matrix:
    """All that the page shows of speed.json."""

    settings: list[Setting]
    refused: list[str]
    dev_scores: list[DevScore]
    claims: list[Claim]
    agreement: list[str]
    incomplete: bool
    memory: bool
    gains: bool


def matrix(results: Results) -> Matrix:
    """Read speed.json of a results folder once more, for what stands beside its conditions; raises `ReportError`."""
    raw: Mapping[str, Any] = {}
    path = results.root / "speed.json"
    if results.speed and path.is_file():
        raw = load(inside(results.root, "speed.json", str(results.root)))
    where = str(path)
    extra = {
        key: [mapping(entry, f"{where}: {key}") for entry in items(raw.get(key), f"{where}: {key}")]
        for key in ("refused", "dev_scores")
    }
    return of_document(results.speed, extra["refused"], extra["dev_scores"], raw, results.suite.synthetic)


def of_document(
    conditions: Sequence[Condition], refused: Sequence[Condition], dev_scores: Sequence[Condition],
    raw: Mapping[str, Any], synthetic: bool,
) -> Matrix:  # fmt: skip
    """The tables of a speed.json whose parts are given; `synthetic` suites are not set beside the paper."""
    settings = [_setting(place, found) for place, found in _grouped(conditions, _place).items()]
    rows = [row for setting in settings for group in setting.groups for row in group.rows]
    return Matrix(
        settings=settings,
        refused=list(dict.fromkeys(_refusal(entry) for entry in refused)),
        dev_scores=[_dev_score(entry) for entry in dev_scores],
        claims=[] if synthetic else claims(conditions),
        agreement=_agreement(conditions),
        incomplete=raw.get("complete") is False,
        memory=any(row.memory for row in rows),
        gains=any(row.gain for row in rows),
    )


def variant_of(condition: Condition) -> str:
    """The variant of a condition; those of before there were variants are eager, or bfloat16 by their precision."""
    given = condition.get("variant")
    if given is not None:
        return text(given, 40)
    return "bfloat16" if condition.get("precision") == "bfloat16" else "eager"


def plain(conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions of eager execution, in either precision: what a speed-up without further words means."""
    return [condition for condition in conditions if variant_of(condition) in ("eager", "bfloat16")]


def variant_title(condition: Condition) -> str:
    """The variant in words."""
    return TITLES.get(variant_of(condition), variant_of(condition))


def _place(condition: Condition) -> str:
    """Device and threads in words; the heading of a table."""
    threads = condition.get("threads")
    count = f"{text(threads, 10)} thread{'' if threads == 1 else 's'}" if threads is not None else ""
    attention = f"{text(condition.get('attention'), 40)} attention" if condition.get("attention") else ""
    name = text(condition.get("device_name") or condition.get("device"), 80)
    return ", ".join(part for part in (name, count, attention) if part)


def _grouped(conditions: Iterable[Condition], key: Any) -> dict[str, list[Condition]]:
    found: dict[str, list[Condition]] = {}
    for condition in conditions:
        found.setdefault(key(condition), []).append(condition)
    return found


def _setting(place: str, conditions: Sequence[Condition]) -> Setting:
    by_variant = _grouped(conditions, variant_title)
    return Setting(place, [Group(title, [_row(c) for c in found]) for title, found in by_variant.items()])


def _row(condition: Condition) -> Row:
    deep, shallow = (text(condition.get(f"{side}_layers"), 5) for side in SIDES)
    over = condition.get("over_eager")
    own, gain = _ratio(condition), _ratio(over if isinstance(over, Mapping) else {})
    if variant_of(condition) == "eager":
        gain = ("", "", False)
    return Row(
        shape=f"{text(condition.get('batch_size'), 10)} × {text(condition.get('length'), 10)}{_dev(condition)}",
        depth=f"{deep} to {shallow}",
        ratio=own[0], interval=own[1], decided=own[2],
        gain=gain[0], gain_interval=gain[1], gain_decided=gain[2],
        predecessor=_latency(condition.get("predecessor")), successor=_latency(condition.get("successor")),
        memory=_memory(condition.get("memory")),
        rounds=text(condition.get("rounds"), 10), discarded=_discarded(condition.get("discarded")),
    )  # fmt: skip


def _ratio(source: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Ratio, interval and whether it is decided, blank where there is none."""
    ratio, low, high = (real(source.get(key)) for key in ("ratio", "ratio_low", "ratio_high"))
    interval = f"{low:.2f} to {high:.2f}" if low is not None and high is not None else ""
    return (
        f"{ratio:.2f}×" if ratio is not None else "", interval, source.get("decided") is True and ratio is not None
    )  # fmt: skip


def _dev(condition: Condition) -> str:
    lengths = condition.get("dev_lengths")
    if not isinstance(lengths, Mapping):
        return ""
    padded = real(lengths.get("padded_median"))
    return f" ({text(lengths.get('task'), 20)}{f', median {padded:.0f}' if padded is not None else ''})"


def _latency(value: object) -> str:
    """p50 · p90 · p99 in milliseconds, blank where not measured."""
    source = value if isinstance(value, Mapping) else {}
    found = [real(source.get(key)) for key in ("p50", "p90", "p99")]
    shown = ["" if value is None else f"{value * 1000:.2f}" for value in found]
    return " · ".join(shown) if any(shown) else ""


def _memory(value: object) -> str:
    """Predecessor and successor in MB: weights plus what one call takes at its peak."""
    shown = []
    for side in SIDES:
        source = value.get(side) if isinstance(value, Mapping) else None
        parts = [real(source.get(key)) if isinstance(source, Mapping) else None for key in MEMORY]
        shown.append("" if parts[0] is None or parts[1] is None else f"{(parts[0] + parts[1]) / 1e6:,.0f}")
    return " · ".join(shown) if all(shown) else ""


MEMORY = ("weights_bytes", "working_bytes")


def _discarded(value: object) -> str:
    source = value if isinstance(value, Mapping) else {}
    count = sum(int(real(source.get(key)) or 0) for key in ("clock_gaps", "outliers"))
    return f"{count} discarded" if count else ""


def _refusal(entry: Condition) -> str:
    """`ONNX Runtime, float32, 6 layers, batch 8, length 64, cpu: reason`."""
    layers = [entry.get(f"{side}_layers") for side in SIDES if entry.get(f"{side}_layers") is not None]
    parts = [
        variant_title(entry) if entry.get("variant") else "",
        f"{' to '.join(text(n, 5) for n in layers)} layers" if layers else "",
        f"batch {text(entry.get('batch_size'), 10)}" if entry.get("batch_size") is not None else "",
        f"length {text(entry.get('length'), 10)}" if entry.get("length") is not None else "",
        text(entry.get("device"), 20),
        f"{text(entry.get('threads'), 10)} thread(s)" if entry.get("threads") is not None else "",
    ]
    return f"{', '.join(part for part in parts if part)}: {text(entry.get('reason'))}"


def _dev_score(entry: Condition) -> DevScore:
    eager, score, drop, examples = (real(entry.get(key)) for key in ("eager_score", "score", "drop", "examples"))
    model = f"{text(entry.get('side'), 20)}, {text(entry.get('layers'), 5)} layers, {text(entry.get('device'), 20)}"
    return DevScore(
        model=f"{variant_title(entry)}: {model}, {text(entry.get('task'), 40)}",
        eager="" if eager is None else f"{eager:.2f}",
        score="" if score is None else f"{score:.2f}",
        drop="" if drop is None else f"{drop:+.2f}".replace("-", "−"),
        examples="" if examples is None else f"{examples:,.0f}",
        reason=text(entry.get("reason"), 200),
    )


def _agreement(conditions: Sequence[Condition]) -> list[str]:
    """Per variant the worst agreement with eager float32 over everything that was timed."""
    lines = []
    for title, found in _grouped(conditions, variant_title).items():
        sides = [c["agreement"].get(side) for c in found if isinstance(c.get("agreement"), Mapping) for side in SIDES]
        known = [side for side in sides if isinstance(side, Mapping)]
        worst = [v for side in known if (v := real(side.get("max_abs_difference"))) is not None]
        equal = [v for side in known if (v := real(side.get("equal_argmax"))) is not None]
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
    deep, shallow = (real(condition.get(f"{side}_layers")) for side in SIDES)
    return deep is not None and shallow is not None and shallow > 0 and deep * layers == shallow * PAPER_LAYERS


def _range(title: str, conditions: Sequence[Condition]) -> list[str]:
    """`Eager, float32, 6 to 3 layers: 1.71× to 1.98× in 6 of 8 conditions, the others undecided`."""
    lines = []
    for depth, group in _grouped(conditions, lambda c: _row(c).depth).items():
        ratios = sorted(r for c in group if c.get("decided") is True and (r := real(c.get("ratio"))) is not None)
        count = f"{len(group)} condition{'' if len(group) == 1 else 's'}"
        if not ratios:
            lines.append(f"{title}, {depth} layers: undecided in {count}")
            continue
        spread = f"{ratios[0]:.2f}×" if len(ratios) == 1 else f"{ratios[0]:.2f}× to {ratios[-1]:.2f}×"
        rest = "" if len(ratios) == len(group) else ", the others undecided"
        lines.append(f"{title}, {depth} layers: {spread} in {len(ratios)} of {count}{rest}")
    return lines
