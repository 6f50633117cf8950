"""The whole page: self-contained, honest about gaps and about synthetic tasks, safe with hostile text, byte-stable."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reports import ReportError, read, render
from reports.statistics.cells import MACRO, Cells
from reports.statistics.differences import Differences
from reports.statistics.intervals import Estimator
from tests.report.make_results import KINDS, MINILM, make_results

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting while parsing and keeps elements, table rows and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if "style" in self.stack:
            return
        self.text += data
        if "td" in self.stack or "th" in self.stack:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Each kind of results folder rendered once."""
    kinds = [kind for kind in KINDS if kind not in ("glue", "schedules", "transfer")]
    root = tmp_path_factory.mktemp("pages")
    return {kind: render(make_results(root / kind, **KINDS[kind])) for kind in kinds}


def parsed(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_files_are_written_where_asked(pages, tmp_path):
    page = pages["single"]
    assert sorted(p.name for p in page.parent.iterdir()) == [
        "failures.csv", "report.html", "reproducibility.md", "table.csv", "table.tex", "verdicts.csv",
    ]  # fmt: skip
    assert page.parent.name == "report"
    elsewhere = render(page.parent.parent, tmp_path / "a" / "b")
    assert elsewhere == tmp_path / "a" / "b" / "report.html"
    config = next(a["href"] for a in parsed(elsewhere).all("a") if (a["href"] or "").endswith("config.json"))
    assert (elsewhere.parent / config).resolve().is_file()


EVERY_KIND = ["full", "minilm", "synthetic", "partial", "single", "steps", "depths", "search", "sweep", "modules"]


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_page_needs_nothing_but_itself(pages, kind):
    page = parsed(pages[kind])
    html = pages[kind].read_text(encoding="utf-8")
    assert "http://" not in html
    assert "https://" not in html
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & {
        tag for tag, _ in page.elements
    }
    assert not re.search(r"@import|url\((?!#)", html)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for anchor in page.all("a"):
        target = anchor["href"] or ""
        if target.startswith("#"):
            assert target[1:] in ids
        else:
            assert (pages[kind].parent / target).is_file(), target


@pytest.mark.parametrize("kind", ["full", "partial", "steps", "depths", "search", "sweep"])
def test_rendering_again_gives_the_same_bytes(pages, kind):
    folder = pages[kind].parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    render(folder.parent)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_numbers_of_the_main_table(pages):
    results = read(pages["full"].parent.parent)
    rows = parsed(pages["full"]).rows
    row = next(r for r in rows if r and r[0].startswith("BERT-of-Theseus 6L"))
    values = [run.score("last") for run in results.of("rte", "theseus")]
    mean = sum(values) / 3
    sd = (sum((v - mean) ** 2 for v in values) / 2) ** 0.5
    assert row[3] == f"{mean:.1f}±{sd:.1f}68.2paper"
    heads = next(r for r in rows if r[:1] == ["Arm"])
    assert heads == ["Arm", "CoLA", "MRPC", "RTE", "SST-2", "Macro"]


def test_differences_are_on_the_page(pages):
    results = read(pages["full"].parent.parent)
    found = Differences(Estimator(Cells.of(results))).of(MACRO, "theseus", "kd")
    row = next(r for r in parsed(pages["full"]).rows if r[0] == "Vanilla KD" and len(r) == 7 and "to" in r[1])
    assert row[5].startswith(f"+{found.mean:.1f}")
    assert row[6] == f"{found.detectable:.1f}"


def row_of(page: Page, *start: str) -> list[str]:
    """The first table row whose first cell starts so; a second text must be in one of its cells."""
    return next(
        row for row in page.rows if row and row[0].startswith(start[0]) and all(any(t in c for c in row) for t in start)
    )


def test_steps_are_drawn_and_tabled(pages):
    page, results = parsed(pages["steps"]), read(pages["steps"].parent.parent)
    found = Differences(Estimator(Cells.of(results))).of(MACRO, "theseus", "theseus-freeze")
    row = row_of(page, "+ curriculum", "3 seeds")
    assert row[2] == f"+{found.mean:.1f}"
    assert row[3] == f"+{found.low:.1f} to +{found.high:.1f}"
    assert row[4] == "3 seeds"
    assert row[5].startswith("above (p 0.0") or row[5].startswith("not separated (p 0.0")
    assert row[5].endswith(", Holm over 5)")  # the four steps and the whole
    assert row_of(page, "Last step against the first")[4] == "3 seeds"
    assert 'id="fig-steps-t"' in pages["steps"].read_text(encoding="utf-8")
    assert "KD, same start" not in [r[0] for r in page.rows if len(r) == 6 and r[4] == "3 seeds"]
    assert "Step by step" not in parsed(pages["full"]).text


def test_a_search_says_what_it_chose_and_how_unequal_it_was(pages):
    page, html = parsed(pages["search"]), pages["search"].read_text(encoding="utf-8")
    said = "Arms had unequal search budgets"
    assert html.index(said) < html.index("<main>") < html.rindex(said)
    assert "Fine-tuning 2, Vanilla KD 4, BERT-of-Theseus 6" in page.text
    assert row_of(page, "Vanilla KD", "learning rate")[1] == "4"
    assert "10 % of train, set aside, chooses instead" in page.text
    heads = row_of(page, "Arm", "Worth of")
    assert heads[-2:] == ["Best on held-out", "Worth ofchoosing on dev"]
    assert "CoLA, Vanilla KD: trial 1 seed 2 diverged" in page.text
    assert "RTE, BERT-of-Theseus: trial 4 seed 1 not run yet" in page.text
    for other in ("full", "minilm"):
        text = parsed(pages[other]).text
        assert said not in text
        assert "Worth of" not in text
        assert "What the search chose" not in text


def test_depths_stand_with_their_speed_up_beside_table_seven(pages):
    page = parsed(pages["depths"])
    assert "Dev scores, beside Table 7 of the paper" in page.text
    rows = {row[0]: row for row in page.rows if row[-1].endswith("paper")}
    assert [row[-1] for row in rows.values()] == [
        "1.00×1.00×paper",
        *["1.97×1.94×paper"] * 2,
        *["2.96×2.82×paper"] * 2,
        *["3.94×3.66×paper"] * 2,
    ]
    four = rows["BERT-of-Theseus, 4 layers 4L"]
    assert [cell[-9:] for cell in four[1:5]] == ["41.3paper", "87.5paper", "61.9paper", "89.1paper"]
    assert "BERT-of-Theseus, 4 layers − Fine-tuning, 4 layers" in [row[0] for row in page.rows]
    assert "BERT-of-Theseus, 6 layers − Fine-tuning, 4 layers" not in [row[0] for row in page.rows]


def test_modules_show_the_change_from_the_predecessor(pages):
    page, results = parsed(pages["modules"]), read(pages["modules"].parent.parent)
    found = Differences(Estimator(Cells.of(results))).of("qnli", "theseus-module-1", "predecessor")
    row = row_of(page, "Module 1 replaced", "−3.37 paper")
    assert row[2].strip().startswith(f"−{-found.mean:.1f}")
    assert row[4].endswith("−2.31 paper")  # the mean of −3.37, −2.65 and −0.90
    assert "88.50" in row_of(page, "Module 1 replaced", "88.50")[2]


def test_a_sweep_draws_a_line_per_group(pages):
    html = pages["sweep"].read_text(encoding="utf-8")
    assert "Score against replacing rate" in html
    assert re.findall(r'id="fig-sweep-(\w+)-t"', html) == ["mrpc", "rte", "macro"]
    assert "learning rate 2e-5: " in html


def test_the_preview_folder_of_before_still_renders(tmp_path):
    page = parsed(render(ROOT / "results" / "minilm-preview", tmp_path))
    assert "GLUE with MiniLM-L6" in page.text


def test_synthetic_suites_say_so_everywhere_and_show_no_paper(pages):
    html = pages["synthetic"].read_text(encoding="utf-8")
    assert re.search(r"<title>[^<]*synthetic language, not GLUE[^<]*</title>", html)
    assert re.search(r"<h1>[^<]*synthetic language, not GLUE[^<]*</h1>", html)
    page = parsed(pages["synthetic"])
    for number in ("51.1", "68.2", "1.94", "98.4"):
        assert not any(number in cell for row in page.rows for cell in row)
    assert "The paper prints" not in page.text
    assert "hollow diamond" not in page.text.lower()


def test_papers_numbers_stand_apart_when_not_comparable(pages):
    html = pages["minilm"].read_text(encoding="utf-8")
    before, after = html.split("What the paper prints, for orientation only")
    assert MINILM["comparison"][:40] in after
    assert ">51.1<" not in before
    assert ">51.1<" in after


def test_gaps_are_explicit(pages):
    text = parsed(pages["partial"]).text
    assert "The grid has gaps." in text
    assert "46 of 52 planned runs" in text
    assert "2 of 3 seeds, 1 diverged" in text
    assert "2 of 3 seeds, 1 failed" in text
    assert "0 of 3 seeds" in text
    assert "undecided" in text
    assert "48 of 48 runs come from a tree with uncommitted changes" in text
    assert "RTE, BERT-PKD: seed 1 failed (loss became nan at step 41)" in text
    assert "The grid has gaps." not in parsed(pages["full"]).text


def test_one_seed_one_task_without_timing(pages):
    page = parsed(pages["single"])
    assert "Inference was not timed" in page.text
    assert "no interval" in page.text
    assert "Macro" not in page.text.replace("In macro", "")


def test_every_run_is_listed_with_its_files(pages):
    page = parsed(pages["partial"])
    links = [a["href"] or "" for a in page.all("a")]
    assert sum(link.endswith("/config.json") for link in links) == 48
    assert sum(link.endswith("/manifest.json") for link in links) == 48
    results = read(pages["partial"].parent.parent)
    assert all(run.run_id in page.text for run in results.runs)


@pytest.mark.parametrize(
    "options",
    [
        {"arms": ("theseus",)},
        {"arms": ("predecessor",)},
        {"arms": ("kd", "pkd")},
        {"outcomes": {("rte", arm, 1): "missing" for arm in ("predecessor", "kd", "theseus")}},
        {"outcomes": {("rte", arm, 1): "failed" for arm in ("predecessor", "kd", "theseus")}},
        {"suite": {"protocol": "selected", "statistic": "median", "predecessor_per_seed": True}},
        {"suite": {"encoder": {"layers": 12}, "description": "", "comparison": ""}},
        {"manifest": {"packages": None, "device": None, "device_name": None, "started": None}},
    ],
)
def test_odd_suites_still_render(tmp_path, options):
    base = {"tasks": ("rte",), "arms": ("predecessor", "kd", "theseus"), "seeds": (1,)}
    parsed(render(make_results(tmp_path, **(base | options))))


def test_hostile_text_is_escaped(tmp_path):
    bad = "<script>alert(1)</script>\"'&{{7*7}}"
    root = make_results(
        tmp_path,
        tasks=("rte",),
        arms=("kd", "theseus"),
        seeds=(1, 2),
        suite={"title": bad, "description": bad, "comparison": bad, "encoder": {"name": bad, "layers": 12}},
        arm_changes={"kd": {"title": bad, "published": bad}},
        manifest={"device_name": bad, "packages": {bad: bad}, "determinism_probe": {bad: bad}},
        outcomes={("rte", "kd", 2): "failed"},
    )
    suite = json.loads((root / "suite.json").read_text())
    suite["tasks"][0] |= {"title": bad, "notes": [bad], "score": bad}
    (root / "suite.json").write_text(json.dumps(suite))
    speed = json.loads((root / "speed.json").read_text())
    speed["conditions"][0] |= {"device_name": bad, "precision": bad, "threads": bad, "ratio": bad, "rounds": bad}
    (root / "speed.json").write_text(json.dumps(speed))
    path = next(root.glob("rte/kd/seed-2-*/result.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"reason": bad}))
    html = render(root).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "{{7*7}}" in html
    Page(html)


@pytest.mark.parametrize("name", ["../kd", "<script>", "kd/..", ""])
def test_hostile_names_are_refused(tmp_path, name):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,))
    suite = json.loads((root / "suite.json").read_text())
    for place in (suite["arms"][0], suite["tasks"][0], suite["runs"][0]):
        document = json.loads(json.dumps(suite))
        place_again = {"arms": document["arms"], "tasks": document["tasks"], "runs": document["runs"]}
        key = next(k for k in place_again if suite[k][0] is place)
        place_again[key][0]["name" if key != "runs" else "run_id"] = name
        (root / "suite.json").write_text(json.dumps(document))
        with pytest.raises(ReportError, match="not a plain name"):
            render(root)


def test_an_output_that_cannot_be_written_is_one_line(tmp_path):
    root = make_results(tmp_path / "r", tasks=("rte",), arms=("kd",), seeds=(1,))
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="give another --output"):
        render(root, tmp_path / "file" / "report")


