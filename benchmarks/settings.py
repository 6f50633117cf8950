"""The sections of a suite that the laboratory's other modules read: training, encoder, data, device, speed.

One typed, frozen object per concern. Unknown keys are errors that name the nearest valid one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.errors import nearest

SLUG = r"^[a-z0-9][a-z0-9-]{0,63}$"  # names become folders: nothing else may

Slug = Annotated[str, Field(pattern=SLUG)]


class Config(BaseModel):
    """Base of all sections: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}: {nearest(str(key), cls.model_fields)}")
        return data


def first_line(error: ValidationError) -> str:
    """pydantic's first complaint as one line: where, what, and what was given."""
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    what = detail["msg"].removeprefix("Value error, ")
    given = detail.get("input")
    shown = (
        f" (given: {given!r})" if not isinstance(given, dict | list | BaseModel) and detail["type"] != "missing" else ""
    )
    return f"{where}: {what}{shown}" if where else f"{what}{shown}"


class Training(Config):
    """The optimizer loop, equal for all arms unless a section overrides it.

    `warmup` is a share of the planned steps. `evaluate_every` counts optimizer steps, or is "epoch".
    Neither of the next two changes a batch's members or its gradient (beyond rounding): `length_groups` cuts it by
    length into at most so many, so that little of it is padding; `micro_batches` takes it in parts, for less memory.
    """

    epochs: Annotated[float, Field(gt=0)] = 3.0
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 32
    length_groups: Annotated[int, Field(ge=1)] = 8
    micro_batches: Annotated[int, Field(ge=1)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    schedule: Literal["linear", "constant"] = "linear"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    evaluate_every: Annotated[int, Field(ge=1)] | Literal["epoch"] = "epoch"


class Encoder(Config):
    """Where the pretrained encoder comes from: `path`, else ENCODER_DIR, else the hub at `revision`.

    `random` builds `shape` with random weights instead, for plans and dry runs only. `sha256`: of
    model.safetensors.
    """

    name: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    revision_source: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    path: str | None = None
    random: bool = False
    shape: dict[str, int] = {}
    layers: Annotated[int, Field(ge=2)]
    hidden_size: Annotated[int, Field(ge=1)]


class Data(Config):
    """GLUE from `path`, else GLUE_DIR, else `dataset` on the hub at `revision`. Synthetic tasks need none of it."""

    path: str | None = None
    dataset: str = "nyu-mll/glue"
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    revision_source: str | None = None


class Device(Config):
    """Equal for every arm and part of every run's identity: runs under different settings never pair."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: Annotated[int, Field(ge=1)] = 1
    tf32: bool = False
    attention: Literal["sdpa", "eager"] = "sdpa"
    deterministic: bool = True


VARIANTS = ("eager", "bfloat16", "compiled", "onnx", "onnx-int8")
MATRIX = (  # what `speed --matrix` measures, as an override of the suite's [speed] that --set may narrow
    'speed={batch_sizes=[1, 8, 32, 128], lengths=[16, 64, 128, "dev"], threads=[1, "all"], devices=["cpu", "cuda"], '
    f"variants={list(VARIANTS)}, max_seconds=60}}"
)

Threads = Annotated[int, Field(ge=0)] | Literal["all"]


class Speed(Config):
    """Paired inference timing of predecessor and successor: every batch size with every length, in every variant.

    A length is a number of random words without padding, or "dev": batches of the task's dev examples as they come,
    padded as evaluation pads them. `threads`: one count or several, 0 or "all" for every core (default: the suite's).
    `variants`: ways to run a model (default: eager at the suite's precision). `devices`: default the suite's.
    Rounds go on until the 95 % interval of the ratio is narrower than `width` (a share), `max_rounds` are done, or
    `max_seconds` have gone by on one batch size and length, all its variants together.
    """

    batch_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = [1, 8]
    lengths: Annotated[list[Annotated[int, Field(ge=4)] | Literal["dev"]], Field(min_length=1)] = [128]
    threads: Threads | Annotated[list[Threads], Field(min_length=1)] | None = None
    variants: (
        Annotated[list[Literal["eager", "bfloat16", "compiled", "onnx", "onnx-int8"]], Field(min_length=1)] | None
    ) = None
    devices: Annotated[list[Literal["cpu", "cuda"]], Field(min_length=1)] | None = None
    min_rounds: Annotated[int, Field(ge=5)] = 20
    max_rounds: Annotated[int, Field(ge=5)] = 100
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    width: Annotated[float, Field(gt=0)] = 0.02

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
