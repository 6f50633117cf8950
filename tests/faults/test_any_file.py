"""Whatever stands in a file that somebody else may have written: an answer or one line, no traceback, no hang.

Every reader of `readers.py` gets its file cut, with flipped bytes, in another encoding, deeply nested, with values of
other types and huge counts. A few fixed examples run in the fast tier, hundreds for each reader behind `slow`.
"""

from __future__ import annotations

import io
import json
import re
import resource
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import strategies as st

from benchmarks.base.errors import ROOT
from results.format.errors import UserError
from tests.faults import corpus
from tests.faults.fuzz import JSON, fuzz, places, put
from tests.faults.readers import COVERED, OURS, OWN, PARSERS, Reader, readers

SECONDS, GROWTH = 5.0, 2**30  # of processor time for a file, and of memory
RAW = (
    b"", b"null", b"[]", b"{}", b'"x"', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"\x00" * 4096, b"1" * 10_000,
    corpus.deep(30_000).encode(), b'{"a":' * 30_000, b"PK\3\4" * 50, b"PAR1" * 50, (2**63 - 1).to_bytes(8, "little"),
    (100).to_bytes(8, "little") + b"{" * 100,
)  # fmt: skip
HUGE: tuple[Any, ...] = (
    10**400, 2**63, -1, 1e308, True, "x" * 100_000, [1] * 40_000, [[]] * 40_000, [-1, -1], [2**60, 0], [2**40] * 16,
    {str(i): i for i in range(20_000)}, {"a": {"a": {"a": {}}}},
)  # fmt: skip
VALUES = st.one_of(JSON, st.sampled_from(HUGE), st.sampled_from(corpus.ALL))
COLUMNS: tuple[Callable[[int], pa.Array], ...] = (
    lambda n: pa.nulls(n), lambda n: pa.array(["x"] * n), lambda n: pa.array([[["x"]]] * n),
    lambda n: pa.array([{"a": 1}] * n), lambda n: pa.array([float("nan")] * n), lambda n: pa.array([-(2**62)] * n),
    lambda n: pa.array([b"\xff"] * n), lambda n: pa.array([[0.0] * 100] * n), lambda n: pa.array(["y" * 70_000] * n),
)  # fmt: skip

CELLS = ("", "-1", "7", "nan", "1e400", "1" * 5_000, "9" * 30, "x" * 10**7, '"', "\x00", "entailment\r", "5.0000001")
QUOTED = ('""', '"a', 'a"b', '"a\nb"', "\u2028", "x" * 200_000)
TENSORS = (
    torch.ones(2), torch.ones(2, 2).T, torch.eye(2).to_sparse(), torch.empty(3, device="meta"), torch.ones(1, 1, 0),
    torch.ones(1).expand(2**12, 2**12), torch.ones(2, dtype=torch.complex64), "text", 3, None,
)  # fmt: skip


