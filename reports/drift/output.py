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

import math
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from reports.drift.baseline import NoBaseline, load_baseline
from reports.drift.compare import WORST_FIRST, CellDrift, Drift, compare
from reports.drift.judging import Judged
from reports.drift.macros import MacroDrift
from reports.drift.sentences import conclusion, environments, in_words, macro_sentence, sentence, where
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
    if equal := sum(map(_equal, found.cells)):
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
        said.append(f"changed since it was accepted: {where(found)}")
    return [text(line, 2000) for line in [*said, conclusion(found)]]


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
    rows = [_row(macro) for macro in _worst_macros(found)]
    rows += [_row(cell) for cell in _worst_first(found) if not _quiet(cell)]
    rows += [(name, "new", "", "", "", "", "no accepted run", "") for name in found.new]
    equal = sum(map(_equal, found.cells))
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


def _row(found: CellDrift | MacroDrift) -> tuple[str, ...]:
    scores = decimals(found.accepted, 2), decimals(found.found, 2)
    moved = "" if found.moved is None else f"{found.moved:+.2f}"
    changed = in_words(found.changed) or ", ".join(found.causes) if isinstance(found, CellDrift) else ""
    return found.name, found.verdict, *scores, moved, f"{found.margin:g}", found.why, changed


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


def _worst_macros(found: Drift) -> list[MacroDrift]:
    """The arms whose scores differ or cannot be compared."""
    open_ = [macro for macro in found.macros if macro.judged is not None or macro.verdict != "pass"]
    return sorted(open_, key=lambda macro: WORST_FIRST.index(macro.verdict))


def _equal(cell: CellDrift) -> bool:
    """Whether all accepted runs of the cell are there again, bit for bit."""
    return cell.verdict == "pass" and cell.bits


def _quiet(cell: CellDrift) -> bool:
    """Whether the count of equal cells says all there is to say of the cell."""
    return _equal(cell) and not cell.notes


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
        "p_rise_holm": judged.risen, "low": judged.low if math.isfinite(judged.low) else None,
        "seeds_needed": judged.needed,
    }  # fmt: skip


def _ratio(values: tuple[float, float, float]) -> str:
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def _md(value: object) -> str:
    """Text that Markdown, HTML and GitHub do not change."""
    return MARKUP.sub(lambda match: f"&#{ord(match.group())};", text(value, 1000))


def _xml(value: object) -> str:
    return NOT_XML.sub("", text(value, 2000))
