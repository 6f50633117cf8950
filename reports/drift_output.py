"""A drift comparison for people and machines: lines, JSON, Markdown for a pull request, JUnit XML.

    print("\\n".join(lines(found)))
    document(found)          # docs/drift.md has the keys
    markdown(found)          # one table, what changed first
    junit(found)             # one testcase per cell: bytes
    found = check(results_folder, baseline_file)     # what the command calls, and then:
    publish(found, junit_file)                       # JUnit XML, and the summary of a GitHub job where there is one

Every name in a results folder or a baseline was written by somebody else. Markdown gets entities for
everything that it, HTML or GitHub would read as markup; XML loses what XML 1.0 cannot hold.
"""

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from reports.attribution import Change, by_kind
from reports.baseline import NoBaseline, load_baseline, snapshot
from reports.drift import CellDrift, Drift, Judged, compare
from reports.errors import ReportError
from reports.reader import read
from reports.significance import ALPHA
from reports.untrusted import text

MARKUP = re.compile(r"[&<>|`*_~\[\]\\!@#:${}]")
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ORDER = ("drift", "not comparable", "undecided", "pass")


def check(folder: Path, baseline: Path, exact: bool = False) -> Drift:
    """Compare a results folder with a baseline file; raises `ReportError` for what cannot be read."""
    results = read(folder)
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
    """What a terminal shows: cells that moved one by one, the rest counted, the conclusion last."""
    said = [f"note: {note}" for note in found.notes]
    shown = [cell for cell in _worst_first(found) if not _quiet(cell)]
    said += [f"{cell.name}: {sentence(cell)}" for cell in shown]
    if equal := sum(_quiet(cell) for cell in found.cells):
        said.append(f"{equal} of {len(found.cells)} cells bit-equal")
    said += [f"{cell}: new, without an accepted run" for cell in found.new]
    for speed in found.speed:
        mark = "drift: " if speed.drift else ""
        said.append(f"speed-up at {speed.condition}: {mark}{speed.words} ({_ratio(speed.accepted)} accepted"
                    f"{f', {_ratio(speed.found)} now' if speed.found else ''})")  # fmt: skip
    for ratio in found.throughput:
        if ratio.warn:
            said.append(f"warning: {ratio.cell} trains at {ratio.found:.2f} of fine-tuning's throughput, "
                        f"accepted {ratio.accepted:.2f}")  # fmt: skip
    if found.changed:
        said.append(f"changed since it was accepted: {_where(found)}")
    return [text(line, 2000) for line in [*said, conclusion(found)]]


def conclusion(found: Drift) -> str:
    """One sentence."""
    words = {
        "pass": "pass: no cell fell",
        "drift": "drift: mend it, or accept a new baseline and say why in LOG.md",
        "undecided": "undecided: a fall of the margin cannot be ruled out",
        "not comparable": "no comparable baseline: accept one under these conditions",
    }[found.verdict]
    counts = {verdict: sum(cell.verdict == verdict for cell in found.cells) for verdict in ORDER}
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    family = f", Holm over {found.family} cells whose scores differ" if found.family else ""
    return f"{found.suite}: {words} ({listed or 'no cell compared'}{family})"


def sentence(cell: CellDrift) -> str:
    """Verdict, numbers and what changed, of one cell."""
    parts = [cell.verdict if cell.verdict != "pass" else "", cell.why]
    said = [": ".join(part for part in parts if part)]
    if cell.accepted is not None and cell.found is not None:
        said.append(f"{cell.accepted:.2f} accepted, {cell.found:.2f} now ({cell.found - cell.accepted:+.2f})")
    if cell.judged is not None:
        said.append(_evidence(cell.judged, cell.margin))
    said += cell.notes
    if cell.changed:
        said.append(f"changed with it: {in_words(cell.changed)}")
    elif "nothing" in cell.causes:
        said.append("nothing recorded changed with it: look for what is not recorded, or for chance in the run")
    return "; ".join(said)


def in_words(changed: Iterable[Change]) -> str:
    """Changes by kind, at most four of one kind spelt out."""
    said = []
    for kind, found in by_kind(changed).items():
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        said.append(f"{kind} ({', '.join(change.words.removeprefix(kind + ' ') for change in found[:4])}{more})")
    return ", ".join(said)


def _where(found: Drift) -> str:
    """Kinds of change over all cells, with the arms they are of unless that is every arm."""
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
        "notes": list(found.notes), "changed": [_change(change) for change in found.changed],
        "cells": [_cell(cell) for cell in _worst_first(found)], "new": list(found.new),
        "speed": [
            {"condition": s.condition, "accepted": list(s.accepted), "found": list(s.found) if s.found else None,
             "drift": s.drift, "words": s.words} for s in found.speed
        ],
        "throughput": [
            {"cell": t.cell, "accepted": t.accepted, "found": t.found, "warn": t.warn} for t in found.throughput
        ],
    }  # fmt: skip


