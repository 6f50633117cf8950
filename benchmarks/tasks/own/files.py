"""Read a user's data file: CSV, TSV, JSON lines or Parquet, or a split of a data set on the hub.

    rows = read_file(Path("train.csv"), "train.csv")
    rows.at(0)                                          # "train.csv: line 2", as a text editor counts

The standard library's readers are used for text, because they know the line of every row; pyarrow's do not. A file is
refused as a whole if a part of it cannot be read: nothing is guessed and no row is left out.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.base.errors import SuiteError, nearest
from results.format import limits
from results.format.untrusted import as_digest, no_key_twice, shown, text

if TYPE_CHECKING:  # it takes a second to import
    from datasets import Dataset

COLUMNS = 1_000
VALUES = 200_000_000  # of a Parquet file


@dataclass(frozen=True)
class Rows:
    """The rows of a file, by column. `numbers`: where each row begins, in `unit`s: "line", or "row" where the format
    has no lines. `classes`: names in id order of the columns for which the file itself has them; their values are
    names already."""

    place: str
    columns: dict[str, list[Any]]
    numbers: list[int]
    unit: str = "line"
    classes: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{self.place}: {self.unit} {self.numbers[row]:,}"

    def column(self, name: str) -> list[Any]:
        """The values of a column. Raises `SuiteError` if there is no such column."""
        if name not in self.columns:
            known = nearest(name, [text(known, 60) for known in self.columns])
            raise SuiteError(f"{self.place} has no column {shown(name)}: {known}")
        return self.columns[name]


@dataclass(frozen=True)
class Part:
    """The rows of a user's file that are one split: the `chosen` ones of `rows`, and their converted columns."""

    rows: Rows
    chosen: list[int]
    columns: dict[str, pa.Array]

    def at(self, place: int) -> str:
        """The place of the split's row number `place` in the file, for messages."""
        return self.rows.at(self.chosen[place])

    def texts(self, name: str) -> list[Any]:
        """The values of one of the file's columns, in the split's rows."""
        return [self.rows.columns[name][row] for row in self.chosen]


def is_unicode(value: str) -> bool:
    """Whether a text can be written: JSON can hold halves of surrogate pairs, which no encoding does."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_file(path: Path, place: str, digest: str | None = None) -> Rows:
    """The rows of a file, which messages call `place`. Raises `SuiteError` for a file that cannot be read as a whole,
    or whose sha256 is not `digest`."""
    if path.suffix.lower() not in READERS:
        raise SuiteError(f"{place}: data is read from {', '.join(READERS)} files: convert it to one of these")
    check_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SuiteError(f"{place} cannot be read ({error.strerror}): check its permissions") from None
    if digest is not None and as_digest(data) != digest:
        raise SuiteError(f"{place} was changed while it was read: start the command again")
    rows = READERS[path.suffix.lower()](data, place)
    if not len(rows):
        raise SuiteError(f"{place} has no rows")
    return rows


def check_file(path: Path) -> None:
    """Raises an error for a file that is missing, not a plain file, or too large."""
    if not path.is_file():
        raise SuiteError(f"{path} is missing or not a plain file: correct the path")
    limits.check_size(path, limits.DATA, "data file")


def _text(data: bytes, place: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SuiteError(f"{place} is UTF-16 text: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SuiteError(f"{place}: line {line:,} is not UTF-8 text: save the file as UTF-8") from None


def _delimited(delimiter: str) -> Callable[[bytes, str], Rows]:
    def read(data: bytes, place: str) -> Rows:
        csv.field_size_limit(limits.DATA)  # by default a field of 128 KiB is an error
        reader = csv.reader(io.StringIO(_text(data, place), newline=""), delimiter=delimiter, strict=True)
        try:
            header = _header(next(reader, []), place)
            found = list(_lines(reader, len(header), place))
        except csv.Error as error:
            raise SuiteError(
                f"{place}: line {reader.line_num:,}: {error}: a quotation mark around a field must be closed, and one "
                "inside it doubled"
            ) from None
        columns = zip(*(row for _, row in found), strict=True)
        return Rows(place, dict(zip(header, map(list, columns), strict=False)), [number for number, _ in found])

    return read


def _header(names: list[str], place: str) -> list[str]:
    if len(names) > COLUMNS:
        raise SuiteError(f"{place}: line 1 names {len(names):,} columns, and {COLUMNS:,} is the limit")
    for name in names:
        if names.count(name) > 1:
            raise SuiteError(f"{place}: line 1 names the column {shown(name)} twice: the first line must be a header")
    return names


def _lines(reader: Any, width: int, place: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each row begins, and its fields; a quoted field may go over several lines."""
    number = reader.line_num + 1
    for row in reader:
        if row and len(row) != width:
            raise SuiteError(f"{place}: line {number:,} has {len(row):,} fields, but the header has {width:,}")
        if row:  # not an empty line
            yield number, row
        number = reader.line_num + 1


