"""Figures: right positions, own ids, colours from the page, the same bytes twice, and text that stays text."""

import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from reports.findings.findings import findings
from reports.page.drawing import VARIABLES, Style
from reports.page.figures import curve_panel, difference_panel, latency_figure, score_panel
from results.format.reader import read
from results.format.records import Arm
from tests.report.make_results import make_results

GRID = {"tasks": ("rte", "cola"), "arms": ("predecessor", "kd", "theseus"), "seeds": (1, 2)}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    outcomes = {("cola", "kd", 1): "failed", ("cola", "kd", 2): "missing"}
    return read(make_results(tmp_path_factory.mktemp("figures"), outcomes=outcomes, **GRID))


def drawn(results) -> dict[str, str]:
    whole, style = findings(results), Style(results.suite.arms)
    columns = {column.name: column for column in whole.table.columns}
    (gap,) = (d for d in whole.differences if (d.arm, d.task) == ("kd", "rte"))
    found = {
        "rte": score_panel(whole, style, columns["rte"]),
        "cola": score_panel(whole, style, columns["cola"]),
        "difference": difference_panel(whole, style, "theseus-kd", "Difference from KD, points", [("RTE", gap)]),
        "loss": curve_panel(whole, style, columns["rte"], "loss"),
        "rate": curve_panel(whole, style, columns["rte"], "rate"),
        "latency": latency_figure(whole, style),
    }
    assert all(found.values())
    return {name: svg or "" for name, svg in found.items()}


@pytest.fixture(scope="module")
def svgs(results):
    return drawn(results)


def test_every_figure_is_well_formed_and_says_what_it_shows(svgs):
    for svg in svgs.values():
        root = ElementTree.fromstring(svg)
        assert root.attrib["role"] == "img"
        names = {e.attrib["id"]: e.text for e in root if e.tag in ("title", "desc")}
        assert all(names[key] for key in root.attrib["aria-labelledby"].split())
    assert "kd" not in svgs["rte"].split("</desc>")[0]
    assert "Vanilla KD" in svgs["rte"].split("</desc>")[0]


def test_ids_do_not_collide_and_every_reference_is_met(svgs):
    everything = "".join(svgs.values())
    ids = re.findall(r'\bid="([^"]+)"', everything)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', everything)) | set(re.findall(r"url\(#([^)]+)\)", everything)) <= set(ids)


def test_no_fixed_colour_no_style_sheet_no_address(svgs):
    for svg in svgs.values():
        colours = set(re.findall(r"(?:fill|stroke): ?([^;\"]+)", svg))
        assert all(c == "none" or c.startswith("var(--") for c in colours), colours
        assert not re.search(r"<style|<metadata|http|font-family|DejaVu", svg)
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", "".join(svgs.values()))) <= set(VARIABLES.values())


def test_bytes_are_the_same_again_and_under_other_settings(results, svgs):
    assert drawn(results) == svgs
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path", "lines.linewidth": 9}):
        assert drawn(results) == svgs


def test_points_stand_where_their_scores_are(results, svgs):
    """Invert the x axis from its own tick labels and find each score again."""
    root = ElementTree.fromstring(svgs["rte"])
    ticks = [
        (float(e.attrib["x"]), float(e.text))
        for e in root.iter("text")
        if e.text and re.fullmatch(r"[\d.]+", e.text) and "middle" in e.attrib["style"]
    ]
    (x0, v0), (x1, v1) = ticks[0], ticks[-1]
    marks = [float(e.attrib["x"]) for e in root.iter("use") if "var(--series-1)" in e.attrib["style"]]
    shown = sorted(v0 + (x - x0) * (v1 - v0) / (x1 - x0) for x in marks)
    assert shown == pytest.approx(sorted(r.score("last") for r in results.of("rte", "theseus")), abs=0.01)


def test_an_arm_without_scores_says_so(svgs):
    assert "no score" in svgs["cola"]
    assert "no score" not in svgs["rte"]


def test_nothing_to_draw_draws_nothing(tmp_path):
    outcomes = {("rte", "kd", 1): "missing"}
    results = read(make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), outcomes=outcomes))
    found, style = findings(results), Style(results.suite.arms)
    assert found.timed
    assert score_panel(found, style, found.main) is None
    assert curve_panel(found, style, found.main, "loss") is None
    assert curve_panel(found, style, found.main, "rate") is None
    assert latency_figure(found, style) is None


def test_hostile_titles_stay_text(tmp_path):
    title = r"$\frac{<script>alert(1)</script>"
    results = read(make_results(tmp_path, **(GRID | {"arm_changes": {"kd": {"title": title}}})))
    for svg in drawn(results).values():
        assert "<script" not in svg
        ElementTree.fromstring(svg)


def test_theseus_is_always_first_and_arms_stay_apart():
    arms = [Arm(f"a{i}", f"A{i}", "kd", 6, None) for i in range(12)]
    style = Style([*arms, Arm("theseus", "T", "theseus", 6, None), Arm("p", "P", "predecessor", 12, None)])
    assert VARIABLES[style.colours["theseus"]] == "--series-1"
    looks = {(style.colours[name], style.markers[name]) for name in style.colours}
    assert len(looks) == len(style.colours) == 14
