"""What the drift gate writes: Markdown, JUnit XML and JSON, with hostile text in the results."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from reports import ReportError
from reports.drift.output import document, junit, lines, markdown, publish
from tests.report.make_drift import ARMS, ELSEWHERE, SEEDS, TASKS, checked, made, noisy, shifted, write_baseline

HOSTILE = '| <script>alert(1)</script> [x](javascript:1) `a` & ]]> @all \x00\x1b[31m \u202e "quoted"'


def hostile(tmp_path, accepted):
    folder = made(tmp_path / "hostile", scores=shifted("rte", "kd", -9), manifest={"device_name": HOSTILE})
    return checked(folder, accepted)


def test_hostile_text_stays_text_in_markdown(tmp_path, accepted):
    shown = markdown(hostile(tmp_path, accepted))
    for row in (line for line in shown.splitlines() if line.startswith("|")):
        assert row.count("|") == 9
    assert not any(bad in shown for bad in ("<script", "javascript:", "[x]", "`", "\x1b", "\x00", "\u202e", "@all"))
    assert "&#60;script&#62;" in shown


def test_hostile_text_stays_text_in_xml(tmp_path, accepted):
    root = ET.fromstring(junit(hostile(tmp_path, accepted)))
    suite = root.find("testsuite")
    cases = suite.findall("testcase")
    assert len(cases) == int(suite.get("tests")) == 8 + 4 + 2  # cells, macros, timings
    failed = [case.get("name") for case in cases if case.find("failure") is not None]
    assert failed == ["macro kd", "rte kd"]
    assert "<script>" in [case.find("failure").text for case in cases if case.find("failure") is not None][1]
    assert not any(ord(c) < 32 and c not in "\t\n\r" for c in ET.tostring(root, encoding="unicode"))


def test_undecided_and_not_comparable_do_not_look_passed_in_xml(tmp_path, accepted):
    found = checked(made(tmp_path / "now", outcomes={("rte", "kd", 2): "missing"}), accepted)
    assert 'errors="1"' in junit(found).decode()
    nothing = checked(made(tmp_path / "there"), tmp_path / "none.json")
    assert nothing.exit_code == 4
    assert 'errors="1"' in junit(nothing).decode()


def test_markdown_puts_what_changed_first_and_counts_the_rest(tmp_path, accepted):
    folder = made(tmp_path / "now", scores=shifted("rte", "kd", -8) | shifted("cola", "kd", 8),
                  manifest={"code_hash": "another"})  # fmt: skip
    rows = [line for line in markdown(checked(folder, accepted)).splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| macro kd", "pass"], ["| rte kd", "drift"], ["| cola kd", "pass"]
    ]  # fmt: skip
    assert "6 of 8 cells are bit-equal" in markdown(checked(folder, accepted))


def test_a_cell_that_has_a_seed_more_is_still_counted_as_equal(tmp_path, accepted):
    found = checked(made(tmp_path / "now", seeds=(*SEEDS, 7)), accepted)
    said = "\n".join(lines(found))
    assert said.count("seed 7 has no accepted run") == 6  # of all but the predecessors, which have one seed
    assert "8 of 8 cells bit-equal" in said
    assert "8 of 8 cells are bit-equal" in markdown(found)


def test_a_summary_begins_with_the_counts_and_says_whether_the_environments_differ(tmp_path, accepted):
    elsewhere = {"device_name": "another", "lock_hash": "another"}
    folder = made(tmp_path / "now", arms=(*ARMS[:-1], "pkd"), manifest=elsewhere,
                  scores=shifted("rte", "kd", -8) | shifted("cola", "kd", 8))  # fmt: skip
    first, *rest = markdown(checked(folder, accepted)).splitlines()
    assert first == "### Drift: 1 improved, 1 regressed, 4 unchanged, 2 new, 2 missing"
    said = next(line for line in rest if line.startswith("The environments differ"))
    assert "lock (hash 10c4 -&#62; another), device (name one 80 GB accelerator -&#62; another)" in said
    same = markdown(checked(tmp_path / "accepted", accepted))
    assert same.startswith("### Drift: 0 improved, 0 regressed, 8 unchanged, 0 new, 0 missing\n")
    assert "The environments are the same" in same


def test_a_cell_that_is_not_certified_by_itself_is_skipped_in_xml_and_is_not_an_error(tmp_path):
    path = write_baseline(made(tmp_path / "then"), tmp_path / "b.json", {"macro": 8.0})
    now = made(tmp_path / "now", scores=noisy(TASKS, ARMS, SEEDS, sd=5.0), manifest=ELSEWHERE)
    xml = junit(checked(now, path)).decode()
    assert 'errors="0"' in xml
    assert '<skipped type="not certified" message="not certified by itself">' in xml


def test_the_document_is_json_and_complete(tmp_path, accepted):
    folder = made(tmp_path / "now", scores=shifted("rte", "kd", -8), manifest={"code_hash": "another"})
    value = json.loads(json.dumps(document(checked(folder, accepted)), allow_nan=False))
    assert (value["outcome"], value["exit_code"], value["family"]) == ("drift", 1, 1)
    first = value["cells"][0]
    assert (first["task"], first["arm"], first["causes"]) == ("rte", "kd", ["code"])
    assert first["statistics"]["p_holm"] < 0.05
    assert first["changed"] == [{"kind": "code", "fact": "code_hash", "before": "c0de", "after": "another"}]
    assert len(value["cells"]) == 8
    assert value["counts"] == {
        "improved": 0, "regressed": 1, "unchanged": 7, "missing": 0, "not comparable": 0, "new": 0
    }  # fmt: skip
    assert [(m["arm"], m["outcome"]) for m in value["macros"] if m["statistics"]] == [("kd", "drift")]


def test_the_summary_of_a_github_job_is_appended_to(tmp_path, accepted, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    found = checked(tmp_path / "accepted", accepted)
    publish(found, tmp_path / "junit.xml")
    assert summary.read_text() == f"before\n{markdown(found)}\n"
    assert ET.parse(tmp_path / "junit.xml").getroot().tag == "testsuites"
    with pytest.raises(ReportError, match="cannot write"):
        publish(found, tmp_path / "none" / "junit.xml")
