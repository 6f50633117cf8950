"""Where the numbers come from: one table over all manifests, and what a reader must be warned about.

    fields, warnings = environment(results)

Runs of one suite ought to share code, packages, device, precision and data. Where they do not, arms
may differ for a reason that is no method's, so the page says so at its top.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.results import Results, Run
from reports.untrusted import text

# label, path in manifest.json, and whether a difference between runs deserves a banner
FIELDS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("Code commit", ("code_commit",), True),
    ("Uncommitted changes", ("code_dirty",), False),
    ("Device", ("device_name",), True),
    ("Device class", ("device", "device"), True),
    ("Precision", ("device", "precision"), True),
    ("Threads", ("device", "threads"), True),
    ("Platform", ("platform",), True),
    ("Python", ("python",), True),
    ("Lock hash", ("lock_hash",), True),
    ("Encoder hash", ("encoder_hash",), True),
    ("Determinism probe", ("determinism_probe",), False),
)


@dataclass(frozen=True)
class Field:
    """One property over all runs: its distinct values with the number of runs that have each."""

    label: str
    values: tuple[tuple[str, int], ...]

    @property
    def differs(self) -> bool:
        """True when runs disagree."""
        return len(self.values) > 1


@dataclass(frozen=True)
class Environment:
    """All properties, all packages, and warnings as whole sentences."""

    fields: tuple[Field, ...]
    packages: tuple[Field, ...]
    warnings: tuple[str, ...]
    started: str
    finished: str


def environment(results: Results) -> Environment:
    """Collate the manifests of every run that is there."""
    runs = [run for run in results.runs if run.manifest]
    fields = tuple(field(label, (_shown(run, path) for run in runs)) for label, path, _ in FIELDS)
    if any(run.origin for run in runs):
        fields = (field("Origin", (run.origin or "run here" for run in runs)), *fields)
    names = sorted({str(name) for run in runs for name in as_mapping(run.manifest.get("packages"))})
    packages = tuple(field(text(n, 60), (as_mapping(r.manifest.get("packages")).get(n) for r in runs)) for n in names)
    started = sorted(text(r.manifest.get("started"), 40) for r in runs if r.manifest.get("started"))
    finished = sorted(text(r.manifest.get("finished"), 40) for r in runs if r.manifest.get("finished"))
    return Environment(
        fields, packages, tuple(_warnings(runs, fields, packages)), "".join(started[:1]), "".join(finished[-1:])
    )


def _shown(run: Run, path: tuple[str, ...]) -> object:
    value = lookup(run, path)
    return probed(value) if path == ("determinism_probe",) else value


def probed(value: object) -> object:
    """A determinism probe in words; anything else as it is."""
    probe = as_mapping(value)
    if probe.get("bit_equal") is True:
        return f"bit-equal over {as_text(probe.get('steps'))} steps"
    if probe.get("bit_equal") is False:
        firsts = (f"{arm}: {first}" for arm, first in sorted(as_mapping(probe.get("methods")).items()) if first)
        return f"not bit-equal ({'; '.join(firsts)})"
    return value


def field(label: str, values: Iterable[object]) -> Field:
    """Distinct values, most frequent first, as short text."""
    counts = Counter(as_text(value) for value in values)
    return Field(label, tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))


def lookup(run: Run, path: tuple[str, ...]) -> object:
    """A value of the manifest; device properties fall back to config.json."""
    for source in (run.manifest, run.config):
        value: Any = source
        for key in path:
            value = as_mapping(value).get(key)
        if value is not None:
            return value
    return None


def as_text(value: object) -> str:
    """A JSON value as a person reads it."""
    if value is None:
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text(json.dumps(value, sort_keys=True) if isinstance(value, (dict, list)) else value, 160)


def as_mapping(value: object) -> Mapping[str, Any]:
    """The mapping itself, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def _warnings(runs: list[Run], fields: tuple[Field, ...], packages: tuple[Field, ...]) -> Iterable[str]:
    dirty = sum(1 for run in runs if run.manifest.get("code_dirty"))
    if dirty:
        yield f"{dirty} of {len(runs)} runs come from a tree with uncommitted changes: the commit is not all that ran."
    unequal = [run for run in runs if as_mapping(run.manifest.get("determinism_probe")).get("bit_equal") is False]
    if unequal:
        first = as_text(probed(unequal[0].manifest["determinism_probe"]))
        yield (
            f"{len(unequal)} of {len(runs)} runs come from a machine where training did not repeat bit for bit when it "
            f"was probed ({first}): run again, they may give other numbers."
        )
    watched = {label for label, _, serious in FIELDS if serious}
    differing = [f.label.lower() for f in fields if f.label in watched and f.differs]
    differing += [f"package {f.label}" for f in packages if f.differs]
    for key, label, group in (("code_hash", "training code", "method"), ("data_fingerprint", "data", "task")):
        seen: dict[str, set[str]] = {}
        for run in runs:
            seen.setdefault(getattr(run, group), set()).add(as_text(run.manifest.get(key)))
        if any(len(values) > 1 for values in seen.values()):
            differing.append(f"{label} within one {group}")
    if differing:
        yield f"Runs differ in {', '.join(differing)}: a difference between arms may come from there."
