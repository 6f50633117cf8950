"""Check that a file is a safetensors file, from its header alone, without the library.

    check_safetensors(Path("successor/model.safetensors"))

`reports` must run without torch and safetensors. A pickle, a zip of pickles or a cut file is refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from results.format import limits
from results.format.errors import ReportError
from results.format.untrusted import parse, shown

HEADER = 16 * limits.MIB  # bytes; BERT-base's has 25 kB, and the format allows 100 MiB
DIMENSIONS, EXTENT = 16, 2**48  # of one tensor; torch has 64 dimensions at most, and no model uses more than five
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
        "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64}  # fmt: skip


def check_safetensors(path: Path) -> None:
    """Raises `ReportError` unless tensors of known types fill the file without a gap or an overlap."""
    total = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= min(HEADER, total - 8):
            raise ReportError(f"{path}: is not a safetensors file; other weights are not accepted")
        header = parse(file.read(length), f"{path}: header")
    header.pop("__metadata__", None)
    end = 0
    for begin, stop in sorted(_extent(path, name, tensor) for name, tensor in header.items()):
        if begin != end:
            raise ReportError(f"{path}: tensors overlap or leave gaps; save it again with save_pretrained")
        end = stop
    if end != total - 8 - length:
        raise ReportError(f"{path}: tensors do not fill the file; save it again with save_pretrained")


def _extent(path: Path, name: str, tensor: Any) -> tuple[int, int]:
    """The start and end of a tensor's bytes, which must fit its type and shape."""
    try:
        shape, (begin, stop) = tensor["shape"], tensor["data_offsets"]
        whole = all(type(value) is int and 0 <= value < EXTENT for value in (*shape[: DIMENSIONS + 1], begin, stop))
        if whole and len(shape) <= DIMENSIONS and 8 * (stop - begin) == math.prod(shape) * BITS[tensor["dtype"]]:
            return begin, stop
    except (KeyError, TypeError, ValueError):
        pass
    raise ReportError(f"{path}: tensor {shown(name)} has an impossible type, shape or place; save it again")
