"""The device settings of a suite, resolved on this machine and applied to a worker process."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.base.errors import SuiteError
from benchmarks.machine.settings import Device
from results.format.documents.config import DeviceUsed


def resolve(settings: Device) -> Device:
    """Replace `auto` by this machine's device. Raises `SuiteError` for CUDA on a machine without it."""
    has_cuda = torch.cuda.is_available()
    if settings.device == "cuda" and not has_cuda:
        raise SuiteError('device = "cuda", but torch sees no CUDA device here: use device = "cpu" or another machine')
    device = settings.device if settings.device != "auto" else ("cuda" if has_cuda else "cpu")
    return settings.model_copy(update={"device": device})


def device_class(settings: Device) -> str:
    """The hardware that must be equal for equal bits: the GPU's name, or the CPU's architecture and vector width."""
    if settings.device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def recorded(settings: Device) -> DeviceUsed:
    """The settings as a run's files have them."""
    return DeviceUsed(**settings.model_dump(mode="json"), class_=device_class(settings))


def device_name(settings: Device) -> str:
    """The device in words, for people."""
    if settings.device == "cuda":
        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"


@dataclass(frozen=True)
class Machine:
    """This machine under the settings of a suite: the device in words, and the hardware that must be equal for equal
    bits."""

    device: Device
    name: str
    class_: str


def machine(settings: Device) -> Machine:
    """Look this machine up once for everything that is kept per machine."""
    return Machine(settings, device_name(settings), device_class(settings))


def apply(settings: Device) -> None:
    """Set threads, TF32 and determinism for this process; a worker calls it once, before any computation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it for deterministic mode
    torch.set_num_threads(settings.threads)
    torch.backends.cuda.matmul.allow_tf32 = settings.tf32
    torch.backends.cudnn.allow_tf32 = settings.tf32
    torch.backends.cuda.enable_cudnn_sdp(False)  # cuDNN plans again for every shape, and batches differ in length
    torch.use_deterministic_algorithms(settings.deterministic)
    # Deterministic mode also fills every new tensor with NaN, to show reads of unwritten memory: 11 % of a MiniLM step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextlib.contextmanager
def precision(settings: Device) -> Iterator[None]:
    """Autocast to bfloat16 where the suite asks; weights and optimizer stay float32."""
    if settings.precision == "float32":
        yield
        return
    with torch.autocast(settings.device, dtype=torch.bfloat16):
        yield


def reset_peak_memory(settings: Device) -> None:
    """Reset the peak: a worker executes many runs, and each reports its own."""
    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # Linux: forget the high-water mark of the resident set
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(settings: Device) -> int | None:
    """The peak in bytes since the reset: allocated on the GPU, or resident on the CPU (Linux only, else None)."""
    if settings.device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return None


def synchronise(device: Any) -> None:
    """Wait for queued GPU work, so that a clock can be read."""
    if str(device).startswith("cuda"):
        torch.cuda.synchronize()
