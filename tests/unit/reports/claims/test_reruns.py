"""Cells that others measured stand beside an arm only where task, method and start are the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.findings.findings import findings
from reports.page.page import render
from results.format.reader import read
from tests.report.make_results import KINDS, make_results

START = {"theseus": {"init": {"source": "predecessor"}}, "kd": {"start": {"source": "pretrained"}}}


def with_starts(root: Path, **suite: object) -> Path:
    """Results whose settings say where `theseus` and `kd` start; those of the other arms do not say it."""
    kind = KINDS["contrasts"]
    make_results(root, **(kind | {"suite": kind["suite"] | suite}))
    for path in root.glob("*/*/*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config["arm"] in START:
            path.write_text(json.dumps(config | {"options": START[config["arm"]]}), encoding="utf-8")
    return root


def test_the_same_task_method_and_start_are_shown_side_by_side(tmp_path: Path) -> None:
    root = with_starts(tmp_path)
    found = findings(read(root))
    shown = {(r.arm.name, r.task.title, r.row.value, r.row.source.split()[0]) for r in found.reruns}
    assert shown == {
        ("theseus", "RTE", "67.9", "aitsc/GLMKD"),
        ("kd", "MRPC", "87.2", "MetaDistil"),
        ("kd", "RTE", "68.6", "MetaDistil"),
    }  # not CR-ILD's PKD, which no arm is, nor the KD from random layers
    for rerun in found.reruns:
        assert rerun.cell.summary.mean == pytest.approx(found.cells.at(rerun.task.name, rerun.arm.name).summary.mean)
    page = render(root).read_text(encoding="utf-8")
    section = page.partition('id="reruns"')[2].partition("</table>")[0]
    assert section.count("<tr>") == 1 + 3
    assert "test nothing" in section


def test_a_made_up_language_has_none(tmp_path: Path) -> None:
    assert findings(read(with_starts(tmp_path, synthetic=True))).reruns == ()
