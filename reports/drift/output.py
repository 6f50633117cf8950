"""A drift comparison for people and machines: lines, JSON, Markdown for a pull request, JUnit XML.

    from results.format.reader import read
    found = check(read(folder), baseline_file)
    print("\n".join(lines(found)))
    document(found)                  # docs/drift.md has the keys
    markdown(found)                  # one table, with the cells that moved first
    junit(found)                     # one testcase per cell: bytes
    publish(found, junit_file)       # write JUnit XML, and in a GitHub job its summary

Every name in a results folder or a baseline was written by somebody else. In Markdown, entities replace everything that
Markdown, HTML or GitHub would read as markup; XML loses the characters that XML 1.0 cannot hold.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reports.drift.attribution import BITS, Change, by_kind
from reports.drift.baseline import NoBaseline, load_baseline
from reports.drift.compare import WORST_FIRST, CellDrift, Drift, compare
from reports.drift.judging import Judged
from reports.drift.macros import MacroDrift
from reports.drift.snapshot import snapshot
from reports.statistics.significance import ALPHA
from reports.words import decimals
from results.format.errors import ReportError
from results.format.records import Results
from results.format.untrusted import text

MARKUP = re.compile(r"[&<>|`*_~\[\]\\!@#:${}]")
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check(results: Results, baseline: Path, exact: bool = False) -> Drift:
    """Compare results with a baseline file; raises `ReportError` where the file is damaged."""
    try:
        accepted = load_baseline(baseline)
    except NoBaseline as error:
        return Drift(results.suite.name, "not comparable", (), (), (), (), 0, exact, (str(error),))
    found = compare(accepted, snapshot(results), exact)
    imported = sum(run.bundle is not None for run in results.runs)
    note = f"{imported} of {len(results.runs)} runs were imported and not run here"
    return replace(found, notes=(*found.notes, note)) if imported else found


def publish(found: Drift, junit_file: Path | None = None) -> None:
    """Write the JUnit file, and append the summary to `$GITHUB_STEP_SUMMARY`; raises `ReportError` where it cannot."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        if junit_file is not None:
            junit_file.write_bytes(junit(found))
        if summary:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown(found) + "\n")
    except OSError as error:
        where = text(error.filename, 200)
        raise ReportError(f"cannot write {where} ({error.strerror}); choose another file") from None


def lines(found: Drift) -> list[str]:
    """The lines for a terminal: cells that moved one by one, the rest counted, the conclusion last."""
    said = [f"note: {note}" for note in found.notes]
    shown = [cell for cell in _worst_first(found) if not _quiet(cell)]
    said += [f"{cell.name}: {sentence(cell)}" for cell in shown]
    if equal := sum(_quiet(cell) for cell in found.cells):
        said.append(f"{equal} of {len(found.cells)} cells bit-equal")
    said += [f"{cell}: new, without an accepted run" for cell in found.new]
    for speed in found.speed:
        mark, now = "drift: " if speed.drift else "", f", {_ratio(speed.found)} now" if speed.found else ""
        said.append(f"speed-up at {speed.condition}: {mark}{speed.words} ({_ratio(speed.accepted)} accepted{now})")
    for ratio in found.throughput:
        if ratio.warn:
            own = f"{ratio.found:.2f} of fine-tuning's throughput, accepted {ratio.accepted:.2f}"
            said.append(f"warning: {ratio.cell} trains at {own}")
    said += [
        f"{macro.name}: {macro_sentence(macro)}" for macro in found.macros if macro.judged or macro.verdict != "pass"
    ]
    if found.changed:
        said.append(f"changed since it was accepted: {_where(found)}")
    return [text(line, 2000) for line in [*said, conclusion(found)]]


def conclusion(found: Drift) -> str:
    """One sentence."""
    words = {
        "pass": "pass: no arm and no cell fell",
        "drift": "drift: mend it, or accept a new baseline and say why in LOG.md",
        "undecided": f"undecided: {_open(found)}",
        "not comparable": "no comparable baseline: accept one under these conditions",
    }[found.verdict]
    uncertain = sum(cell.verdict == "not certified" for cell in found.cells)
    listed = [f"{count} {word}" for word, count in found.counts.items() if count] or ["no cell compared"]
    listed += [f"{uncertain} not certified by themselves"] if uncertain else []
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


