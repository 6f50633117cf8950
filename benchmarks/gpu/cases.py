"""The cases that `benchmarks.gpu` measures, the most important first, because the time may not suffice for all.

Methods, batch size and the encoder's shape are those of the `paper` suite. The suite trains Theseus like the released
code, whose recipe differs from our library's own (docs/fidelity.md), so both are measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from typing import Any, Literal

from baselines import find
from baselines.method import Method
from baselines.parts.replacing_rate import RateOptions
from baselines.theseus import TheseusMethod
from benchmarks.machine.settings import Device
from benchmarks.suites.suite import load_suite

PAPER = load_suite("paper")
METHODS = ("predecessor", "finetune", "kd", "pkd", "theseus")
AS_RELEASED = {"theseus-code": 0.5, "theseus-code-full": 1.0}  # replacing rates; the suite's curriculum is between them
PASSES = ("evaluate-successor", "evaluate-predecessor", "predecessor-outputs")
VARIANTS = {"float32": "float32", "bfloat16": "bfloat16", "compiled": "float32", "compiled-bfloat16": "bfloat16"}
TINY = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 512}  # fmt: skip


def method_of(name: str) -> Method:
    """The method of a training case: the suite's own, with a constant replacing rate for Theseus."""
    if name in PAPER.arms and name != "theseus":
        return PAPER.arms[name].build()
    if name == "predecessor":
        return find(name)()
    options = PAPER.arms["theseus"].options if name in AS_RELEASED else {}
    return TheseusMethod(**{**options, "rate": RateOptions(kind="constant", p=AS_RELEASED.get(name, 0.5))})


@dataclass(frozen=True)
class Case:
    """A training step or a pass without gradients. `name`: one of METHODS, AS_RELEASED or PASSES; `runs`: processes at
    once; `groups`: length groups of a batch, 1 for plain padding."""

    name: str
    precision: str
    runs: int
    groups: int
    compiled: bool = False
    deterministic: bool = True

    @property
    def is_pass(self) -> bool:
        return self.name in PASSES


@dataclass(frozen=True)
class Cell:
    """Inference of predecessor and successor in one of VARIANTS, on batches of one size and length."""

    variant: str
    batch_size: int
    length: int


@dataclass(frozen=True)
class Scale:
    """The size of all measurements; the default takes about eight minutes on a GPU. All times are in seconds."""

    device: Literal["cuda", "cpu"] = "cuda"
    shape: dict[str, int] = field(default_factory=lambda: PAPER.encoder.shape)
    successor: int = PAPER.successor_layers
    batch_size: int = PAPER.training.batch_size
    runs: tuple[int, ...] = (1, 4, 8, 2)  # the first two are measured for everything
    window: float = 1.2
    lead: float = 0.1  # from the request to the common start
    warm: float = 0.6
    warm_steps: int = 16
    matmul: float = 0.3
    large: int = 8192  # inner size of the large matrix product
    precisions: tuple[str, ...] = ("bfloat16", "float32")
    compared: tuple[str, ...] = ("finetune", "theseus")  # with other length groups, and without determinism
    repeated: tuple[str, ...] = ("finetune", "theseus-code", "theseus")
    repeats: int = 10  # steps of the determinism check
    compiled: tuple[str, ...] = METHODS
    backend: str = "inductor"  # of torch.compile
    variants: tuple[str, ...] = tuple(VARIANTS)
    batches: tuple[int, ...] = (1, 8, 32, 128)
    lengths: tuple[int, ...] = (16, 64, 128)
    inference: float = 0.6  # of one batch and length

    @property
    def layers(self) -> int:
        return self.shape["num_hidden_layers"]

    def place(self, **settings: Any) -> Device:
        """The suite's device settings with these changes."""
        return PAPER.device.model_copy(update={"device": self.device, **settings})


DEVICE = Scale()
DRY = Scale(  # its backend does not generate code and needs no compiler
    "cpu", TINY, 2, batch_size=8, runs=(1, 2), window=0.05, lead=0.02, warm=0.0, warm_steps=1, matmul=0.02, large=64,
    compared=("theseus",), repeated=("theseus",), repeats=2, compiled=("finetune",), backend="aot_eager",
    variants=("float32", "bfloat16", "compiled"), batches=(2, 8), lengths=(16,), inference=0.02,
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One measurement. Items of one `kind` take about equally long; `seconds` is the estimate for the first of them."""

    kind: str
    seconds: float
    case: Case | Cell | None = None

    def __str__(self) -> str:
        settings = asdict(self.case) if self.case else {}
        return " ".join([self.kind, *(f"{name}={value}" for name, value in settings.items())])


def plan(scale: Scale, groups: int) -> Iterator[Item]:
    """Everything to measure, most important first; `groups` is the suite's number of length groups.

    The measurements for the projection come first; those that compile come last, because they take long and may fail.
    """
    step = partial(Case, groups=groups)
    yield Item("matmul", 6)
    for runs in scale.runs:
        first = runs in scale.runs[:2]
        for precision in scale.precisions:
            kind, seconds = ("training", 6) if first else (f"training-{runs}", 8)
            yield from (Item(kind, seconds, step(name, precision, runs)) for name in (*METHODS, *AS_RELEASED))
            passes = (Case(name, precision, runs, 1) for name in PASSES)
            yield from (Item("pass", 4, case) for case in passes if first)
    for name in scale.compared:
        for precision in scale.precisions:
            case = partial(step, name, precision, scale.runs[1])
            yield from (Item("training", 6, case(groups=other)) for other in (1, 4, 8) if other != groups)
            yield Item("training", 6, case(deterministic=False))
    for name in scale.repeated:
        yield from (Item("determinism", 12, step(name, precision, 2)) for precision in scale.precisions)
    cells = [Cell(*settings) for settings in product(scale.variants, scale.batches, scale.lengths)]
    yield from (Item("inference", 3, cell) for cell in cells if not cell.variant.startswith("compiled"))
    for runs in scale.runs[: 2 if scale.device == "cuda" else 1]:
        for name in scale.compiled:
            yield Item(f"compiled-{runs}", 60, step(name, scale.precisions[0], runs, compiled=True))
    yield from (Item("inference-compiled", 30, cell) for cell in cells if cell.variant.startswith("compiled"))
