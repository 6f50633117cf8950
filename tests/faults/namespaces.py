"""Commands in namespaces of their own (Linux): another host name, other process ids, mounts that nobody else sees.

`unshare` needs root or user namespaces. Where neither is there, a test fails and says so, unless WITHOUT_UNSHARE=1
admits the gap: then it is skipped, and the summary lists it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache

import pytest


@cache
def _permitted(flags: tuple[str, ...]) -> bool:
    try:
        return subprocess.run(["unshare", *flags, "true"], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


def unshared(*flags: str) -> list[str]:
    """The beginning of a command that starts in new namespaces, as root of a user namespace where we are not root."""
    for more in ((), ("--map-root-user",)):
        if _permitted((*more, *flags)):
            return ["unshare", *more, *flags]
    if os.environ.get("WITHOUT_UNSHARE") == "1":
        pytest.skip(f"unshare {' '.join(flags)} is not permitted here")
    pytest.fail(
        f"unshare {' '.join(flags)} is not permitted here, so this fault is not tried: run as root or allow user "
        "namespaces, or set WITHOUT_UNSHARE=1 to leave it out"
    )


def without_root() -> None:
    """Called in a child before it starts: from now on permissions hold for root too (CAP_DAC_OVERRIDE and
    CAP_DAC_READ_SEARCH leave the set of what a program may have)."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):
            assert libc.prctl(24, capability, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
