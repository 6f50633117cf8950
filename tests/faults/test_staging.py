"""Who sweeps what an import left half-done, in a container and beside one.

The tests run in a process-id namespace of their own, as every container has one: there the ids of processes begin
anew, so an id alone says nothing. Where the system does not let a test make a namespace, the link that names it is
replaced, which is all that the code under test sees of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.runs.store import Store

OWN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
FAKED = """
import os
link, real = "/proc/self/ns/pid", os.readlink
os.readlink = lambda path, **options: "pid:[4026999999]" if path == link else real(path, **options)
"""
IMPORT = """
import os, signal, sys
from pathlib import Path
from benchmarks.runs.store import Store
from results.format.bundles import importing

bundle, results = Path(sys.argv[1]), Path(sys.argv[2])
taken = {int(pid) for pid in sys.argv[3].split(",")}  # process ids that are alive outside

def import_until(stop):
    for _ in range(1000):
        if (pid := os.fork()) == 0:
            if os.getpid() in taken:
                os._exit(0)
            Path.rename = lambda path, target: stop()
            importing.import_bundle(bundle, results, results.parent)
        if os.waitpid(pid, os.WUNTRACED)[1]:
            return pid
"""
KILLED = """
import_until(lambda: os.kill(os.getpid(), signal.SIGKILL))
print(len(list((results / ".partial").iterdir())))
Store(results).sweep()
print(len(list((results / ".partial").iterdir())))
"""
ALIVE = """
pid = import_until(lambda: os.kill(os.getpid(), signal.SIGSTOP))
print("staged", flush=True)
sys.stdin.readline()
os.kill(pid, signal.SIGKILL)
"""


def contained(bundle: Path, results: Path, script: str) -> subprocess.Popen[str]:
    """A Python process that runs `script` in a process-id namespace of its own."""
    possible = subprocess.run([*OWN_NAMESPACE, "true"], capture_output=True).returncode == 0
    alive = ",".join(name for name in os.listdir("/proc") if name.isdecimal()) if possible else "0"
    command = [
        *(OWN_NAMESPACE if possible else []),
        sys.executable,
        "-c",
        ("" if possible else FAKED) + IMPORT + script,
    ]
    return subprocess.Popen(
        [*command, str(bundle), str(results), alive], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux")
def test_what_an_import_left_that_was_killed_in_a_container_is_swept_there(bundle, tmp_path):
    with contained(bundle, tmp_path / "to", KILLED) as container:
        said, _ = container.communicate(timeout=120)
    assert said.split() == ["1", "0"], "folders before and after the sweep"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux")
def test_an_import_that_goes_on_in_a_container_is_not_swept_outside(bundle, tmp_path):
    with contained(bundle, tmp_path / "to", ALIVE) as container:
        assert container.stdout.readline() == "staged\n"
        before = list((tmp_path / "to" / ".partial").iterdir())
        Store(tmp_path / "to").sweep()
        assert list((tmp_path / "to" / ".partial").iterdir()) == before
        assert len(before) == 1
        container.communicate("\n", timeout=60)
