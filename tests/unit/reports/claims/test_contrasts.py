"""Questions that a suite registered: one Holm family, one decision for every place of the page that shows the pair."""

from __future__ import annotations

import csv
import re
from html import unescape
from pathlib import Path

import pytest

from benchmarks.suites.suite import load_suite
from reports.findings.findings import Findings, findings
from reports.page.headline import headline
from reports.page.page import render
from results.format.reader import read
from tests.command import refused
from tests.report.make_results import KINDS, make_results

STUDY = Path(__file__).parents[4] / "docs" / "study.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("contrasts")
    make_results(root, **KINDS["contrasts"])
    render(root)
    return root


@pytest.fixture(scope="module")
def found(folder: Path) -> Findings:
    return findings(read(folder))


@pytest.fixture(scope="module")
def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "report" / "contrasts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_questions_and_tasks_are_one_holm_family(lines: list[dict[str, str]]) -> None:
    assert len(lines) == 3 * 4  # questions, times three tasks and the macro score
    ranked = sorted(lines, key=lambda line: float(line["p"]))
    least = 0.0
    for rank, line in enumerate(ranked):  # Holm by hand
        least = max(least, min(1.0, float(line["p"]) * (12 - rank)))
        assert float(line["p_holm"]) == pytest.approx(least, rel=1e-4)
        decided = "yes" if float(line["difference"]) > 0 else "no, the opposite"
        assert line["answer"] == (decided if least <= 0.05 else "undecided")


def test_claims_of_the_paper_take_their_decision_from_the_family(found: Findings) -> None:
    registered = {d.difference.key: d for asked in found.contrasts for d in asked.decisions}
    parts = [p for v in found.verdicts for p in v.parts if p.decision and p.decision.difference.key in registered]
    assert len(parts) == 4  # Theseus above KD: on the macro score and on three tasks
    for part in parts:
        assert part.decision == registered[part.decision.difference.key]
        assert (part.p, part.family) == (part.decision.p, 12)
    for key, decision in registered.items():
        assert found.decisions[key] == decision


def test_the_answer_names_every_question_in_the_words_of_the_table(found: Findings, folder: Path) -> None:
    said = headline(found)
    for asked in found.contrasts:
        (sentence,) = [s for s in said if s.startswith(asked.contrast.question)]
        (macro,) = [d for d in asked.decisions if d.difference.task == "macro"]
        assert {"above": " Yes:", "below": " No, the opposite:", "open": " Undecided:"}[macro.word] in sentence
        assert f"p {'< 0.001' if macro.p < 0.001 else f'{macro.p:.3f}'}, Holm over 12" in sentence
    page = unescape(re.sub(r"<[^>]+>", " ", (folder / "report" / "report.html").read_text(encoding="utf-8")))
    assert page.count("Is it the start?") == 2  # the answer and the table


@pytest.mark.parametrize("first", [{"contrasts": []}, {"after_runs": 12}])
def test_questions_that_came_after_results_decide_nothing(tmp_path: Path, first: dict[str, object]) -> None:
    kind = KINDS["contrasts"]
    entry = kind["suite"]["registered"][0]
    later = [entry | first, entry | {"after_runs": 40}]
    make_results(tmp_path, **(kind | {"suite": kind["suite"] | {"registered": later}}))
    found = findings(read(tmp_path))
    assert {d.word for asked in found.contrasts for d in asked.decisions} == {"open"}
    assert not [s for s in headline(found) if s.startswith("Is ")]
    (gap,) = [v.parts[0] for v in found.verdicts if v.claim["id"] == "theseus-above-kd-macro"]
    assert gap.family < 12  # the claims keep the family that they would have without the questions
    assert "so that nothing is decided here" in render(tmp_path).read_text(encoding="utf-8")


def test_a_pair_has_one_decision_in_either_order(tmp_path: Path, found: Findings) -> None:
    kind = KINDS["contrasts"]
    asked = kind["suite"]["contrasts"]
    turned = [{"question": c["question"], "first": c["second"], "second": c["first"]} for c in asked]
    entry = kind["suite"]["registered"][0] | {"contrasts": turned}
    make_results(tmp_path, **(kind | {"suite": kind["suite"] | {"contrasts": turned, "registered": [entry]}}))
    other = findings(read(tmp_path))
    (claim,) = [v.parts[0] for v in other.verdicts if v.claim["id"] == "theseus-above-kd-macro"]
    (before,) = [v.parts[0] for v in found.verdicts if v.claim["id"] == "theseus-above-kd-macro"]
    assert (claim.word, claim.family, claim.p) == (before.word, 12, pytest.approx(before.p))
    assert [d.word for d in other.contrasts[0].decisions] == [
        {"above": "below", "below": "above", "open": "open"}[d.word] for d in found.contrasts[0].decisions
    ]


def test_a_suite_without_questions_has_no_such_section(tmp_path: Path) -> None:
    make_results(tmp_path, **KINDS["single"])
    page = render(tmp_path).read_text(encoding="utf-8")
    assert 'id="questions"' not in page
    assert not (tmp_path / "report" / "contrasts.csv").exists()


@pytest.mark.parametrize(
    ("contrasts", "message"),
    [
        ('[{question="?", first="theseus", second="nobody"}]', "contrasts: no arm 'nobody'"),
        ('[{question="?", first="theseus", second="theseus"}]', "contrasts: each needs two different arms"),
        (
            '[{question="?", first="theseus", second="kd"}, {question="!", first="kd", second="theseus"}]',
            "contrasts: each needs two different arms, and each pair of arms one question",
        ),
        ('[{question="", first="theseus", second="kd"}]', "contrasts.0.question"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(contrasts: str, message: str) -> None:
    refused("demo", message, f"contrasts={contrasts}")


def test_the_study_page_lists_the_questions_of_its_suite() -> None:
    rows = re.findall(r"^\| (.+\?).* \| `([\w-]+)` \| `([\w-]+)` \|$", STUDY.read_text(encoding="utf-8"), re.MULTILINE)
    asked = load_suite("minilm-attribution").contrasts
    assert rows == [(c.question, c.first, c.second) for c in asked]
    assert len(asked) == 7
