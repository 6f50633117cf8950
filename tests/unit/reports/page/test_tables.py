"""The main table: order, the paper's place, gaps, and text that a spreadsheet or LaTeX must not act on."""

import csv
import io
import json

import pytest

from reports.export import export
from reports.findings.findings import findings
from reports.page.tables import latex, to_csv, to_latex
from reports.statistics.cells import MACRO
from reports.words import decimals, plain_cell
from results.format.reader import read
from tests.report.make_results import MINILM, SYNTHETIC, make_results


def main_table(results):
    return findings(results).table


SMALL = {"tasks": ("rte", "cola"), "seeds": (1, 2), "speed": False}
GAPS = {("rte", "kd", 1): "diverged", ("cola", "pkd", 2): "missing"}


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    return main_table(read(make_results(tmp_path_factory.mktemp("beside"), outcomes=GAPS, **SMALL)))


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    return main_table(read(make_results(tmp_path_factory.mktemp("apart"), suite=MINILM, **SMALL)))


def entry(table, arm, column):
    row = [a.name for a in table.arms].index(arm)
    return table.entries[row][[c.name for c in table.columns].index(column)]


def test_columns_and_rows_stand_in_the_papers_order(beside):
    assert [c.title for c in beside.columns] == ["CoLA", "RTE", "Macro"]
    assert [a.name for a in beside.arms] == ["predecessor", "finetune", "kd", "pkd", "theseus"]


def test_arms_of_any_order_and_without_a_published_row_are_placed(tmp_path):
    arms = ("theseus", "mine", "constant", "predecessor", "pkd", "finetune")
    changes = {
        "constant": {"method": "theseus", "published": "Constant"},
        "mine": {"method": "mine", "published": None},
    }
    results = read(make_results(tmp_path, tasks=("rte",), arms=arms, seeds=(1,), arm_changes=changes))
    table = main_table(results)
    assert [a.name for a in table.arms] == ["predecessor", "finetune", "pkd", "mine", "constant", "theseus"]
    assert [c.name for c in table.columns] == ["rte"]
    assert entry(table, "mine", "rte").paper is None
    assert entry(table, "constant", "rte").paper == 66.4


def test_paper_beside_uses_the_same_tasks_for_its_macro(beside):
    assert beside.paper == "beside"
    assert beside.paper_rows == ()
    assert entry(beside, "theseus", "cola").paper == 51.1
    assert entry(beside, "theseus", MACRO).paper == pytest.approx((51.1 + 68.2) / 2)
    assert "same tasks" in beside.note


def test_paper_apart_when_not_comparable(apart):
    assert apart.paper == "apart"
    assert "like with like" in apart.note
    assert all(e.paper is None for row in apart.entries for e in row)
    rows = {row.title: row for row in apart.paper_rows}
    assert rows["BERT-base"].layers == 12
    assert rows["BERT-of-Theseus"].layers == 6
    assert rows["Vanilla KD"].values == pytest.approx((45.1, 64.9, 55.0))


def test_no_paper_number_in_a_synthetic_suite(tmp_path):
    root = make_results(tmp_path, suite=SYNTHETIC | {"comparable": True}, **SMALL)
    suite = json.loads((root / "suite.json").read_text())
    for task in suite["tasks"]:  # even when a suite wrongly names the paper's columns
        task["published"] = task["title"]
    (root / "suite.json").write_text(json.dumps(suite))
    table = main_table(read(root))
    assert table.paper == "none"
    assert table.paper_rows == ()
    assert all(e.paper is None for row in table.entries for e in row)
    assert "not GLUE" in table.note
    assert "51.1" not in to_csv(table) + to_latex(table)


def test_a_depth_the_paper_lacks_has_no_number_beside_it(tmp_path):
    results = read(make_results(tmp_path, suite={"successor_layers": 4}, tasks=("rte",), seeds=(1,), speed=False))
    table = main_table(results)
    assert entry(table, "theseus", "rte").paper == 61.9
    assert entry(table, "kd", "rte").paper is None


def test_gaps_are_named_and_never_averaged(beside):
    assert entry(beside, "kd", "rte").remark == "1 of 2 seeds, 1 diverged"
    assert entry(beside, "kd", "rte").cell.summary.sd is None
    assert entry(beside, "pkd", MACRO).remark == "1 of 2 seeds"
    whole = entry(beside, "theseus", MACRO)
    assert whole.remark == ""
    assert whole.cell.summary.n == 2