def markdown(found: Drift) -> str:
    """A summary for a pull request: the conclusion and one table, cells that moved first, bit-equal ones counted."""
    rows: list[tuple[str, ...]] = [
        (cell.name, cell.verdict, _points(cell.accepted), _points(cell.found), _signed(cell.moved),
         f"{cell.margin:g}", cell.why, in_words(cell.changed) or ", ".join(cell.causes))
        for cell in _worst_first(found) if not _quiet(cell)
    ]  # fmt: skip
    rows += [(name, "new", "", "", "", "", "no accepted run", "") for name in found.new]
    equal = sum(_quiet(cell) for cell in found.cells)
    said = [f"### Drift: {_md(conclusion(found))}", ""]
    said += [f"- {_md(note)}" for note in found.notes]
    if rows:
        said += ["| cell | verdict | accepted | now | difference | margin | why | changed with it |",
                 "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |"]  # fmt: skip
        said += ["| " + " | ".join(_md(value) for value in row) + " |" for row in rows]
        said.append("")
    if equal:
        said.append(f"{equal} of {len(found.cells)} cells are bit-equal to the accepted runs.")
    slower = [s for s in found.speed if s.found]
    said += [f"- speed-up at {_md(s.condition)}: {_md(_ratio(s.accepted))} accepted, {_md(_ratio(s.found))} now"
             f"{', **slower**' if s.drift else ''}" for s in slower if s.found]  # fmt: skip
    said += [f"- throughput of {_md(t.cell)} fell from {t.accepted:.2f} to {t.found:.2f} of fine-tuning's"
             for t in found.throughput if t.warn]  # fmt: skip
    return "\n".join(said) + "\n"


def junit(found: Drift) -> bytes:
    """JUnit XML: drift is a failure, undecided and not comparable are errors, so that none of them looks passed."""
    cases = []
    for cell in found.cells:
        case = ET.Element("testcase", classname=_xml(f"drift.{found.suite}"), name=_xml(cell.name))
        if cell.verdict != "pass":
            tag = "failure" if cell.verdict == "drift" else "error"
            inner = ET.SubElement(case, tag, type=_xml(cell.verdict), message=_xml(cell.why))
            inner.text = _xml(sentence(cell))
        cases.append(case)
    for speed in found.speed:
        case = ET.Element("testcase", classname=_xml(f"drift.{found.suite}.speed"), name=_xml(speed.condition))
        if speed.drift:
            ET.SubElement(case, "failure", type="drift", message=_xml(speed.words))
        elif speed.found is None:
            ET.SubElement(case, "skipped", message=_xml(speed.words))
        cases.append(case)
    if found.verdict != "pass" and not found.cells:
        case = ET.Element("testcase", classname=_xml(f"drift.{found.suite}"), name="baseline")
        ET.SubElement(case, "error", type=_xml(found.verdict), message=_xml("; ".join(found.notes)))
        cases.append(case)
    counts = {tag: str(sum(case.find(tag) is not None for case in cases)) for tag in ("failure", "error", "skipped")}
    suite = ET.Element("testsuite", name=_xml(f"drift {found.suite}"), tests=str(len(cases)),
                       failures=counts["failure"], errors=counts["error"], skipped=counts["skipped"])  # fmt: skip
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _worst_first(found: Drift) -> list[CellDrift]:
    return sorted(found.cells, key=lambda cell: (ORDER.index(cell.verdict), cell.bits))


def _quiet(cell: CellDrift) -> bool:
    """Bit-equal, and nothing else to say of it."""
    return cell.verdict == "pass" and cell.bits and not cell.notes


def _evidence(judged: Judged, margin: float) -> str:
    spread = f"sd {judged.sd:.2f}, " if judged.sd > 0 else "no spread, "
    said = f"n = {judged.n}, {spread}one-sided p = {judged.p:.3g}, Holm {judged.adjusted:.3g}, margin {margin:g}"
    if judged.verdict != "undecided":
        return said
    if judged.needed:
        return f"{said}; {judged.needed} seeds would decide it at this spread"
    return said + ("; no number of seeds would decide it" if judged.sd > 0 else "; more seeds are needed for a spread")


def _cell(cell: CellDrift) -> dict[str, Any]:
    judged = cell.judged
    statistics = None if judged is None else {
        "n": judged.n, "mean": judged.mean, "sd": judged.sd, "p": judged.p, "p_holm": judged.adjusted,
        "p_rise_holm": judged.risen, "low": judged.low if judged.sd > 0 else None, "seeds_needed": judged.needed,
    }  # fmt: skip
    return {
        "task": cell.task, "arm": cell.arm, "outcome": cell.verdict, "why": cell.why, "seeds": list(cell.seeds),
        "accepted": cell.accepted, "found": cell.found, "difference": cell.moved, "margin": cell.margin,
        "bit_equal": cell.bits, "bits_expected": cell.bits_expected, "causes": list(cell.causes),
        "changed": [_change(change) for change in cell.changed], "notes": list(cell.notes), "statistics": statistics,
    }  # fmt: skip


def _change(change: Change) -> dict[str, str]:
    return {"kind": change.kind, "fact": change.fact, "before": change.before, "after": change.after}


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"


def _ratio(values: tuple[float, float, float]) -> str:
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def _md(value: object) -> str:
    """Text that Markdown, HTML and GitHub leave as it is."""
    return MARKUP.sub(lambda match: f"&#{ord(match.group())};", text(value, 1000))


def _xml(value: object) -> str:
    return NOT_XML.sub("", text(value, 2000))
