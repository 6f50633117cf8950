"""Attribution, depths, modules, schedules and sweeps: steps, changes, comparisons of equals, and their sentences."""

import re
from xml.etree import ElementTree

import pytest
from scipy import stats

from reports.claims.ablation import in_words
from reports.findings.findings import findings
from reports.page.drawing import Style
from reports.page.figures import steps_figure, sweep_panel
from reports.page.headline import headline
from reports.page.tables import to_csv, to_latex
from reports.statistics.cells import MACRO
from reports.timing.headline_setting import speed_up, timing_for_figure
from results.format.reader import read
from tests.report.make_results import DEPTHS, KINDS, MINILM, SWEEP, make_results

CHAIN = {"a": (60.0, 61.0, 62.0), "b": (63.0, 64.5, 65.0), "c": (63.5, 64.0, 65.5)}
ATTRIBUTION = {
    "tasks": ("rte",), "arms": (*CHAIN, "kd"), "speed": False,
    "arm_changes": {name: {"title": f"Step {name}", "method": "theseus"} for name in CHAIN},
    "scores": {("rte", arm, seed): value for arm, row in CHAIN.items() for seed, value in enumerate(row, 1)},
    "suite": {"steps": list(CHAIN)},
}  # fmt: skip


def answer(root) -> str:
    return " ".join(headline(findings(read(root))))


def main_table(results):
    return findings(results).table


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return findings(read(make_results(tmp_path_factory.mktemp("chain"), **ATTRIBUTION)))


def test_a_step_is_paired_with_the_step_before(chain):
    first, second, third = chain.ablation.steps
    assert [step.arm.name for step in (first, second, third)] == ["a", "b", "c"]
    assert (first.change, first.value) == (None, 61.0)
    test = stats.ttest_rel(CHAIN["b"], CHAIN["a"]).confidence_interval(0.95)
    assert second.change.values == (3.0, 3.5, 3.0)
    assert (second.change.low, second.change.high) == pytest.approx((test.low, test.high))
    words = [in_words(chain.decisions[step.change.key]) for step in (second, third)]
    assert [word.partition(" (")[0] for word in words] == ["above", "not separated"]
    step, whole = (stats.ttest_rel(CHAIN[one], CHAIN["a"]).pvalue for one in "bc")
    assert whole < step  # Holm over two steps and the whole: the smallest p times 3, the next times 2
    assert chain.decisions[second.change.key].p == pytest.approx(max(3 * whole, 2 * step))
    assert chain.ablation.whole_change.values == (3.5, 3.0, 3.5)


def test_two_steps_need_no_sum_and_no_steps_no_section(tmp_path):
    found = findings(read(make_results(tmp_path, **(ATTRIBUTION | {"suite": {"steps": ["a", "b"]}}))))
    assert found.ablation.whole_change is None
    assert findings(read(make_results(tmp_path / "b", tasks=("rte",), seeds=(1,)))).ablation.steps == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": (1,)}, "undecided: one seed gives no interval"),
        ({"outcomes": {("rte", "b", seed): "failed" for seed in (1, 2, 3)}}, "no seed in common"),
        ({"scores": {("rte", arm, s): 60.0 + 3 * (arm == "b") for arm in "abc" for s in (1, 2, 3)}},
         "undecided: every seed gives the same difference"),
    ],
)  # fmt: skip
def test_a_step_that_decides_nothing_says_why(tmp_path, options, words):
    results = read(make_results(tmp_path, **(ATTRIBUTION | options)))
    found = findings(results)
    assert in_words(found.decisions[found.ablation.steps[1].change.key]) == words
    assert (steps_figure(found, Style(results.suite.arms), "RTE score") or "").startswith("<svg")


def test_the_answer_names_the_steps_that_moved_the_score(chain, tmp_path):
    said = answer(make_results(tmp_path, **ATTRIBUTION))
    low, high = stats.ttest_1samp([3.0, 3.5, 3.0], 0).confidence_interval(0.95)
    assert f"the score is higher after Step b (+3.2, 95 % interval +{low:.1f} to +{high:.1f}, 3 seeds, p 0.0" in said
    assert "Not separated from the step before: Step c (+0.2" in said
    assert "It is above Step" not in said
    assert "Vanilla KD" in said.split("Compared with the step before")[0]


def drawn_steps(found):
    return steps_figure(found, Style(found.results.suite.arms), "RTE score")


def test_the_band_of_a_step_is_its_interval_around_its_score(chain):
    root = ElementTree.fromstring(drawn_steps(chain))
    ticks = [
        (float(e.attrib["x"]), float(e.text))
        for e in root.iter("text")
        if e.text and re.fullmatch(r"[\d.]+", e.text) and "middle" in e.attrib["style"]
    ]
    (x0, v0), (x1, v1) = ticks[0], ticks[-1]
    bands = [e.attrib["d"] for e in root.iter("path") if "stroke-width: 5" in e.attrib.get("style", "")]
    ends = [float(x) for x in re.findall(r"[ML] ([\d.]+)", bands[0])]
    shown = [v0 + (x - x0) * (v1 - v0) / (x1 - x0) for x in ends]
    test = stats.ttest_rel(CHAIN["b"], CHAIN["a"]).confidence_interval(0.95)
    assert len(bands) == 2
    # the mean of b is the mean of a plus the mean change, so the band is a's mean plus the interval
    assert shown == pytest.approx([61.0 + test.low, 61.0 + test.high], abs=0.02)


