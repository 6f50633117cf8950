"""reproducibility.md: a form's questions answered from the files, and no text of a suite read as markup."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.findings.findings import findings
from reports.page.headline import headline
from reports.page.reproducibility import summary
from results.format.reader import read
from tests.report.make_results import KINDS, make_results


def written(root: Path, kind: str, **suite: object) -> tuple[str, list[str]]:
    options = KINDS[kind]
    make_results(root, **(options | {"suite": options.get("suite", {}) | suite}))
    found = findings(read(root))
    return summary(found), headline(found)


@pytest.mark.parametrize("kind", ["full", "partial", "search", "synthetic", "single", "contrasts"])
def test_every_question_of_the_forms_has_an_answer(tmp_path: Path, kind: str) -> None:
    page, answer = written(tmp_path, kind)
    headings = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["Scope", "Methods", "Results", "What was easy", "What was difficult", "Compute", "Checklist"]
    rows = [line.split(" | ") for line in page.partition("## Checklist")[2].strip().splitlines()[2:]]
    assert len(rows) == 16
    assert all(len(row) == 2 and len(row[1].strip(" |")) > 3 for row in rows)
    plain = page.replace("\\", "")
    assert all(sentence in plain for sentence in answer)


def test_search_bounds_and_trials_are_those_of_the_suite(tmp_path: Path) -> None:
    page, _ = written(tmp_path, "search")
    assert "Vanilla KD: training.learning\\_rate in 1e-05, 2e-05; options.alpha in 0.2, 0.5" in page
    assert "| Number of search trials | Fine-tuning 2, Vanilla KD 4, BERT-of-Theseus 6 |" in page


def test_what_failed_and_what_is_open_is_said(tmp_path: Path) -> None:
    page, _ = written(tmp_path, "partial")
    difficult = page.partition("## What was difficult")[2].partition("## ")[0]
    assert "diverged" in difficult
    assert "not run yet" in difficult
    results = read(tmp_path)
    done = sum(run.status == "done" for run in results.runs)
    assert f"- {done} runs of {len(results.runs)} ended with a score." in page


def test_text_of_a_suite_is_not_markup(tmp_path: Path) -> None:
    page, _ = written(tmp_path, "single", title="[a](javascript:b) <b>*x*</b> | `c`")
    assert "# Reproducibility summary: \\[a\\](javascript:b) \\<b\\>\\*x\\*\\</b\\> \\| \\`c\\`" in page
