"""What a leading arm shows across tasks and seeds: which sections there are, what they say, and the CSV beside them."""

import csv
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports.findings.findings import Findings, findings
from reports.page.drawing import Style
from reports.page.figures import ranks_figure, search_figure
from reports.page.page import render
from reports.statistics.across_tasks import pool
from reports.statistics.differences import Differences
from reports.statistics.intervals import Estimator
from results.format.reader import read
from tests.report.make_results import KINDS, make_results

FOUR = ("cola", "mrpc", "rte", "sst2")


@pytest.fixture(scope="module")
def ten(tmp_path_factory) -> Path:
    """Four tasks and ten seeds, rendered."""
    return render(make_results(tmp_path_factory.mktemp("ten"), tasks=FOUR, seeds=range(1, 11)))


@pytest.fixture(scope="module")
def found(ten) -> Findings:
    return findings(read(ten.parent.parent))


def rendered(folder: Path, **kind) -> str:
    return render(make_results(folder, **kind)).read_text(encoding="utf-8")


def section(html: str, name: str) -> str:
    """The text of a section, without its markup."""
    inside = html.partition(f'<section id="{name}"')[2].partition("</section>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", inside))


def numbers(page: Path) -> dict[tuple[str, ...], float]:
    rows = csv.DictReader((page.parent / "across_tasks.csv").read_text(encoding="utf-8").splitlines())
    keys = ("analysis", "arm", "against", "task", "quantity")
    return {tuple(row[key] for key in keys): float(row["value"]) for row in rows}


def test_the_estimate_over_tasks_is_made_of_the_differences_on_the_page(found):
    (group,) = found.across
    assert (group.leader, group.rivals) == ("theseus", ("finetune", "kd", "pkd"))
    compared = Differences(Estimator(found.cells))
    again = pool({task: compared.of(task, "theseus", "kd").estimate for task in FOUR})
    assert group.pooled["kd"] == again
    assert {task: s.measured for task, s in again.tasks.items()} == {
        d.task: pytest.approx(d.mean) for d in found.differences if d.arm == "kd" and d.task != "macro"
    }


def test_page_and_csv_show_the_same_numbers(ten, found):
    text, values = section(ten.read_text(encoding="utf-8"), "across-tasks"), numbers(ten)
    (group,) = found.across
    for rival in group.rivals:
        pooled = group.pooled[rival]
        assert f"{pooled.mean:+.1f}" in text
        assert f"{pooled.low:+.1f} to {pooled.high:+.1f}".replace("-", "−") in text
        assert values["pooled", "theseus", rival, "", "mean"] == pytest.approx(pooled.mean, rel=1e-5)
        assert values["order", "theseus", rival, "rte", "superior"] == group.orders[rival]["rte"].superior
    assert values["ranks", "theseus", "", "", "mean"] == group.ranks.mean["theseus"]
    assert values["ranks", "theseus", "", "", "friedman"] == pytest.approx(group.ranks.friedman, rel=1e-5)
    assert f"critical difference at 5 %: {group.ranks.critical:.2f} of at most 3" in text


def test_only_intervals_that_exclude_zero_are_bold(ten, found):
    html = ten.read_text(encoding="utf-8").partition('<section id="across-tasks"')[2].partition("</section>")[0]
    pooled = [p for p in found.across[0].pooled.values() if p]
    intervals = [(task.low, task.high) for p in pooled for task in p.tasks.values()] + [(p.low, p.high) for p in pooled]
    clear = sum(low > 0 or high < 0 for low, high in intervals)
    assert 0 < clear < len(intervals)
    assert html.partition("</table>")[0].count('class="clear"') == clear


def test_the_section_says_what_it_does_not_show(ten):
    text = section(ten.read_text(encoding="utf-8"), "across-tasks")
    assert "None of them decides a claim" in text
    assert "takes them for a sample of a larger set of tasks, which cannot be checked here" in text
    assert "Standard errors: over seeds only." in text
    assert "not by how much and not how surely" in text
    assert "another dev set is not in these numbers" in text


