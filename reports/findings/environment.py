"""Where the numbers come from: one table over all manifests, and warnings for the reader.

    found = environment(results)
    found.fields, found.warnings

Runs of one suite should share code, packages, device, precision and data. Where they do not, arms may differ for a
reason other than their methods, so the page says so at its top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from results.format.documents.run import Probe
from results.format.records import Results, Run
from results.format.untrusted import as_text, text

# Label, value, and whether a difference between runs deserves a banner.
FIELDS: tuple[tuple[str, Callable[[Run], object], bool], ...] = (
    ("Code commit", lambda run: run.manifest.code_commit, True),
    ("Uncommitted changes", lambda run: run.manifest.code_dirty, False),
    ("Device", lambda run: run.manifest.device_name, True),
    ("Device class", lambda run: run.device.device, True),
    ("Precision", lambda run: run.device.precision, True),
    ("Threads", lambda run: run.device.threads, True),
    ("Platform", lambda run: run.manifest.platform, True),
    ("Python", lambda run: run.manifest.python, True),
    ("Lock hash", lambda run: run.manifest.lock_hash, True),
    ("Encoder hash", lambda run: run.manifest.encoder_hash, True),
    ("Determinism probe", lambda run: probed(run.manifest.determinism_probe), False),
)
# Values that must be the same within one method, or within one task.
WITHIN: tuple[tuple[Callable[[Run], object], str, str], ...] = (
    (lambda run: run.manifest.code_hash, "training code", "method"),
    (lambda run: run.manifest.data_fingerprint, "data", "task"),
)


@dataclass(frozen=True)
class Field:
    """One property over all runs: its distinct values with the number of runs that have each."""

    label: str
    values: tuple[tuple[str, int], ...]

    @property
    def differs(self) -> bool:
        """Whether runs disagree."""
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
    """Collate the manifests of all runs that have one."""
    runs = [run for run in results.runs if run.manifest]
    fields = tuple(field(label, (value(run) for run in runs)) for label, value, _ in FIELDS)
    if any(run.origin for run in runs):
        fields = (field("Origin", (run.origin or "run here" for run in runs)), *fields)
    names = sorted({str(name) for run in runs for name in run.manifest.packages})
    packages = tuple(field(text(n, 60), (run.manifest.packages.get(n) for run in runs)) for n in names)
    started = sorted(text(run.manifest.started, 40) for run in runs if run.manifest.started)
    finished = sorted(text(run.manifest.finished, 40) for run in runs if run.manifest.finished)
    return Environment(
        fields, packages, tuple(_warnings(runs, fields, packages)), "".join(started[:1]), "".join(finished[-1:])
    )


def probed(probe: Probe | None) -> str | None:
    """A determinism probe in words, None without a probe."""
    if probe is not None and probe.bit_equal is True:
        return f"bit-equal over {as_text(probe.steps)} steps"
    if probe is not None and probe.bit_equal is False:
        firsts = (f"{arm}: {first}" for arm, first in sorted(probe.methods.items()) if first)
        return f"not bit-equal ({'; '.join(firsts)})"
    return None


def field(label: str, values: Iterable[object]) -> Field:
    """Distinct values, most frequent first, as short text."""
    counts = Counter(as_text(value) for value in values)
    return Field(label, tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))))


def _warnings(runs: list[Run], fields: tuple[Field, ...], packages: tuple[Field, ...]) -> Iterable[str]:
    dirty = sum(1 for run in runs if run.manifest.code_dirty)
    if dirty:
        yield f"{dirty} of {len(runs)} runs come from a tree with uncommitted changes, which the commit lacks."
    unequal = [run for run in runs if (probe := run.manifest.determinism_probe) and probe.bit_equal is False]
    if unequal:
        first = as_text(probed(unequal[0].manifest.determinism_probe))
        yield (
            f"{len(unequal)} of {len(runs)} runs come from a machine where training did not repeat bit for bit when it "
            f"was probed ({first}): run again, they may give other numbers."
        )
    watched = {label for label, _, serious in FIELDS if serious}
    differing = [f.label.lower() for f in fields if f.label in watched and f.differs]
    differing += [f"package {f.label}" for f in packages if f.differs]
    for value, label, group in WITHIN:
        seen: dict[str, set[str]] = {}
        for run in runs:
            seen.setdefault(getattr(run, group), set()).add(as_text(value(run)))
        if any(len(values) > 1 for values in seen.values()):
            differing.append(f"{label} within one {group}")
    if differing:
        yield f"Runs differ in {', '.join(differing)}: a difference between arms may come from there."
