"""Results folders from strangers: refused in one line or rendered as text; logs read to the last whole record."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from reports import ReportError, export, export_table, read, render
from reports.drift.baseline import load_baseline
from reports.drift.output import check, junit, lines, markdown
from reports.words import plain_cell
from results.format import limits
from results.format.documents.codec import from_json
from results.format.documents.run import Evaluation
from results.format.predictions import read_answers
from results.format.untrusted import parse, read_bytes, slug, text
from tests.faults import corpus
from tests.faults.fuzz import EXAMPLES, FEW_EXAMPLES, JSON, fuzz, places, put
from tests.report.make_results import make_results

SMALL: dict[str, Any] = {"tasks": ("rte", "cola"), "arms": ("predecessor", "kd", "theseus"), "seeds": (1, 2)}
# text that a stranger may choose freely, by the file it stands in
FREE = {
    "suite.json": [
        ("title",), ("description",), ("comparison",), ("encoder", "name"), ("encoder", "revision"), ("x_title",),
        ("tasks", 0, "title"), ("tasks", 0, "score"), ("tasks", 0, "published"), ("arms", 1, "title"),
        ("arms", 1, "published"), ("arms", 1, "group"), ("tasks", 0, "notes"), ("arms", 1, "trials"),
    ],
    "speed.json": [("conditions", 0, key) for key in ("device", "device_name", "precision", "attention", "threads")],
    "manifest.json": [("device_name",), ("platform",), ("code_commit",), ("started",), ("packages",), ("device",)],
    "result.json": [("reason",), ("last", "flags")],
}  # fmt: skip
LISTS = {"notes": lambda bad: [bad], "flags": lambda bad: [bad], "trials": lambda bad: [{"x": 1, bad: bad}],
         "packages": lambda bad: {bad: bad}, "device": lambda bad: {"device": bad, "precision": bad}}  # fmt: skip
INVISIBLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)


class Elements(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.values += [value for name, value in attrs if value and name in ("href", "src", "style", "xlink:href")]


def hurt(root: Path, bad: str) -> None:
    """Put one text into every place of a results folder that takes free text."""
    for name, found in FREE.items():
        path = next(root.rglob(f"kd/**/{name}"), root / name)
        document = json.loads(path.read_text(encoding="utf-8"))
        for place in found:
            value = LISTS[place[-1]](bad) if place[-1] in LISTS and name != "speed.json" else bad
            if name == "suite.json" and place[-1] == "trials":
                value = [*value]
            put_new(document, place, value)
        path.write_bytes(json.dumps(document).encode("utf-8", "surrogatepass"))


def put_new(tree: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        tree = tree[key]
    tree[place[-1]] = value


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Elements:
    """The elements that a page has when nobody means harm."""
    root = make_results(tmp_path_factory.mktemp("plain"), predictions=True, **SMALL)
    hurt(root, "plain")
    return Elements(render(root).read_text(encoding="utf-8"))


def check_page(page: Path, reference: Elements) -> None:
    html = page.read_text(encoding="utf-8")
    found = Elements(html)
    assert found.tags <= reference.tags
    assert found.attributes <= reference.attributes
    assert not [value for value in found.values if re.match(r"\s*(javascript|data|https?|//|file):?", value)]
    assert not INVISIBLE.search(html)
    assert len(html) < 3 * 2**20
    for path in page.parent.glob("*.csv"):
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            assert is_number(cell) or plain_cell(cell) == cell, (path.name, cell)


def is_number(cell: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+(e[+-]?[0-9]+)?", cell) is not None


def test_no_text_of_a_stranger_becomes_markup_formula_or_control(tmp_path, reference):
    """Into every place at once: a text that fits into a title, and the whole corpus, which is cut there."""
    short = corpus.FORMULAS[0][:6] + corpus.XSS[0] + corpus.CONTROLS[0] + corpus.MARKUP[0]
    for i, bad in enumerate((short, " ".join(corpus.ALL))):
        root = make_results(tmp_path / str(i), predictions=i == 0, **SMALL)
        hurt(root, bad)
        check_page(render(root), reference)


@pytest.mark.slow
@pytest.mark.parametrize("bad", corpus.ALL)
def test_each_text_of_the_corpus_alone(tmp_path, reference, bad):
    root = make_results(tmp_path, predictions=True, **SMALL)
    hurt(root, bad)
    check_page(render(root), reference)


def test_a_dollar_in_a_title_is_no_mathematics(tmp_path):
    """Figures would read $...$ as formulas, and one that makes none would end the report."""
    title = r"$\frac{$ $y$"
    root = make_results(tmp_path, tasks=("rte",), arms=("kd", "theseus"), arm_changes={"kd": {"title": title}})
    assert render(root).read_text(encoding="utf-8").count(title) > 5


def test_ten_megabytes_on_a_line_are_cut(tmp_path, reference):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), speed=False)
    suite = json.loads((root / "suite.json").read_text(encoding="utf-8"))
    suite |= {"title": corpus.long_line(), "description": corpus.long_line()}
    (root / "suite.json").write_text(json.dumps(suite), encoding="utf-8")
    check_page(render(root), reference)
    assert text(corpus.long_line()) == "[31m" + "A" * 295 + "…"


@EXAMPLES
def test_free_text_is_one_short_line_without_controls(examples):
    def verify(bad: str) -> None:
        shown = text(bad)
        assert len(shown) <= 300
        assert not INVISIBLE.search(shown)
        assert shown == text(shown)
        shown.encode("utf-8")

    fuzz(verify, examples, bad=st.one_of(st.text(), st.lists(st.sampled_from(corpus.ALL)).map("".join)))


@FEW_EXAMPLES
def test_any_text_anywhere_renders_as_text(examples, tmp_path_factory, reference):
    if examples < 100:
        examples = 2  # a page takes half a second

    def verify(bad: str) -> None:
        root = make_results(tmp_path_factory.mktemp("any"), tasks=("rte", "cola"), arms=("kd", "theseus"), seeds=(1,))
        hurt(root, bad)
        check_page(render(root), reference)

    pieces = st.lists(st.one_of(st.sampled_from(corpus.ALL), st.text(max_size=20)), min_size=1, max_size=8)
    fuzz(verify, examples, bad=pieces.map("".join))


@EXAMPLES
def test_any_value_in_any_file_is_refused_or_exported(examples, tmp_path_factory):
    """Whatever JSON stands where: `ReportError` in one line, or a table with the columns of the contract."""
    root = make_results(tmp_path_factory.mktemp("json"), tasks=("rte",), arms=("kd", "theseus"), seeds=(1, 2))
    files = [root / "suite.json", root / "speed.json", *next(root.glob("rte/kd/seed-1-*")).glob("*.json")]
    good = {path: path.read_bytes() for path in files}
    columns = list(export_table(root).columns)

    def verify(path: Path, draw: st.DataObject, value: object) -> None:
        document = json.loads(good[path])
        put(document, draw.draw(st.sampled_from(places(document))), value)
        path.write_bytes(json.dumps(document).encode("utf-8", "surrogatepass"))
        try:
            frame = export_table(root)
        except ReportError as error:
            said = str(error)
        else:
            assert list(frame.columns) == columns
            said = ""
        finally:
            path.write_bytes(good[path])
        assert "\n" not in said
        assert not INVISIBLE.search(said)

    fuzz(verify, examples, path=st.sampled_from(files), draw=st.data(), value=JSON)


@pytest.mark.slow
def test_any_value_in_any_file_is_refused_or_rendered(tmp_path_factory):
    """The same through the whole page."""
    root = make_results(tmp_path_factory.mktemp("json"), tasks=("rte",), arms=("kd", "theseus"), seeds=(1, 2))
    files = [root / "suite.json", root / "speed.json", *next(root.glob("rte/kd/seed-1-*")).glob("*.json")]
    good = {path: path.read_bytes() for path in files}

    def verify(path: Path, draw: st.DataObject, value: object) -> None:
        document = json.loads(good[path])
        put(document, draw.draw(st.sampled_from(places(document))), value)
        path.write_bytes(json.dumps(document).encode("utf-8", "surrogatepass"))
        try:
            render(root)
        except ReportError:
            pass
        finally:
            path.write_bytes(good[path])

    fuzz(verify, 300, path=st.sampled_from(files), draw=st.data(), value=JSON)


# JSON


@pytest.mark.parametrize(
    "bad",
    [
        b"{}" * 2, b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}', b'{"a": 1, "a": 2}', b'{"b": {"a": 1, "a": 1}}',
        b'{"a": ' + b"9" * 30 + b"}", b'{"a": ' + b"9" * 10_000 + b"}", corpus.deep().encode(),
        b'{"a": ' + corpus.deep(65).encode() + b"}", b'{"a": "\xff"}', b"\xef\xbb\xbf{}", b"", b"null",
    ],
    ids=lambda b: repr(b[:20]),
)  # fmt: skip
def test_json_that_two_readers_could_read_two_ways_is_refused(bad):
    with pytest.raises(ReportError) as caught:
        parse(bad, "here")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_json_as_deep_as_ours_ever_is_passes():
    assert parse(b'{"a": ' + corpus.deep(20).encode() + b"}", "here")


# Sizes


@pytest.mark.parametrize("name", [*limits.FILES, "report"])
def test_a_file_of_absurd_size_is_refused_unread(tmp_path, name):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), predictions=True)
    if name == "report":
        corpus.zeros(tmp_path / "baseline.json", 2**40)
        with pytest.raises(ReportError, match="larger than 64 MiB"):
            load_baseline(tmp_path / "baseline.json")
        return
    if name == "imported.json":
        path = next(root.glob("rte/kd/*")) / name
        corpus.zeros(path, 2**40)
        assert set(export_table(root).origin) == {"imported"}  # whatever is in it
        return
    corpus.zeros(next(root.rglob(name)), 2**40)
    with pytest.raises(ReportError, match="larger than"):
        read_answers(read(root), "last")


def test_a_line_of_absurd_length_is_refused(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,))
    path = next(root.rglob("metrics.jsonl"))
    path.write_text(json.dumps({"x": corpus.long_line()}) + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ReportError, match="line 1 is longer than 1 MiB"):
        read(root)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "suite.json")
    with pytest.raises(ReportError, match="is not a plain file"):
        read_bytes(tmp_path / "suite.json")
    with pytest.raises(ReportError, match=r"not a plain file|cannot be read"):
        read_bytes(Path("/dev/zero"))


def test_predictions_that_unpack_to_more_than_they_hold_are_refused(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,), predictions=True)
    path = next(root.rglob("predictions.parquet"))
    table = pq.read_table(path)
    pq.write_table(table, path, compression="zstd")
    with pytest.raises(ReportError, match="packed with ZSTD"):
        read_answers(read(root), "last")
    long = pa.array(["x" * 2**16] * len(table))  # one long word, repeated at no cost
    pq.write_table(table.set_column(table.schema.get_field_index("split"), "split", long), path)
    assert path.stat().st_size < 2**20
    with pytest.raises(ReportError, match="absurdly long"):
        read_answers(read(root), "last")


# Names


@EXAMPLES
def test_no_name_leads_out_of_a_folder(examples):
    def verify(name: str) -> None:
        try:
            found = slug(name, "here")
        except ReportError as error:
            said = str(error)
        else:
            assert (Path("root") / found).resolve().parent == Path("root").resolve()
            said = ""
        assert "\n" not in said

    fuzz(verify, examples, name=st.one_of(st.text(max_size=20), st.sampled_from(corpus.ALL), st.just("a" * 101)))


# Tails of metrics.jsonl


@EXAMPLES
def test_a_torn_log_is_read_to_its_last_whole_record_and_that_is_said(examples, tmp_path_factory):
    """Cut anywhere, with or without the zeros that a power cut leaves: whole records stay, in order."""
    root = make_results(tmp_path_factory.mktemp("torn"), tasks=("rte",), arms=("kd",), seeds=(1,))
    path = next(root.rglob("metrics.jsonl"))
    whole = path.read_bytes()
    records = [from_json(Evaluation, json.loads(line), str(path)) for line in whole.splitlines()]

    def verify(at: int, tail: bytes) -> None:
        path.write_bytes(whole[:at] + tail)
        results = read(root)
        kept = whole[:at].count(b"\n")
        assert list(results.runs[0].curve) == records[:kept]
        torn = (whole[:at] + tail).rpartition(b"\n")[2].strip(b"\n") or tail.strip(b"\n")
        said = [note for note in results.notes if "unfinished line" in note]
        assert bool(said) == bool(torn.strip())
        if said:
            assert f"after its {kept} whole record" in said[0]

    zeros = st.integers(1, 600).map(lambda count: b"\x00" * count)
    pieces = st.sampled_from([b'{"step": 65', b"\xff\xfe", b"nul", b"{", b'{"a": NaN}'])
    tails = st.one_of(st.just(b""), zeros, zeros.map(lambda found: found + b"\n"), pieces)
    fuzz(verify, examples, at=st.integers(0, len(whole)), tail=tails)


def test_a_damaged_record_in_the_middle_is_no_torn_tail(tmp_path):
    root = make_results(tmp_path, tasks=("rte",), arms=("kd",), seeds=(1,))
    path = next(root.rglob("metrics.jsonl"))
    first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(first + '{"step": 1\n' + "".join(rest), encoding="utf-8")
    with pytest.raises(ReportError, match="line 2: not readable"):
        read(root)


# Tables and other outputs


@pytest.mark.parametrize("formula", corpus.FORMULAS)
def test_a_cell_cannot_start_a_formula(formula):
    assert plain_cell(formula) == "'" + formula
    assert plain_cell(text(formula)).startswith("'")


@pytest.mark.parametrize("harmless", ["Vanilla KD", "", "a=b", "3", "·", "é", "'quoted", "1-2"])
def test_other_cells_stay_as_they_are(harmless):
    assert plain_cell(harmless) == harmless


def test_numbers_stay_numbers_in_every_export(tmp_path):
    root = make_results(tmp_path, tasks=("cola",), arms=("kd",), seeds=(1,), scores={("cola", "kd", 1): -4.0})
    rows = list(csv.DictReader(io.StringIO(export(root, "csv").decode())))
    assert float(rows[0]["score"]) == -4.0
    assert json.loads(export(root, "json"))[0]["score"] == -4.0


def test_drift_outputs_hold_no_markup_and_no_control(tmp_path):
    """Names in a baseline are slugs; what is free in a results folder comes out as text."""
    root = make_results(tmp_path / "r", **SMALL)
    hurt(root, " ".join(corpus.XSS + corpus.CONTROLS + corpus.MARKUP))
    found = check(read(root), tmp_path / "none.json")
    for said in ("\n".join(lines(found)), markdown(found), junit(found).decode()):
        assert not INVISIBLE.search(said)
        assert "<script" not in said
