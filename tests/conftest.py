"""What holds for every test: no network, one thread, and no need for torch.

Where torch is not installed (`tox -e report-without-torch`) the test modules that import it, directly or through
`theseus`, `baselines` or `benchmarks`, are left out, so that what remains is what `reports` promises to do without it.
"""

from __future__ import annotations

import ast
import importlib.util
import ipaddress
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

# Read by the libraries when they are imported, and inherited by the processes that tests start.
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the nightly tier sets it to 0
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # part of what makes a run bit-equal; small models gain nothing from two
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
if "PYTEST_XDIST_WORKER" not in os.environ:  # what is measured once per machine is measured once per session here
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="theseus-bench-")

NEEDS_TORCH = {"torch", "transformers", "theseus", "baselines", "benchmarks"}


class NetworkUsed(RuntimeError):
    """A test reached for the network. Not an OSError, so that no retry swallows it."""


def imported_packages(source: str) -> set[str]:
    """Top-level packages that a module imports when it is imported itself."""
    names: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if collection_path.suffix != ".py" or importlib.util.find_spec("torch") is not None:
        return None
    return bool(imported_packages(collection_path.read_text(encoding="utf-8")) & NEEDS_TORCH) or None


def is_local(host: Any) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a look-up or a connection that would leave this machine fail at once. Tests marked `nightly` may fetch."""
    if request.node.get_closest_marker("nightly"):
        return
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse_remote(host: Any) -> None:
        if not is_local(host):
            raise NetworkUsed(f"a test tried to reach {host!r}; mark it `nightly` if it has to")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse_remote(address[0])
        return connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse_remote(address[0])
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_remote(host)
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
