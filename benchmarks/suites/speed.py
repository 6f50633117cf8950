"""The `[speed]` section of a suite."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from benchmarks.base.config import Config

Variant = Literal["eager", "bfloat16", "compiled", "onnx", "onnx-int8"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
MATRIX = (  # the settings of `speed --matrix`, as an override of the suite's [speed] that --set can narrow
    'speed={batch_sizes=[1, 8, 32, 128], lengths=[16, 64, 128, "dev"], threads=[1, "all"], devices=["cpu", "cuda"], '
    f"variants={list(VARIANTS)}, max_seconds=60}}"
)

Threads = Annotated[int, Field(ge=0)] | Literal["all"]


class Speed(Config):
    """Paired inference timing of predecessor and successor: every batch size with every length, in every variant."""

    batch_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [1, 8]
    """Examples per call."""
    lengths: Annotated[list[Annotated[int, Field(ge=4)] | Literal["dev"]], Field(min_length=1)] = [128]
    """A number is that many random words without padding. `"dev"` takes batches of the task's dev examples, padded as
    evaluation pads them."""
    threads: Threads | Annotated[list[Threads], Field(min_length=1)] | None = None
    """One thread count or several; 0 and `"all"` mean every core. Default: the suite's."""
    variants: Annotated[list[Variant], Field(min_length=1)] | None = None
    """Ways to run a model (docs/speed.md). Default: eager at the suite's precision."""
    devices: Annotated[list[Literal["cpu", "cuda"]], Field(min_length=1)] | None = None
    """Default: the suite's."""
    min_rounds: Annotated[int, Field(ge=5)] = 20
    """Rounds that are always measured."""
    max_rounds: Annotated[int, Field(ge=5)] = 100
    """Rounds after which a variant whose interval is still wide is undecided."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Time limit for one batch size and length, all variants together. Default: none."""
    width: Annotated[float, Field(gt=0)] = 0.02
    """Rounds go on until the 95 % interval of the ratio is narrower than this share."""

    @model_validator(mode="after")
    def _rounds(self) -> Speed:
        if self.min_rounds > self.max_rounds:
            raise ValueError(f"min_rounds = {self.min_rounds} is above max_rounds = {self.max_rounds}")
        for name in ("batch_sizes", "lengths", "variants", "devices"):
            values = getattr(self, name) or []
            if len(set(values)) != len(values):
                raise ValueError(f"{name} lists a value twice: {values}")
        return self

    def thread_counts(self, default: int, cores: int) -> list[int]:
        """The numbers of threads to measure with, each once: `default` where the suite names none."""
        given = self.threads if isinstance(self.threads, list) else [default if self.threads is None else self.threads]
        return list(dict.fromkeys(cores if count in (0, "all") else int(count) for count in given))

    def chosen_variants(self, precision: str) -> list[str]:
        """The variants to measure: eager at the suite's `precision` where the suite names none."""
        return list(self.variants) if self.variants else ["eager" if precision == "float32" else precision]