WITHOUT_TORCH = """
import sys
BLOCKED = {"torch", "transformers", "datasets", "evaluate", "theseus", "baselines", "benchmarks", "sklearn"}
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is not for reports")
sys.meta_path.insert(0, Blocked())
from pathlib import Path
from reports import export, render
print(render(Path(sys.argv[1])))
assert export(Path(sys.argv[1]), "parquet")[:4] == b"PAR1"
assert not BLOCKED & set(sys.modules)
"""


def test_a_page_is_rendered_where_torch_cannot_be_imported(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), seeds=(1, 2))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(root)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()


def test_verdicts_stand_after_the_answer_with_n_and_family(pages):
    page = parsed(pages["full"])
    assert (
        page.text.index("The answer")
        < page.text.index("Verdicts on the paper's claims")
        < page.text.index("Dev scores")
    )
    row = next(
        row for row in page.rows if row[0].startswith("Averaged over the eight dev tasks, Theseus scores above v")
    )
    assert row[5] == "3 seeds"
    assert "Holm over 3" in row[6]
    assert "undecidable at this n" in row[7]
    assert "over seeds only: no predictions are stored" in page.text
    assert any(a["href"] == "verdicts.csv" for a in page.all("a"))


def test_a_made_up_language_is_labelled_in_every_verdict(pages):
    page = parsed(pages["synthetic"])
    judged = [row for row in page.rows if row[0].startswith("Averaged over the eight dev tasks")]
    assert judged
    assert all("a synthetic language, not GLUE" in row[1] for row in judged)


