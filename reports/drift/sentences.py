"""The sentences of a drift comparison: its conclusion, each cell and each arm, what changed, and the environments."""

from __future__ import annotations

from collections.abc import Iterable

from reports.drift.attribution import BITS, Change, by_kind
from reports.drift.compare import CellDrift, Drift
from reports.drift.judging import Judged
from reports.drift.macros import MacroDrift


def conclusion(found: Drift) -> str:
    """One sentence."""
    words = {
        "pass": "pass: no arm fell by its margin, and no cell drifted",
        "drift": "drift: mend it, or accept a new baseline and say why in LOG.md",
        "undecided": f"undecided: {_open(found)}",
        "not comparable": "no comparable baseline: accept one under these conditions",
    }[found.verdict]
    uncertain = sum(cell.verdict == "not certified" for cell in found.cells)
    counts = {word: f"{count} {word}" for word, count in found.counts.items() if count}
    if uncertain:
        counts["unchanged"] += f", of which {uncertain} are not certified by themselves"
    listed = list(counts.values()) or ["no cell compared"]
    listed += [f"Holm over {found.family} cells and macros whose scores differ"] if found.family else []
    return f"{found.suite}: {words} ({', '.join(listed)})"


def _open(found: Drift) -> str:
    """What keeps the suite from a pass."""
    said = []
    if arms := [macro.arm for macro in found.macros if macro.verdict == "undecided"]:
        said.append(f"a fall of the macro of {', '.join(arms)} cannot be ruled out")
    if gaps := sum(cell.verdict == "undecided" for cell in found.cells):
        said.append(f"{gaps} of {len(found.cells)} cells are not complete")
    if gone := sum(speed.missing for speed in found.speed):
        said.append(f"{gone} of {len(found.speed)} timing conditions are missing")
    return "; ".join(said)


def sentence(cell: CellDrift) -> str:
    """A cell's verdict, its numbers and what changed with it."""
    parts = [cell.verdict if cell.verdict not in ("pass", "not certified") else "", cell.why]
    said = [": ".join(part for part in parts if part)]
    if cell.accepted is not None and cell.found is not None:
        said.append(f"{cell.accepted:.2f} accepted, {cell.found:.2f} now ({cell.found - cell.accepted:+.2f})")
    if cell.judged is not None:
        said.append(_evidence(cell.judged, cell.margin, cell.verdict))
    said += cell.notes
    if cell.changed:
        said.append(f"changed with it: {in_words(cell.changed)}")
    elif "nothing" in cell.causes:
        said.append("nothing recorded changed with it: look for what is not recorded, or for chance in the run")
    return "; ".join(said)


def macro_sentence(macro: MacroDrift) -> str:
    """An arm's verdict over its tasks, and its numbers."""
    over = f"{len(macro.tasks)} of {len(macro.planned)} tasks" if macro.tasks != macro.planned else "all tasks"
    said = [": ".join(part for part in (macro.verdict if macro.verdict != "pass" else "", macro.why) if part)]
    said.append(f"{macro.accepted:.2f} accepted, {macro.found:.2f} now ({macro.moved:+.2f}) over {over}")
    if macro.judged is not None:
        said.append(_evidence(macro.judged, macro.margin, macro.verdict))
    return "; ".join(said)


def in_words(changed: Iterable[Change]) -> str:
    """Changes by kind; at most four of one kind are named."""
    said = []
    for kind, found in by_kind(changed).items():
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        said.append(f"{kind} ({', '.join(change.words.removeprefix(kind + ' ') for change in found[:4])}{more})")
    return ", ".join(said)


def where(found: Drift) -> str:
    """The kinds of change over all cells, each with its arms unless it concerns every arm."""
    said = []
    every = {cell.arm for cell in found.cells}
    for kind in by_kind(found.changed):
        arms = {cell.arm: None for cell in found.cells if kind in cell.causes}
        of = "" if set(arms) == every else f" of {', '.join(arms)}"
        once = dict.fromkeys(change.words for change in found.changed if change.kind == kind)
        said.append(f"{kind}{of} ({'; '.join(once).removeprefix(kind + ' ')})" if len(once) == 1 else f"{kind}{of}")
    return ", ".join(said)


def environments(found: Drift) -> str:
    """Whether the runs were made under the accepted conditions, with both values where they differ."""
    unlike = [change for change in found.changed if change.kind in BITS]
    if unlike:
        return f"The environments differ, so that bits need not repeat: {in_words(unlike)}."
    compared = any(cell.seeds for cell in found.cells)
    return "The environments are the same." if compared else "No environment was compared."


def _evidence(judged: Judged, margin: float, verdict: str) -> str:
    spread = f"sd {judged.sd:.2f}, " if judged.sd > 0 else "no spread, "
    said = f"n = {judged.n}, {spread}one-sided p = {judged.p:.3g}, Holm {judged.adjusted:.3g}, margin {margin:g}"
    if verdict not in ("undecided", "not certified"):
        return said
    if judged.needed:
        return f"{said}; {judged.needed} seeds would decide it at this spread"
    return said + ("; no number of seeds would decide it" if judged.sd > 0 else "; more seeds are needed for a spread")
