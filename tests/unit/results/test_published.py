"""The published numbers agree with themselves: macros, retention, rows printed twice, and the claims from them."""

import csv
from pathlib import Path

import pytest

from results.format.errors import ReportError
from results.format.published_numbers import (
    FOLDER,
    ROWS,
    TASKS,
    claims,
    paper_cell,
    paper_change,
    paper_macro,
    paper_score,
    paper_speed_up,
    published_layers,
    published_reruns,
    published_tables,
    table_rows,
)

ROUNDING = 0.1


def rows(table: int) -> list[dict[str, str]]:
    """A table read without pandas, so that the reader under test is not its own witness."""
    with (FOLDER / f"table-{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def scores(table: int) -> dict[tuple[str, str], dict[str, list[float]]]:
    """(method, layers) -> task -> the printed numbers of that task, blanks left out."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows(table):
        if row["metric"] not in ("change", "speed-up") and row["value"]:
            cells = found.setdefault((row["method"], row["layers"]), {})
            cells.setdefault(row["task"], []).append(float(row["value"]))
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("table", [2, 3, 6, 7])
def test_printed_macros_follow_from_the_printed_cells(table):
    checked = 0
    for row, cells in scores(table).items():
        if "Macro" in cells:
            derived = mean([mean(cells[task]) for task in TASKS])
            assert derived == pytest.approx(cells["Macro"][0], abs=ROUNDING), row
            checked += 1
    assert checked == {2: 7, 3: 5, 6: 3, 7: 7}[table]


def test_four_layer_macro_is_printed_above_the_mean_of_its_cells():
    cells = scores(7)["BERT-of-Theseus", "4"]
    assert mean([cells[task][0] for task in TASKS]) == pytest.approx(77.1375)
    assert cells["Macro"] == [77.2]


def test_retention_of_the_predecessor():
    dev, test = scores(2), scores(3)
    ours, deep = ("BERT-of-Theseus", "6"), ("BERT-base", "12")
    assert round(100 * dev[ours]["Macro"][0] / dev[deep]["Macro"][0], 1) == 98.4
    assert 100 * test[ours]["Macro"][0] / test[deep]["Macro"][0] == pytest.approx(98.3, abs=0.06)


def test_rows_printed_twice_are_equal():
    two, six, seven = scores(2), scores(6), scores(7)
    for row in (("BERT-base", "12"), ("Fine-tuning", "6"), ("BERT-of-Theseus", "6")):
        assert two[row] == seven[row]
    assert six["Curriculum", "6"] == two["BERT-of-Theseus", "6"]
    four = scores(4)
    for method, layers in (("DistilBERT", "6"), ("PD-BERT", "6"), ("BERT-base", "12")):
        shared = set(four[method, layers]) & set(two[method, layers])
        assert shared
        assert all(four[method, layers][task] == two[method, layers][task] for task in shared)


def test_changes_of_table_five_are_differences():
    by_key = {(r["method"], r["task"], r["metric"]): float(r["value"]) for r in rows(5)}
    changes = {key: value for key, value in by_key.items() if key[2] == "change"}
    assert len(changes) == 18
    for (method, task, _), change in changes.items():
        assert by_key[method, task, "score"] - by_key["BERT-base", task, "score"] == pytest.approx(change, abs=0.006)


def test_blank_is_blank_and_never_zero():
    assert paper_score("PD-BERT", 6, "CoLA") is None
    assert paper_score("PD-BERT", 6, "Macro") is None
    assert paper_macro("PD-BERT", 6, ["CoLA", "RTE"]) is None
    assert paper_macro("PD-BERT", 6, ["MRPC", "RTE"]) == pytest.approx((87.2 + 66.7) / 2)
    assert not (published_tables()["value"] == 0).any()


@pytest.mark.parametrize(
    ("method", "layers", "task", "value"),
    [
        ("BERT-of-Theseus", 6, "CoLA", 51.1),
        ("Theseus", 6, "CoLA", 51.1),
        ("BERT-of-Theseus", 3, "STS-B", 78.9),
        ("Fine-tuning", 4, "Macro", 73.9),
        ("Constant", 6, "RTE", 66.4),
        ("BERT-base", 12, "MNLI", 83.5),
        ("BERT-base", 6, "MNLI", None),
        ("Vanilla KD", 3, "RTE", None),
        ("Vanilla KD", 6, "WNLI", None),
        (None, 6, "RTE", None),
        ("Vanilla KD", None, "RTE", None),
        ("Vanilla KD", 6, None, None),
    ],
)
def test_paper_score(method, layers, task, value):
    assert paper_score(method, layers, task) == value


def test_the_named_table_is_asked_first():
    assert [paper_score("BERT-base", 12, "QNLI", table=t) for t in (None, 2, 5)] == [91.2, 91.2, 91.87]
    assert paper_score("BERT-base", 12, "RTE", table=5) == 71.1
    assert paper_cell("BERT-base", 12, "RTE", table=5) == (71.1, 2)
    assert paper_cell("BERT-base", 12, "RTE", table=4) == (71.1, 4)
    assert paper_score("module 4 replaced", 11, "MNLI", table=5) == 83.34
    assert paper_score("module 4 replaced", 11, "MNLI") is None
    assert paper_score("BERT-of-Theseus (MNLI)", 6, "RTE", table=4) == 70.1
    assert paper_score("BERT-of-Theseus (MNLI)", 6, "CoLA", table=4) is None
    assert paper_score("BERT-of-Theseus", 4, "RTE", table=7) == 61.9
    assert published_layers("module 4 replaced", 6, like_for_like=False, table=5) == 11
    assert published_layers("module 4 replaced", 11, like_for_like=True) is None


def test_rows_of_a_table_in_its_order():
    assert table_rows(4) == (("BERT-base", 12), ("DistilBERT", 6), ("PD-BERT", 6), ("BERT-of-Theseus (MNLI)", 6))
    assert [name for name, _ in table_rows(6)] == ["Constant", "Anti-curriculum", "Curriculum"]
    assert len(table_rows(7)) == 7


def test_changes_as_printed():
    assert paper_change("module 1 replaced", ["QNLI"]) == -3.37
    assert paper_change("module 1 replaced", ["QNLI", "MNLI", "QQP"]) == pytest.approx((-3.37 - 2.65 - 0.90) / 3)
    assert paper_change("module 1 replaced", ["QNLI", "RTE"]) is None
    assert paper_change("BERT-base", ["QNLI"]) is None


def test_macro_over_all_eight_is_the_printed_one():
    assert paper_macro("BERT-of-Theseus", 4, list(TASKS)) == 77.2
    assert paper_macro("BERT-of-Theseus", 4, list(TASKS[:7])) == pytest.approx((77.1375 * 8 - 82.5) / 7)
    assert paper_macro("BERT-of-Theseus", 4, []) is None


def test_which_depth_stands_for_a_row():
    assert published_layers("Vanilla KD", 6, like_for_like=True) == 6
    assert published_layers("Vanilla KD", 3, like_for_like=True) is None
    assert published_layers("Vanilla KD", 3, like_for_like=False) == 6
    assert published_layers("BERT-base", 6, like_for_like=False) == 12
    assert published_layers("Nobody", 6, like_for_like=False) is None


def test_speed_up():
    assert [paper_speed_up(layers) for layers in (12, 6, 4, 3, 5)] == [1.0, 1.94, 2.82, 3.66, None]


def test_every_row_says_where_it_comes_from():
    for table in range(2, 8):
        for row in rows(table):
            assert row["table"] == str(table)
            assert row["source"]
            assert row["statistic"]
            assert row["convention"]
            assert row["split"] in ("dev", "test", "")
            assert row["split"] or row["metric"] == "speed-up"


def test_claims_name_rows_that_exist_and_repeat_the_printed_differences():
    known = set(published_tables()["method"])
    found = claims()
    assert len({claim["id"] for claim in found}) == len(found)
    for claim in found:
        if claim["kind"] == "order" and "published" in claim:
            assert {claim["arm"], claim["baseline"]} <= known
            ours, theirs = (
                [paper_score(claim[side], claim[layers], task) for task in claim["tasks"]]
                for side, layers in (("arm", "layers"), ("baseline", "baseline_layers"))
            )
            assert [round(a - b, 1) for a, b in zip(ours, theirs, strict=True)] == claim["published"]
            assert all(value > 0 for value in claim["published"])
        elif claim["kind"] == "ratio":
            assert claim["margin"] > 0


def test_ratio_claims_follow_from_the_tables():
    by_id = {claim["id"]: claim for claim in claims()}
    deep, ours = paper_score("BERT-base", 12, "Macro"), paper_score("BERT-of-Theseus", 6, "Macro")
    assert ours / deep == pytest.approx(by_id["retention-dev"]["published"], abs=5e-4)
    for layers in (6, 4, 3):
        assert by_id[f"speed-up-{layers}-layers"]["published"] == paper_speed_up(layers)
    assert by_id["parameters-6-layers"]["published"] == pytest.approx(109_482_240 / 66_955_008, abs=0.01)


def test_the_claims_that_must_be_there():
    pairs = {(c["arm"], c["baseline"], tuple(c["tasks"]) == ("Macro",)) for c in claims() if c["kind"] == "order"}
    for baseline in ("Fine-tuning", "Vanilla KD", "BERT-PKD", "LayerDrop"):
        assert {("BERT-of-Theseus", baseline, True), ("BERT-of-Theseus", baseline, False)} <= pairs
    assert {("Curriculum", "Constant", True), ("Constant", "Anti-curriculum", True)} <= pairs
    assert ("Fine-tuning", "Fine-tuning (top 6)", True) in pairs


def test_cells_of_others_have_a_source_and_agree_with_their_single_runs():
    found = published_reruns()
    assert len(found) == len({(row.method, row.start, row.task, row.source) for row in found}) == 13
    for row in found:
        assert row.task in TASKS
        assert row.method in ROWS
        assert row.start in ("predecessor", "pretrained", "random")
        assert all(value for name, value in vars(row).items() if name != "runs")
        single = [float(value) for value in row.runs.split()]
        assert len(single) in (0, int(row.seeds))
        assert not single or float(row.value) == pytest.approx(mean(single), abs=0.05)


def test_readme_names_every_file_and_column():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert ", ".join(vars(published_reruns()[0])) in readme
    for path in sorted(FOLDER.iterdir()):
        assert path.name == "README.md" or f"`{path.name}`" in readme
    for column in rows(2)[0]:
        assert column in readme


def test_a_lost_or_broken_folder_is_said_in_one_line(tmp_path: Path):
    with pytest.raises(ReportError, match="restore results/published/"):
        published_tables(tmp_path)
    (tmp_path / "claims.toml").write_text('[[claim]]\nid = "x"\n')
    with pytest.raises(ReportError, match="lacks"):
        claims(tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(ReportError, match="not readable"):
        claims(tmp_path / "other")