def test_flagged_runs_are_counted(tmp_path):
    root = make_results(tmp_path, **SMALL)
    path = next((root / "rte" / "kd").glob("seed-1-*")) / "result.json"
    result = json.loads(path.read_text())
    result["last"]["flags"] = ["constant predictions"]
    path.write_text(json.dumps(result))
    assert entry(main_table(read(root)), "kd", "rte").remark == "1 flagged"


def test_median_is_shown_when_the_suite_says_so(tmp_path):
    values = {("rte", "kd", seed): value for seed, value in ((1, 60.0), (2, 61.0), (3, 70.0))}
    options = {"tasks": ("rte",), "arms": ("kd",), "scores": values, "speed": False}
    table = main_table(read(make_results(tmp_path, suite={"statistic": "median"}, **options)))
    assert entry(table, "kd", "rte").value == 61.0


def test_csv_holds_the_table(beside):
    rows = list(csv.DictReader(io.StringIO(to_csv(beside))))
    kd = next(row for row in rows if row["arm"] == "kd")
    assert kd["rte n"] == "1"
    assert kd["rte planned"] == "2"
    assert kd["rte remark"] == "1 of 2 seeds, 1 diverged"
    assert float(kd["rte value"]) == pytest.approx(entry(beside, "kd", "rte").value, abs=0.005)
    assert kd["rte paper"] == "64.9"
    assert kd["layers"] == "6"


def test_latex_is_a_balanced_booktabs_table(beside, apart):
    for table in (beside, apart):
        lines = to_latex(table).splitlines()
        assert [sum(word in line for line in lines) for word in (r"\toprule", r"\bottomrule", r"\end{tabular}")] == [
            1
        ] * 3
        for line in lines:
            if line.endswith(r"\\") and "multicolumn" not in line:
                assert line.count(" & ") == len(table.columns)
        assert to_latex(table).count("{") == to_latex(table).count("}")
    assert "Printed in the paper, not like with like" in to_latex(apart)


@pytest.mark.parametrize("title", ["=1+1", "+1", "-1", "@SUM(A1)", "  =x"])
def test_a_spreadsheet_takes_no_cell_for_a_formula(tmp_path, title):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), arm_changes={"kd": {"title": title}})
    row = next(csv.DictReader(io.StringIO(to_csv(main_table(read(root))))))
    assert row["title"].startswith("'")
    assert plain_cell(title).startswith("'")
    assert plain_cell("Vanilla KD") == "Vanilla KD"


def test_latex_escapes_every_special_character():
    assert latex(r"\input{x}%_&#$~^") == (r"\textbackslash{}input\{x\}\%\_\&\#\$\textasciitilde{}\textasciicircum{}")


def test_a_hostile_title_stays_text_in_latex(tmp_path):
    title = r"\write18{rm} % & <b>"
    root = make_results(
        tmp_path,
        tasks=("rte",),
        arms=("kd",),
        seeds=(1,),
        suite={"title": "a\nb"},
        arm_changes={"kd": {"title": title}},
    )
    found = to_latex(main_table(read(root)))
    assert r"\write18" not in found
    assert r"\textbackslash{}write18\{rm\}" in found
    assert found.splitlines()[0].startswith("% a b:")


def test_export_formats_agree(tmp_path):
    import pandas as pd

    root = make_results(tmp_path, outcomes=GAPS, **SMALL)
    table = pd.read_csv(io.BytesIO(export(root, "csv")))
    parquet = pd.read_parquet(io.BytesIO(export(root, "parquet")))
    records = json.loads(export(root, "json"))
    assert len(table) == len(parquet) == len(records)
    assert list(table.columns) == list(parquet.columns) == list(records[0])
    broken = [r for r in records if r["status"] == "diverged"]
    assert [(r["metric"], r["value"], r["score"]) for r in broken] == [(None, None, None)] * 2
    assert (
        table["score"].sum()
        == pytest.approx(parquet["score"].sum())
        == pytest.approx(sum(r["score"] or 0 for r in records))
    )
    assert export(root, "csv") == export(root, "csv")
    with pytest.raises(ValueError, match="use csv, parquet or json"):
        export(root, "xlsx")


def test_decimals():
    assert (decimals(None, 1), decimals(0.0, 1), decimals(12.344, 2)) == ("", "0.0", "12.34")
