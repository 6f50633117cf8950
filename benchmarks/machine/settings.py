"""The `[device]` section of a suite."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchmarks.base.config import Config


class Device(Config):
    """The device and its arithmetic: the same for every arm, and part of every run's id.

    Runs under different settings are never paired.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`"auto"` takes CUDA where there is a device, else the CPU."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """`"bfloat16"` trains and evaluates under autocast; the weights stay float32."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """CPU threads of one run."""
    tf32: bool = False
    """Allow TF32 in float32 matrix products on CUDA."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """The attention implementation of transformers."""
    deterministic: bool = True
    """Use torch's deterministic algorithms."""
