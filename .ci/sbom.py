"""Writes the bill of materials of a wheel beside it, as CycloneDX 1.6 (JSON): `make wheel` calls it.

    .venv/bin/python .ci/sbom.py dist/theseus_bench-0.1.0-py3-none-any.whl      # …-any.cdx.json

It lists the wheel, and each package that it needs, directly or in turn, in the version that is installed here from the
lock, with its licence and the hashes of its archives. The same wheel and lock give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from email import message_from_bytes
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HASHES = Path(__file__).resolve().parents[1] / "hashes.txt"


def needed(requires: list[str]) -> list[str]:
    """The names of the installed packages that these requirements ask for on this platform, without extras."""
    asked = map(Requirement, requires)
    names = {canonicalize_name(one.name) for one in asked if not one.marker or one.marker.evaluate({"extra": ""})}
    return sorted(name for name in names if installed(name))


def installed(name: str) -> bool:
    try:
        return distribution(name) is not None
    except PackageNotFoundError:
        return False


def component(meta: Any, name: str, digests: list[str]) -> dict[str, Any]:
    version = meta["Version"].partition("+")[0]
    licence = meta["License-Expression"]
    found = {"type": "library", "bom-ref": f"pkg:pypi/{name}@{version}", "name": name, "version": version}
    found |= {"purl": found["bom-ref"], "hashes": [{"alg": "SHA-256", "content": digest} for digest in digests]}
    return found | ({"licenses": [{"expression": licence}]} if licence else {})


def bill(wheel: Path) -> dict[str, Any]:
    """The CycloneDX document of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        path = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        own = message_from_bytes(archive.read(path))
    lines = [line for line in HASHES.read_text(encoding="utf-8").splitlines() if "==" in line]
    digests = {line.partition("==")[0]: re.findall(r"sha256:(\w+)", line) for line in lines}
    main = component(own, canonicalize_name(own["Name"]), [hashlib.sha256(wheel.read_bytes()).hexdigest()])
    wants, parts = {main["bom-ref"]: needed(own.get_all("Requires-Dist") or [])}, {}
    todo = list(wants[main["bom-ref"]])
    while todo:
        if (name := todo.pop()) not in parts:
            parts[name] = component(distribution(name).metadata, name, digests.get(name, []))
            todo += wants.setdefault(parts[name]["bom-ref"], needed(distribution(name).requires or []))
    edges = [{"ref": ref, "dependsOn": [parts[name]["bom-ref"] for name in wants[ref]]} for ref in sorted(wants)]
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": main}}
    return head | {"components": [parts[name] for name in sorted(parts)], "dependencies": edges}


if __name__ == "__main__":
    for given in map(Path, sys.argv[1:]):
        target = given.with_suffix(".cdx.json")
        target.write_text(json.dumps(bill(given), indent=1) + "\n", encoding="utf-8")
        print(target)