def dumped(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def plain(document: Any) -> Any:
    return document


def swapped(draw: st.DataObject, good: bytes, seal: Callable[[Any], Any]) -> bytes:
    """A JSON document with another value in one place, or with an entry of a list 5,000 times."""
    document = json.loads(good)
    found = places(document)
    place = draw.draw(st.sampled_from(found))
    owner = document
    for key in place[:-1]:
        owner = owner[key]
    if isinstance(owner, list) and draw.draw(st.booleans()):
        owner.extend([owner[place[-1]]] * 5_000)
    else:
        put(document, place, draw.draw(VALUES))
    return dumped(seal(document))


def column(draw: st.DataObject, good: bytes) -> bytes:
    """A parquet file in which a column is missing, doubled or of another type, or with each row many times."""
    table = pq.read_table(io.BytesIO(good))
    name = draw.draw(st.sampled_from(table.column_names))
    at = table.column_names.index(name)
    made = draw.draw(st.sampled_from(COLUMNS))(len(table))
    changed = draw.draw(
        st.sampled_from(
            (
                table.drop_columns([name]), table.set_column(at, name, made), table.append_column(name, table[name]),
                pa.concat_tables([table] * 20), table.slice(0, 0),
            )
        )
    )  # fmt: skip
    out = io.BytesIO()
    pq.write_table(changed, out)
    return out.getvalue()


def headed(draw: st.DataObject, good: bytes) -> bytes:
    """Weights with another header."""
    length = int.from_bytes(good[:8], "little")
    header = swapped(draw, good[8 : 8 + length], plain)
    return len(header).to_bytes(8, "little") + header + good[8 + length :]


def zipped(draw: st.DataObject, good: bytes) -> bytes:
    """A bundle with another value in one of its documents."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    name = draw.draw(st.sampled_from([name for name in files if name.endswith(".json")]))
    files[name] = swapped(draw, files[name], plain)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for one, content in files.items():
            archive.writestr(one, content)
    return out.getvalue()


def valued(draw: st.DataObject, good: bytes) -> bytes:
    """A suite file with another value behind a key."""
    lines = good.decode().splitlines()
    at = draw.draw(st.sampled_from([i for i, line in enumerate(lines) if " = " in line]))
    odd = ("[" * 200 + "]" * 200, "1" * 500, "1e400", "nan", "1979-05-27", '"' + "x" * 20_000 + '"', "{a = {a = {}}}")
    simple = st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=20), st.lists(st.integers()))
    value = draw.draw(st.one_of(st.sampled_from(odd), simple.map(json.dumps)))
    lines[at] = f"{lines[at].partition(' = ')[0]} = {value}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def celled(draw: st.DataObject, good: bytes) -> bytes:
    """Lines of cells in which a cell has another value, or a column or a line is missing or there many times."""
    mark = "," if "," in good.decode().splitlines()[0] else "\t"
    lines = [line.split(mark) for line in good.decode().splitlines()]
    row = draw.draw(st.sampled_from((0, 1, len(lines) - 1)))
    at = draw.draw(st.integers(0, len(lines[row]) - 1))
    how = draw.draw(st.integers(0, 3))
    if how == 0:
        lines[row][at] = draw.draw(st.sampled_from(CELLS + QUOTED) | st.sampled_from(corpus.ALL) | st.text(max_size=30))
    elif how == 1:
        times = draw.draw(st.sampled_from((0, 2, 1000)))
        lines = [[*cells[:at], *cells[at : at + 1] * times, *cells[at + 1 :]] for cells in lines]
    else:
        lines[row : row + 1] = [lines[row]] * draw.draw(st.sampled_from((0, 2, 100_000 if mark == "\t" else 5_000)))
    return "\n".join(map(mark.join, lines)).encode("utf-8", "surrogatepass")


def pickled(draw: st.DataObject, good: bytes) -> bytes:
    """Weights of the old kind with another value or name in one place."""
    document = {"a": torch.ones(3), "b": {"c": [torch.zeros(2)]}, "d": draw.draw(st.sampled_from(TENSORS))}
    put(document, draw.draw(st.sampled_from(places(document))), draw.draw(st.sampled_from(TENSORS) | JSON))
    kept = draw.draw(
        st.sampled_from((document, {"a": document["a"]}, {3: document["d"]}, {"d": document["d"]}, [good]))
    )
    out = io.BytesIO()
    torch.save(kept, out)
    return out.getvalue()


def structured(draw: st.DataObject, reader: Reader, good: bytes) -> bytes:
    """The file with damage of its own kind: still JSON, TOML, parquet, weights or an archive."""
    if reader.path.suffix == ".jsonl":
        first, _, rest = good.partition(b"\n")
        return swapped(draw, first, plain) + b"\n" + rest
    kinds = {".parquet": column, ".safetensors": headed, ".zip": zipped, ".toml": valued}
    kinds |= {".csv": celled, ".tsv": celled, ".txt": celled, ".bin": pickled}
    make = kinds.get(reader.path.suffix)
    return make(draw, good) if make else swapped(draw, good, reader.sealed)


def damaged(draw: st.DataObject, good: bytes) -> bytes:
    """The file cut, with other bytes, or replaced as a whole."""
    how = draw.draw(st.integers(0, 3))
    at = draw.draw(st.integers(0, max(0, len(good) - 1)))
    if how == 0:
        return draw.draw(st.sampled_from(RAW))
    if how == 1:
        return good[:at]
    piece = draw.draw(st.binary(min_size=1, max_size=8))
    return good[:at] + piece + good[at + (len(piece) if how == 2 else 0) :]


@pytest.fixture(scope="module")
def every(tmp_path_factory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("any"))


NAMES = [
    *(f"report {name}" for name in ("config.json", "manifest.json", "result.json", "metrics.jsonl")),
    *(f"report {name}" for name in ("predictions.parquet", "imported.json", "suite.json", "speed.json")),
    "accepted baseline", "bundle", "bundled weights", "plan result.json", "plan manifest.json", "plan config.json",
    "plan suite.json", "checkpoint.json", "checkpoint state", "cache index", "machine cache", "lease", "suite file",
    "encoder config.json", "encoder weights", "index of shards", "shard",
    "predecessor config.json", "predecessor weights", "data", *(f"own {name}" for name in OWN), "facts of own data",
    "tsv", "tsv of scores", "part of a split", "test split", "pickled weights", "fast tokenizer.json",
    "fast tokenizer_config.json", "slow vocab.txt", "pooling", "list of parts",
]  # fmt: skip
tried: Counter[str] = Counter()


def said_of(reader: Reader) -> str:
    """What the reader refuses the file with; empty where it reads it."""
    try:
        reader.read()
    except UserError as error:
        said = str(error)
        assert said.strip()
        assert len(said.splitlines()) == 1
        return said
    return ""


def verdict(reader: Reader) -> str:
    """`read` or `refused`, in one line, within the time and the memory."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for last in (False, True):  # once more where it was slow: Python may have cleaned up after earlier examples
        began = time.process_time()
        said = said_of(reader)
        if (took := time.process_time() - began) < SECONDS:
            break
        assert not last, took
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * unit < GROWTH
    assert not (said and reader.silent), said
    return "refused" if said else "read"


@pytest.mark.parametrize("examples", [3, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_any_file_is_read_or_refused_in_one_line(every: dict[str, Reader], name: str, examples: int) -> None:
    reader = every[name]
    good = reader.path.read_bytes()
    assert verdict(reader) == "read"

    def check(draw: st.DataObject, kind: bool) -> None:
        bad = structured(draw, reader, good) if kind else damaged(draw, good)
        reader.path.parent.mkdir(parents=True, exist_ok=True)
        reader.path.write_bytes(bad)
        tried[verdict(reader)] += 1

    try:
        fuzz(check, examples, draw=st.data(), kind=st.booleans())
    finally:
        reader.path.parent.mkdir(parents=True, exist_ok=True)
        reader.path.write_bytes(good)
        print(f"{name}: {dict(tried)} so far")


def page_headers(good: bytes) -> list[int]:
    """Where the bytes of a parquet file's page headers are: before each chunk's dictionary and first data page."""
    metadata = pq.read_metadata(io.BytesIO(good))
    chunks = [
        metadata.row_group(i).column(j) for i in range(metadata.num_row_groups) for j in range(metadata.num_columns)
    ]
    starts = {chunk.data_page_offset for chunk in chunks} | {chunk.dictionary_page_offset for chunk in chunks}
    return sorted({at + i for at in starts - {None} for i in range(40)} & set(range(len(good))))


@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["report predictions.parquet", "data", "part of a split", "test split"])
def test_parquet_whose_page_headers_lie_is_read_or_refused_in_one_line(every, name: str, step: int) -> None:
    """Sizes and counts in them are variable-length numbers, so each byte is set to small, large and endless ones."""
    reader = every[name]
    good = reader.path.read_bytes()
    cases = [(at, value) for at in page_headers(good) for value in (0, 0x7F, 0x80, 0xFF)]
    assert len(cases) > 400
    try:
        for at, value in cases[::step]:
            reader.path.write_bytes(good[:at] + bytes([value]) + good[at + 1 :])
            verdict(reader)
    finally:
        reader.path.write_bytes(good)


def test_the_list_is_of_every_reader(every: dict[str, Reader]) -> None:
    assert set(every) == set(NAMES)
    parsing = {
        path.relative_to(ROOT).as_posix()
        for package in ("theseus", "baselines", "benchmarks", "results", "reports")
        for path in (ROOT / package).rglob("*.py")
        if re.search(PARSERS, path.read_text(encoding="utf-8")) and "bench/" not in path.as_posix()
    }
    assert parsing == COVERED | set(OURS)