@pytest.fixture(scope="module")
def depths(tmp_path_factory):
    return findings(read(make_results(tmp_path_factory.mktemp("depths"), **KINDS["depths"])))


def test_arms_are_compared_with_their_own_depth(depths):
    assert depths.leaders == {6: "theseus-6", 4: "theseus-4", 3: "theseus-3"}
    pairs = {(d.reference, d.arm) for d in depths.differences}
    assert pairs == {(f"theseus-{n}", other) for n in (6, 4, 3) for other in (f"finetune-{n}", "predecessor")}


def test_table_seven_has_depth_order_and_a_speed_up_per_depth(depths):
    table = depths.table
    assert (table.paper, table.beside_table) == ("beside", 7)
    assert [arm.layers for arm in table.arms] == [12, 6, 6, 4, 4, 3, 3]
    assert [speed.paper for speed in table.speed] == [1.0, 1.94, 1.94, 2.82, 2.82, 3.66, 3.66]
    assert [speed.ratio for speed in table.speed][1::2] == pytest.approx([1.97, 1.97 * 6 / 4, 1.97 * 2])
    three = table.entries[[arm.name for arm in table.arms].index("theseus-3")]
    assert [entry.paper for entry in three] == pytest.approx([35.0, 84.3, 59.5, 87.2, (35.0 + 84.3 + 59.5 + 87.2) / 4])
    assert to_csv(table).splitlines()[0].endswith("speed-up,speed-up decided,speed-up paper")
    assert all(line.count(" & ") == len(table.columns) + 1 for line in to_latex(table).splitlines() if " & " in line)
    assert "beside Table 7 of the paper" in to_latex(table)


def test_a_depth_that_was_not_timed_has_no_speed_up(tmp_path):
    results = read(make_results(tmp_path, **(KINDS["depths"] | {"tasks": ("rte",), "seeds": (1,), "speed": False})))
    assert [speed.ratio for speed in main_table(results).speed] == [None] * 7
    assert timing_for_figure(results) == ()
    timed = read(make_results(tmp_path / "b", **(KINDS["depths"] | {"tasks": ("rte",), "seeds": (1,)})))
    assert {c.device for c in timing_for_figure(timed)} == {"cuda"}
    assert speed_up(timing_for_figure(timed)[:1], timed.suite.arm("theseus-4")) == (None, False)


def test_the_answer_has_a_sentence_for_every_depth(tmp_path):
    said = answer(make_results(tmp_path, **KINDS["depths"]))
    assert "from 12 to 6, 4 or 3 layers" in said
    for depth in (6, 4, 3):
        assert f"BERT-of-Theseus, {depth} layers scores" in said
        assert f"Fine-tuning, {depth} layers (" in said


def test_depths_of_one_title_are_told_apart(tmp_path):
    same = {name: change | {"title": change["title"].split(",")[0]} for name, change in DEPTHS.items()}
    said = answer(make_results(tmp_path, **(KINDS["depths"] | {"arm_changes": same, "tasks": ("rte",)})))
    assert "BERT-of-Theseus, 4 layers scores" in said


def test_not_comparable_depths_have_the_whole_table_apart(tmp_path):
    suite = MINILM | {"table": 7, "successor_layers": 3}
    table = main_table(read(make_results(tmp_path, tasks=("rte",), seeds=(1,), suite=suite)))
    assert (table.paper, table.beside_table) == ("apart", 7)
    rows = [(row.title, row.layers, row.values[0], row.speed) for row in table.paper_rows]
    assert rows[:2] == [("BERT-base", 12, 71.1, 1.0), ("Fine-tuning", 6, 62.1, 1.94)]
    assert ("BERT-of-Theseus", 3, 59.5, 3.66) in rows
    assert {row[0] for row in rows[7:]} == {"Vanilla KD", "BERT-PKD"}
    assert "taken from the paper's other tables: Vanilla KD, BERT-PKD" in table.note
    assert all(speed.paper is None for speed in table.speed)


