"""Which recorded facts changed along with a number: code, settings, lock, packages, data, device, threads, precision.

    changes([(accepted_outcome, new_outcome), ...], accepted, new)     # Change(kind="code", fact="code_hash", ...)

The commit is not a cause: the code that trains is hashed per method (`code_hash`), and a commit that leaves the hash
unchanged cannot have moved the number. A run's predecessor counts as changed when its stored predictions changed,
because its id follows code and settings even where the weights stay the same. Under another lock, device, thread count
or precision everything moves, so there the predecessor is not a cause of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.drift.snapshot import Fact, Outcome, Snapshot
from results.format.untrusted import as_text

# The kinds are in the order in which a person should look at them. Any other fact is a setting, so that it is shown.
KINDS = ("code", "settings", "predecessor", "data", "encoder", "lock", "packages", "device", "threads", "precision",
         "python", "platform")  # fmt: skip
EXACT_KINDS = {"code_hash": "code", "data_fingerprint": "data", "encoder_hash": "encoder", "lock_hash": "lock",
               "device_name": "device", "device.threads": "threads", "device.precision": "precision",
               "python": "python", "platform": "platform"}  # fmt: skip
PREFIXES = {"package": "packages", "device": "device"}
NOT_A_CAUSE = {"code_commit", "code_dirty", "origin"}
# Bits repeat where these are equal. The device's name counts beside its class: the AVX512 units of two makers may round
# differently.
BITS = {"lock", "packages", "device", "threads", "precision"}
# Numbers that differ in one of these facts measure different things.
IDENTITY = {"data_fingerprint": "other data", "encoder_hash": "another encoder", "setting.data.score": "another score"}


@dataclass(frozen=True)
class Change:
    """One fact with its value then and now, as short text; a hash is cut to 12 characters."""

    kind: str
    fact: str
    before: str
    after: str

    @property
    def words(self) -> str:
        """`code 0a1b2c3d -> 4e5f6a7b`."""
        name = self.fact.partition(".")[2] if self.kind in ("settings", "packages") else self.fact.replace("_", " ")
        name = self.kind if self.kind in ("code", "threads", "precision", "predecessor") else name
        label = f"setting {name}" if self.kind == "settings" else name
        return f"{label} {self.before} -> {self.after}"


def changes(pairs: Sequence[tuple[Outcome, Outcome]], accepted: Snapshot, new: Snapshot) -> tuple[Change, ...]:
    """Every fact that differs for some seed, in the order of `KINDS`."""
    found: dict[Change, None] = {}
    for old, now in pairs:
        for fact in sorted({*old.facts, *now.facts} - NOT_A_CAUSE):
            before, after = old.facts.get(fact), now.facts.get(fact)
            if before != after:
                kind = EXACT_KINDS.get(fact) or PREFIXES.get(fact.partition(".")[0], "settings")
                found[Change(kind, fact, _short(fact, before), _short(fact, after))] = None
        if bits_comparable(found) and _predecessor_moved(old, now, accepted, new):
            found[Change("predecessor", "predecessor", old.predecessor or "none", now.predecessor or "none")] = None
    return tuple(sorted(found, key=lambda change: KINDS.index(change.kind)))


def bits_comparable(changed: Iterable[Change]) -> bool:
    """Whether runs should repeat bit for bit on their machines (leaving code and settings aside)."""
    return not BITS & {change.kind for change in changed}


def not_comparable(changed: Iterable[Change]) -> str:
    """Why numbers under these changes cannot be compared: other data, encoder or score; empty where they can."""
    return ", ".join(f"{IDENTITY[c.fact]} ({c.before} -> {c.after})" for c in changed if c.fact in IDENTITY)


def _predecessor_moved(old: Outcome, now: Outcome, accepted: Snapshot, new: Snapshot) -> bool:
    if old.predecessor == now.predecessor:
        return False
    before, after = _run(accepted, old.predecessor), _run(new, now.predecessor)
    return before is None or after is None or not before.same_bits(after)


def _run(snapshot: Snapshot, run_id: str | None) -> Outcome | None:
    runs = (outcome for cell in snapshot.cells.values() for outcome in cell.outcomes.values())
    return next((outcome for outcome in runs if outcome.run_id == run_id), None)


def _short(fact: str, value: Fact) -> str:
    shown = as_text(value)
    is_hash = fact.endswith(("_hash", "_fingerprint")) and len(shown) > 12
    return shown[:12] if is_hash else shown


def by_kind(changed: Iterable[Change]) -> Mapping[str, list[Change]]:
    """Changes grouped by kind, in the order of `KINDS`."""
    groups: dict[str, list[Change]] = {}
    for change in sorted(changed, key=lambda c: KINDS.index(c.kind)):
        groups.setdefault(change.kind, []).append(change)
    return groups