@pytest.fixture(scope="module")
def predicted(tmp_path_factory) -> Path:
    return render(make_results(tmp_path_factory.mktemp("predicted"), **KINDS["predictions"]))


def test_predictions_bring_joint_intervals_loyalty_and_flips(predicted):
    page = parsed(predicted)
    assert "interval over seeds and dev examples" in page.text
    assert "seeds only" not in page.text
    assert "Probability loyalty, %" in page.text
    assert "Answers that change" in page.text
    names = sorted(path.name for path in predicted.parent.iterdir())
    assert names == [
        "across_tasks.csv", "failures.csv", "flips.csv", "report.html", "reproducibility.md", "table.csv", "table.tex",
        "verdicts.csv",
    ]  # fmt: skip
    again = render(predicted.parent.parent, predicted.parent.parent / "again")
    assert again.with_name("flips.csv").read_bytes() == predicted.with_name("flips.csv").read_bytes()
    assert again.with_name("verdicts.csv").read_bytes() == predicted.with_name("verdicts.csv").read_bytes()


def test_a_cell_without_predictions_is_marked(tmp_path):
    root = make_results(tmp_path, tasks=("rte", "cola"), seeds=(1, 2, 3), predictions=True)
    next(root.glob("rte/kd/seed-2-*/predictions.parquet")).unlink()
    text = parsed(render(root)).text
    assert "seeds only" in text
    assert "lack predictions and have Student's t over seeds" in text


def test_predictions_that_do_not_give_the_score_are_one_line(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), predictions=True)
    path = next(root.glob("rte/kd/*/result.json"))
    result = json.loads(path.read_text())
    result["last"]["score"] += 1
    path.write_text(json.dumps(result))
    with pytest.raises(ReportError, match=r"predictions\.parquet: give a score of"):
        render(root)
