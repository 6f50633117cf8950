"""Compare the figures of a benchmark run with the accepted ones (`make bench`), or accept them (`make accept-bench`).

    python -m benchmarks.bench.compare .benchmarks/latest.json [--accept --machine "two cores of ..."]

A figure has fallen if its whole interval is worse than the accepted value by more than a fifth; the exit code is then
1. The interval covers the machine's drift within a run, and the fifth covers its drift between runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.base.errors import BAD_INPUT, DONE, FAILED, ROOT

ACCEPTED = ROOT / "results" / "bench" / "accepted.json"
MARGIN = 0.20
FIGURE = ("claim", "value", "low", "high", "bar", "at_least")


def figures(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of pytest-benchmark's JSON: claim, value with interval, bar, and our own side's seconds."""
    found = []
    for entry in document["benchmarks"]:
        extra, stats = entry["extra_info"], entry["stats"]
        if "claim" in extra:
            own = {"rounds": stats["rounds"], "median_seconds": stats["median"], "min_seconds": stats["min"]}
            found.append({name: extra[name] for name in FIGURE} | own)
    return found


def fallen(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Is the whole interval of `new` worse than the accepted value by more than the margin?"""
    if new["at_least"]:
        return bool(new["high"] < old["value"] * (1 - MARGIN))
    return bool(new["low"] > old["value"] * (1 + MARGIN) and new["low"] > new["bar"])


def line(new: dict[str, Any], old: dict[str, Any] | None) -> str:
    sign = ">=" if new["at_least"] else "<="
    met = new["value"] >= new["bar"] if new["at_least"] else new["value"] <= new["bar"]
    verdict = "fallen" if old and fallen(new, old) else ("ok" if met else "bar not met")
    accepted = f"{old['value']:.3f}" if old else "none"
    interval = f"{new['value']:8.3f}  ({new['low']:.3f} to {new['high']:.3f})"
    return f"{interval:<32}{sign} {new['bar']:<6g} accepted {accepted:<8} {verdict:<12} {new['claim']}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench.compare")
    parser.add_argument("measured", type=Path)
    parser.add_argument("--accept", action="store_true", help="make these the accepted figures")
    parser.add_argument("--machine", default="", help="a description of the machine, for --accept")
    given = parser.parse_args()
    try:
        found = figures(json.loads(given.measured.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {given.measured}: {error}: run make bench", file=sys.stderr)
        return BAD_INPUT
    known = json.loads(ACCEPTED.read_text(encoding="utf-8"))["figures"] if ACCEPTED.is_file() else []
    accepted = {figure["claim"]: figure for figure in known}
    for figure in found:
        print(line(figure, accepted.get(figure["claim"])))
    if given.accept:
        ACCEPTED.parent.mkdir(parents=True, exist_ok=True)
        document = {"schema": 1, "machine": given.machine, "figures": found}
        ACCEPTED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return DONE
    worse = [figure for figure in found if (old := accepted.get(figure["claim"])) and fallen(figure, old)]
    return FAILED if worse else DONE


if __name__ == "__main__":
    sys.exit(main())