def _where(found: Drift) -> str:
    """The kinds of change over all cells, each with its arms unless it concerns every arm."""
    said = []
    every = {cell.arm for cell in found.cells}
    for kind in by_kind(found.changed):
        arms = {cell.arm: None for cell in found.cells if kind in cell.causes}
        of = "" if set(arms) == every else f" of {', '.join(arms)}"
        once = dict.fromkeys(change.words for change in found.changed if change.kind == kind)
        said.append(f"{kind}{of} ({'; '.join(once).removeprefix(kind + ' ')})" if len(once) == 1 else f"{kind}{of}")
    return ", ".join(said)


def document(found: Drift) -> dict[str, Any]:
    """The `--json` document."""
    return {
        "schema": 1, "suite": found.suite, "outcome": found.verdict, "exit_code": found.exit_code,
        "conclusion": conclusion(found), "alpha": ALPHA, "family": found.family, "exact": found.exact,
        "counts": found.counts, "macros": [_macro(macro) for macro in found.macros],
        "notes": list(found.notes), "changed": [asdict(change) for change in found.changed],
        "cells": [_cell(cell) for cell in _worst_first(found)], "new": list(found.new),
        "speed": [asdict(speed) for speed in found.speed],
        "throughput": [asdict(throughput) for throughput in found.throughput],
    }  # fmt: skip


def markdown(found: Drift) -> str:
    """A summary for a pull request: counts, conclusion, environments, one table with what moved first."""
    rows = [_macro_row(macro) for macro in found.macros if _is_open(macro)]
    rows += [_row(cell) for cell in _worst_first(found) if not _quiet(cell)]
    rows += [(name, "new", "", "", "", "", "no accepted run", "") for name in found.new]
    equal = sum(_quiet(cell) for cell in found.cells)
    words = ("improved", "regressed", "unchanged", "new", "missing")
    counts = ", ".join(f"{found.counts[word]} {word}" for word in words)
    unlike = f", {found.counts['not comparable']} not comparable" if found.counts["not comparable"] else ""
    said = [f"### Drift: {counts}{unlike}", "", _md(conclusion(found)), "", _md(environments(found)), ""]
    said += [f"- {_md(note)}" for note in found.notes]
    if rows:
        said.append("| cell | verdict | accepted | now | difference | margin | why | changed with it |")
        said.append("| --- | --- | ---: | ---: | ---: | ---: | --- | --- |")
        said += ["| " + " | ".join(_md(value) for value in row) + " |" for row in rows]
        said.append("")
    if equal:
        said.append(f"{equal} of {len(found.cells)} cells are bit-equal to the accepted runs.")
    for s in found.speed:
        now = f"{_md(_ratio(s.found))} now" if s.found else f"**{_md(s.words)}**" if s.missing else _md(s.words)
        slower = ", **slower**" if s.drift else ""
        said.append(f"- speed-up at {_md(s.condition)}: {_md(_ratio(s.accepted))} accepted, {now}{slower}")
    for t in found.throughput:
        if t.warn:
            said.append(f"- throughput of {_md(t.cell)} fell from {t.accepted:.2f} to {t.found:.2f} of fine-tuning's")
    return "\n".join(said) + "\n"


def environments(found: Drift) -> str:
    """Whether the runs were made under the accepted conditions, with both values where they differ."""
    unlike = [change for change in found.changed if change.kind in BITS]
    if unlike:
        return f"The environments differ, so that bits need not repeat: {in_words(unlike)}."
    compared = any(cell.seeds for cell in found.cells)
    return "The environments are the same." if compared else "No environment was compared."


def _macro_row(macro: MacroDrift) -> tuple[str, ...]:
    scores = f"{macro.accepted:.2f}", f"{macro.found:.2f}", f"{macro.moved:+.2f}"
    return macro.name, macro.verdict, *scores, f"{macro.margin:g}", macro.why, ""


def _row(cell: CellDrift) -> tuple[str, ...]:
    scores = decimals(cell.accepted, 2), decimals(cell.found, 2)
    moved = "" if cell.moved is None else f"{cell.moved:+.2f}"
    changed = in_words(cell.changed) or ", ".join(cell.causes)
    return cell.name, cell.verdict, *scores, moved, f"{cell.margin:g}", cell.why, changed


