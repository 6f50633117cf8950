"""What benchmarks/gpu.py measures, and in which order: the most important first, for what does not fit is left out.

No torch here: the parent process plans and adds up, its workers compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

METHODS = ("predecessor", "finetune", "kd", "pkd", "theseus")
# The paper's suite trains Theseus as the released code did (preset theseus-code), which also fills the gradients of
# what is frozen; its curriculum lies between these two rates.
AS_RELEASED = {"theseus-code": 0.5, "theseus-code-full": 1.0}
PASSES = ("evaluate-successor", "evaluate-predecessor", "predecessor-outputs")
PRECISIONS = ("bfloat16", "float32")
VARIANTS = {"float32": "float32", "bfloat16": "bfloat16", "compiled": "float32", "compiled-bfloat16": "bfloat16"}
LABELS = 3  # one head for all tasks; its width costs nothing
EVALUATION_BATCH = 64  # as in benchmarks/batches.py


@dataclass(frozen=True)
class Shape:
    """The encoder, and how deep the successor is."""

    hidden: int
    layers: int
    successor: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int = 512


BERT_BASE = Shape(768, 12, 6, 12, 3072, 30_522)
TINY = Shape(32, 4, 2, 2, 64, 128)  # of the dry run


@dataclass(frozen=True)
class Case:
    """One thing to time. `name`: of METHODS, AS_RELEASED or PASSES; `runs`: processes at once; `groups`: length groups
    of a batch, 1 for one padding."""

    name: str
    precision: str
    runs: int = 1
    groups: int = 4
    compiled: bool = False
    deterministic: bool = True
    batch_size: int = 32

    def document(self) -> dict[str, Any]:
        """As gpu.json has it."""
        return asdict(self)


@dataclass(frozen=True)
class Scale:
    """How much of everything: a device, or the dry run. Times are seconds."""

    shape: Shape
    device: Literal["cuda", "cpu"]
    runs: tuple[int, ...]  # the first two are measured for everything
    window: float
    warm: float
    warm_steps: int
    matmul: float
    batches: tuple[int, ...]
    lengths: tuple[int, ...]
    inference: float  # of one cell
    repeats: int  # steps of the determinism check
    start: float  # how long workers may take to come up
    lead: float = 0.1  # between the word to begin and the beginning
    batch_size: int = 32
    backend: str = "inductor"  # of torch.compile; the dry run's generates no code and needs no compiler
    compared: tuple[str, ...] = ("finetune", "theseus")  # with other length groups, and without determinism
    repeated: tuple[str, ...] = ("finetune", "theseus-code", "theseus")
    precisions: tuple[str, ...] = PRECISIONS
    compiled: tuple[str, ...] = METHODS
    variants: tuple[str, ...] = tuple(VARIANTS)

    @property
    def workers(self) -> int:
        return max(self.runs)


DEVICE = Scale(
    BERT_BASE, "cuda", runs=(1, 4, 8, 2), window=1.2, warm=0.6, warm_steps=16, matmul=0.3, batches=(1, 8, 32, 128),
    lengths=(16, 64, 128), inference=0.6, repeats=10, start=120.0,
)  # fmt: skip
DRY = Scale(
    TINY, "cpu", runs=(1, 2), window=0.05, warm=0.0, warm_steps=1, matmul=0.02, batches=(1, 8), lengths=(16,),
    inference=0.02, repeats=2, start=120.0, lead=0.02, batch_size=8, backend="aot_eager", compared=("theseus",),
    repeated=("theseus",), compiled=("finetune",), variants=("float32", "bfloat16", "compiled"),
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One measurement of the plan. `kind` groups what takes about as long; `seconds` is how long, until known."""

    kind: str
    seconds: float
    case: Case | None = None
    variant: str = ""
    batch: int = 0
    length: int = 0

    @property
    def title(self) -> str:
        """For people."""
        if self.case is None:
            return f"{self.kind} {self.variant} batch {self.batch} length {self.length}" if self.variant else self.kind
        case = self.case
        parts = [self.kind, case.name, case.precision, f"{case.runs} run{'s' if case.runs > 1 else ''}"]
        if case.name not in PASSES:
            parts.append(f"{case.groups} length group{'s' if case.groups > 1 else ''}")
        return " ".join(parts + ["compiled"] * case.compiled + ["not deterministic"] * (not case.deterministic))


def plan(scale: Scale, groups: int) -> Iterator[Item]:
    """Everything to measure, most important first; `groups` is the suite's setting of length groups.

    Within what is left after the projection's needs, what is cheap and sure goes before what compiles.
    """
    yield Item("matmul", 6)
    trained, size = (*METHODS, *AS_RELEASED), scale.batch_size
    for runs in scale.runs[:2]:
        for precision in scale.precisions:
            yield from (Item("training", 6, Case(name, precision, runs, groups, batch_size=size)) for name in trained)
            yield from (Item("pass", 4, Case(name, precision, runs, groups=1)) for name in PASSES)
    for runs in scale.runs[2:]:
        for precision in scale.precisions:
            yield from (Item(f"training-{runs}", 8, Case(name, precision, runs, groups, batch_size=size))
                        for name in trained)  # fmt: skip
    yield from _comparisons(scale, groups)
    yield from (Item("determinism", 12, Case(name, precision, 2, groups, batch_size=size))
                for name in scale.repeated for precision in scale.precisions)  # fmt: skip
    yield from _inference(scale, [name for name in scale.variants if not name.startswith("compiled")])
    yield from _compiled(scale, 1, groups)
    yield from _inference(scale, [name for name in scale.variants if name.startswith("compiled")])
    if scale.device == "cuda":
        yield from _compiled(scale, scale.runs[1], groups)


def _compiled(scale: Scale, runs: int, groups: int) -> Iterator[Item]:
    for name in scale.compiled:
        case = Case(name, scale.precisions[0], runs, groups, compiled=True, batch_size=scale.batch_size)
        yield Item(f"compiled-{runs}", 60, case)


def _comparisons(scale: Scale, groups: int) -> Iterator[Item]:
    """The same with other numbers of length groups, and without deterministic algorithms."""
    runs, size = scale.runs[1], scale.batch_size
    for name in scale.compared:
        for precision in scale.precisions:
            for other in [count for count in (1, 4, 8) if count != groups]:
                yield Item("training", 6, Case(name, precision, runs, other, batch_size=size))
            yield Item("training", 6, Case(name, precision, runs, groups, deterministic=False, batch_size=size))


def _inference(scale: Scale, variants: list[str]) -> Iterator[Item]:
    for variant in variants:
        kind = "inference-compiled" if variant.startswith("compiled") else "inference"
        for batch in scale.batches:
            for length in scale.lengths:
                yield Item(kind, 30 if variant.startswith("compiled") else 3, None, variant, batch, length)