def test_table_five_comes_before_table_two(tmp_path):
    results = read(make_results(tmp_path, **KINDS["modules"]))
    found = findings(results)
    table = found.table
    papers = {arm.name: [e.paper for e in row] for arm, row in zip(table.arms, table.entries, strict=True)}
    assert papers["predecessor"] == pytest.approx([84.54, 91.87, 89.48, (84.54 + 91.87 + 89.48) / 3])
    assert papers["theseus-module-1"][:3] == [81.89, 88.50, 88.58]
    assert (table.places, table.paper_rows) == (2, ())
    assert "other tables" not in table.note
    row = dict((arm.name, row) for arm, row in found.ablation.changes)["theseus-module-3"]
    assert [change.paper for change in row] == pytest.approx([-1.27, -1.11, -0.62, -1.0])
    ours = [run.score("last") for run in results.of("qqp", "theseus-module-3")]
    deep = results.of("qqp", "predecessor")[0].score("last")
    assert row[2].ours.mean == pytest.approx(sum(ours) / 3 - deep)
    apart = findings(read(make_results(tmp_path / "b", **(KINDS["modules"] | {"suite": MINILM | {"table": 5}}))))
    printed = apart.table.paper_rows
    assert printed[1].changes == pytest.approx((-2.65, -3.37, -0.90, (-2.65 - 3.37 - 0.90) / 3))
    assert all(change.paper is None for _, row in apart.ablation.changes for change in row)


def test_modules_are_answered_against_the_predecessor_and_each_other(tmp_path):
    said = answer(make_results(tmp_path, **KINDS["modules"]))
    assert re.search(r"The change from the predecessor, in points: Module 1 replaced −\d\.\d \(3 seeds\)", said)
    assert "It is below Module 2 replaced" in said


def test_schedules_are_compared_with_the_curriculum(tmp_path):
    options = KINDS["schedules"] | {"tasks": ("rte", "cola")}
    results = read(make_results(tmp_path, **options))
    assert list(findings(results).leaders.values()) == ["theseus-curriculum"]
    said = answer(tmp_path)
    assert "Curriculum scores" in said
    assert re.search(r"It is (above|below|not separated from).* Anti-curriculum \(", said)
    table = main_table(results)
    assert [arm.title for arm in table.arms] == ["Predecessor", "Constant", "Anti-curriculum", "Curriculum"]
    assert [row[1].paper for row in table.entries] == [71.1, 66.4, 62.4, 68.2]
    assert "What Table 6 lacks is taken from the paper's other tables: BERT-base." in table.note


def test_table_four_shows_the_rows_nobody_runs(tmp_path):
    results = read(make_results(tmp_path, **(KINDS["transfer"] | {"seeds": (1, 2)})))
    table = main_table(results)
    assert [(row.title, row.layers) for row in table.paper_rows] == [("DistilBERT", 6), ("PD-BERT", 6)]
    columns = [column.title for column in table.columns]
    ours = next(row for arm, row in zip(table.arms, table.entries, strict=True) if arm.name == "theseus-mnli")
    assert ours[columns.index("RTE")].paper == 70.1
    assert ours[columns.index("Macro")].paper == pytest.approx(sum((82.1, 87.5, 88.8, 88.8, 70.1, 91.8, 87.8)) / 7)
    assert table.paper_rows[1].values[columns.index("STS-B")] is None
    assert table.paper_rows[1].values[columns.index("Macro")] is None
    assert "prints no macro" in table.note
    assert table.arms[-1].name == "theseus-mnli"
    assert "not run here" in to_latex(table)


def test_a_sweep_is_sorted_by_its_setting(tmp_path):
    backwards = dict(reversed(SWEEP.items()))
    scores = {("rte", f"theseus-2e-5-{x}", s): 60 + 10 * x + s for x in (0.1, 0.3, 0.5, 0.7, 0.9) for s in (1, 2)}
    results = read(make_results(
        tmp_path, tasks=("rte",), arms=(*backwards, "theseus"), arm_changes=backwards, seeds=(1, 2), scores=scores,
        suite={"x_title": "replacing rate"}, speed=False,
    ))  # fmt: skip
    whole = findings(results)
    found = whole.ablation.lines
    assert list(found) == ["learning rate 5e-5", "learning rate 2e-5"]
    assert [arm.x for arm in found["learning rate 2e-5"]] == [0.1, 0.3, 0.5, 0.7, 0.9]
    svg = sweep_panel(whole, whole.main)
    assert "learning rate 2e-5: 62.5 at 0.1, 64.5 at 0.3, 66.5 at 0.5, 68.5 at 0.7, 70.5 at 0.9" in svg
    said = answer(tmp_path)
    assert "Along replacing rate, learning rate 2e-5 runs from 62.5 at 0.1 to 70.5 at 0.9 over 5 points" in said
    assert "It is above Theseus, p" not in said


def test_new_figures_have_no_colour_of_their_own_and_the_same_bytes_again(chain, tmp_path):
    swept = findings(read(make_results(tmp_path, **KINDS["sweep"])))
    assert sweep_panel(chain, chain.main) is None
    for draw in (lambda: drawn_steps(chain), lambda: sweep_panel(swept, swept.main)):
        svg = draw()
        colours = set(re.findall(r"(?:fill|stroke): ?([^;\"]+)", svg))
        assert all(colour == "none" or colour.startswith("var(--") for colour in colours), colours
        assert draw() == svg


def test_macro_leads_a_chain_of_several_tasks(tmp_path):
    results = read(make_results(tmp_path, **(ATTRIBUTION | {"tasks": ("rte", "mrpc")})))
    assert {step.cell.task for step in findings(results).ablation.steps} == {MACRO}