def junit(found: Drift) -> bytes:
    """JUnit XML: drift is a failure, and undecided and not comparable are errors, so that none of them looks passed.

    A cell that is not certified by itself is marked as skipped.
    """
    suite = ET.Element("testsuite", name=_xml(f"drift {found.suite}"))
    room = f"drift.{found.suite}"
    for macro in found.macros:
        _case(suite, f"{room}.macro", macro.name, macro.verdict, macro.why, macro_sentence(macro))
    for cell in found.cells:
        _case(suite, room, cell.name, cell.verdict, cell.why, sentence(cell))
    for speed in found.speed:
        verdict = "not certified" if speed.found is None and not speed.missing else speed.verdict
        _case(suite, f"{room}.speed", speed.condition, verdict, speed.words, speed.words)
    if found.verdict != "pass" and not found.cells:
        why = "; ".join(found.notes)
        _case(suite, room, "baseline", found.verdict, why, why)
    suite.set("tests", str(len(suite)))
    for count, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
        suite.set(count, str(len(suite.findall(f"*/{tag}"))))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(suite: ET.Element, room: str, name: str, verdict: str, why: str, sentences: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=_xml(room), name=_xml(name))
    if verdict != "pass":
        tag = {"drift": "failure", "not certified": "skipped"}.get(verdict, "error")
        inner = ET.SubElement(case, tag, type=_xml(verdict), message=_xml(why))
        inner.text = _xml(sentences)


def _worst_first(found: Drift) -> list[CellDrift]:
    return sorted(found.cells, key=lambda cell: (WORST_FIRST.index(cell.verdict), cell.bits))


def _is_open(macro: MacroDrift) -> bool:
    """Whether the arm's scores differ or cannot be compared."""
    return macro.judged is not None or macro.verdict != "pass"


def _quiet(cell: CellDrift) -> bool:
    """Whether the cell is bit-equal and has no notes."""
    return cell.verdict == "pass" and cell.bits and not cell.notes


def _evidence(judged: Judged, margin: float, verdict: str) -> str:
    spread = f"sd {judged.sd:.2f}, " if judged.sd > 0 else "no spread, "
    said = f"n = {judged.n}, {spread}one-sided p = {judged.p:.3g}, Holm {judged.adjusted:.3g}, margin {margin:g}"
    if verdict not in ("undecided", "not certified"):
        return said
    if judged.needed:
        return f"{said}; {judged.needed} seeds would decide it at this spread"
    return said + ("; no number of seeds would decide it" if judged.sd > 0 else "; more seeds are needed for a spread")


def _cell(cell: CellDrift) -> dict[str, Any]:
    return {
        "task": cell.task, "arm": cell.arm, "outcome": cell.verdict, "why": cell.why, "became": cell.became,
        "seeds": list(cell.seeds),
        "accepted": cell.accepted, "found": cell.found, "difference": cell.moved, "margin": cell.margin,
        "bit_equal": cell.bits, "bits_expected": cell.bits_expected, "causes": list(cell.causes),
        "changed": [asdict(change) for change in cell.changed], "notes": list(cell.notes),
        "statistics": _statistics(cell.judged),
    }  # fmt: skip


def _macro(macro: MacroDrift) -> dict[str, Any]:
    return {
        "arm": macro.arm, "outcome": macro.verdict, "why": macro.why, "tasks": list(macro.tasks),
        "planned": list(macro.planned), "seeds": list(macro.seeds), "accepted": macro.accepted, "found": macro.found,
        "difference": macro.moved, "margin": macro.margin, "statistics": _statistics(macro.judged),
    }  # fmt: skip


def _statistics(judged: Judged | None) -> dict[str, Any] | None:
    if judged is None:
        return None
    return {
        "n": judged.n, "mean": judged.mean, "sd": judged.sd, "p": judged.p, "p_holm": judged.adjusted,
        "p_rise_holm": judged.risen, "low": judged.low if judged.sd > 0 else None, "seeds_needed": judged.needed,
    }  # fmt: skip


def _ratio(values: tuple[float, float, float]) -> str:
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def _md(value: object) -> str:
    """Text that Markdown, HTML and GitHub do not change."""
    return MARKUP.sub(lambda match: f"&#{ord(match.group())};", text(value, 1000))


def _xml(value: object) -> str:
    return NOT_XML.sub("", text(value, 2000))