def test_few_seeds_give_a_sentence_and_no_order(tmp_path):
    text = section(rendered(tmp_path / "r", tasks=FOUR, seeds=(1, 2, 3)), "across-tasks")
    assert "can be tested here from 8 common seeds on, and there are at most 3" in text
    assert "larger" not in text.replace("larger set of tasks", "")
    left = {key[4] for key in numbers(tmp_path / "r" / "report" / "report.html") if key[0] == "order"}
    assert left == {"n", "least_seeds"}


def test_two_tasks_are_said_to_be_too_few(tmp_path):
    text = section(rendered(tmp_path, tasks=("rte", "cola"), seeds=(1, 2, 3)), "across-tasks")
    assert "needs 3 tasks on which a difference has a standard error" in text
    assert "Vanilla KD (2 tasks)" in text
    assert "Ranks over tasks need 3 tasks" in text


def test_one_task_has_no_such_section(tmp_path):
    html = rendered(tmp_path, tasks=("rte",), seeds=(1, 2, 3))
    assert "across-tasks" not in html
    assert not (tmp_path / "report" / "across_tasks.csv").exists()


def test_steps_swept_arms_and_other_depths_are_not_rivals(tmp_path):
    for kind in ("steps", "sweep", "depths"):
        groups = findings(read(make_results(tmp_path / kind, **KINDS[kind]))).across
        rivals = {group.leader: group.rivals for group in groups}
        assert (
            rivals
            == {
                "steps": {"theseus": ("kd-start",)},
                "sweep": {},
                "depths": {f"theseus-{depth}": (f"finetune-{depth}",) for depth in (6, 4, 3)},
            }[kind]
        )


def test_a_task_without_a_rivals_score_is_left_out_and_seen(tmp_path):
    outcomes = {("sst2", "kd", seed): "missing" for seed in (1, 2, 3)}
    whole = findings(read(make_results(tmp_path, tasks=FOUR, seeds=(1, 2, 3), outcomes=outcomes)))
    (group,) = whole.across
    assert set(group.pooled["kd"].tasks) == set(FOUR) - {"sst2"}
    assert set(group.pooled["pkd"].tasks) == set(FOUR)
    assert set(group.ranks.by_task) == set(FOUR) - {"sst2"}
    assert "–" in section(render(tmp_path).read_text(encoding="utf-8"), "across-tasks")


def test_the_search_shows_the_expected_best_of_k_trials(tmp_path):
    kind = dict(KINDS["search"]) | {"arms": (*KINDS["search"]["arms"], "pkd")}
    page = render(make_results(tmp_path, **kind))
    text = section(page.read_text(encoding="utf-8"), "search")
    assert "The best of k trials" in text
    assert "Vanilla KD: 1 trial of a task is left out" in text
    lines = list(csv.DictReader((page.parent / "search.csv").read_text(encoding="utf-8").splitlines()))
    assert [line["trials"] for line in lines if line["arm"] == "theseus"] == ["1", "2", "3", "4", "5"]
    best = {line["arm"]: float(line["expected_best"]) for line in lines}
    assert f"{best['theseus']:.1f}" in text
    assert best["pkd"] == pytest.approx(
        next(c.values[0] for c in findings(read(tmp_path)).search if c.arm == "pkd"), 1e-5
    )


def test_figures_are_well_formed_and_speak(found, tmp_path):
    style, searched = Style(found.results.suite.arms), findings(read(make_results(tmp_path, **KINDS["search"])))
    ranks = found.across[0].ranks
    drawn = [ranks_figure(found, style, ranks, 0), search_figure(searched, Style(searched.results.suite.arms))]
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        names = {e.attrib["id"]: e.text for e in root if e.tag in ("title", "desc")}
        assert all(names[key] for key in root.attrib["aria-labelledby"].split())
    assert f"Critical difference {ranks.critical:.2f}" in drawn[0]
    assert drawn[0].count(">not separated<") == len(ranks.groups)
    assert "BERT-of-Theseus" in drawn[1].partition("</desc>")[0]
    assert search_figure(found, style) is None
    assert drawn[0] == ranks_figure(found, style, ranks, 0)