def _json(data: bytes, place: str) -> Rows:
    """JSON lines, or a whole file of SQuAD's form, which is one object with a list of articles."""
    articles = _articles(_text(data, place))
    if articles is None:
        return _objects(data, place)
    try:
        found = [
            (asked.get("id"), asked["question"], part["context"], asked["answers"])
            for article in articles
            for part in article["paragraphs"]
            for asked in part["qas"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        why = f"looks like SQuAD's form, but its parts do not fit ({' '.join(str(error).split())[:100]})"
        raise SuiteError(f"{place} {why}: write one object a line") from None
    columns = {name: [row[at] for row in found] for at, name in enumerate(("id", "question", "context", "answers"))}
    return Rows(place, columns, list(range(1, len(found) + 1)), "question")


def _articles(text: str) -> list[Any] | None:
    """The articles of a file of SQuAD's form; None for JSON lines, of which the second makes the whole unreadable."""
    try:
        whole = json.loads(text, object_pairs_hook=no_key_twice)
    except (ValueError, RecursionError):
        return None
    articles = whole.get("data") if isinstance(whole, dict) else None
    squad = isinstance(articles, list) and all(isinstance(one, dict) and "paragraphs" in one for one in articles)
    return articles if squad and articles else None


def _objects(data: bytes, place: str) -> Rows:
    found: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(_text(data, place).split("\n"), 1):
        if line.strip():
            found.append((number, _object(line, f"{place}: line {number:,}")))
    names = list(dict.fromkeys(name for _, row in found for name in row))
    if len(names) > COLUMNS:
        raise SuiteError(f"{place}: the objects have {len(names):,} different keys, and {COLUMNS:,} is the limit")
    columns = {name: [row.get(name) for _, row in found] for name in names}
    return Rows(place, columns, [number for number, _ in found])


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=no_key_twice)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{where} is not JSON ({error}): write one object a line") from None
    if not isinstance(value, dict):
        raise SuiteError(f"{where} is not a JSON object: write one object a line")
    return value


def _parquet(data: bytes, place: str) -> Rows:
    from datasets import Dataset

    try:
        with pq.ParquetFile(io.BytesIO(data)) as file:
            _check_size(file.metadata, place)
            return of_dataset(Dataset(file.read()), place)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise SuiteError(f"{place} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def _check_size(metadata: Any, place: str) -> None:
    """Refuse, by its footer, a file that unpacks to far more than its size."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    values = sum(group.column(i).num_values for group in groups for i in range(group.num_columns))
    if values > VALUES or sum(group.total_byte_size for group in groups) > 2 * limits.DATA:
        raise SuiteError(f"{place}: it unpacks to more than {VALUES:,} values or {2 * limits.DATA:,} bytes: cut it")


def of_dataset(found: Dataset, place: str) -> Rows:
    """The rows of a `Dataset`. Class ids become the names that its features give them."""
    from datasets import ClassLabel

    columns = {name: found.data[name].to_pylist() for name in found.column_names}
    classes = {name: list(kind.names) for name, kind in found.features.items() if isinstance(kind, ClassLabel)}
    for name, names in classes.items():
        columns[name] = [names[i] if i is not None and 0 <= i < len(names) else i for i in columns[name]]
    return Rows(place, columns, list(range(1, len(found) + 1)), "row", classes)


READERS: dict[str, Callable[[bytes, str], Rows]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _objects,
    ".json": _json,
    ".parquet": _parquet,
}
