"""The paper's numbers and claims, read from results/published/ (its README says how far to trust a row).

    paper_score("BERT-of-Theseus", 6, "CoLA")             # 51.1
    paper_score("BERT-base", 12, "QNLI", table=5)         # 91.87, and 91.2 without `table`
    paper_macro("BERT-of-Theseus", 6, ["CoLA", "RTE"])

A cell that the paper does not print is None, never zero. A mean over tasks is None if one of them is None, because a
comparison needs the same tasks on both sides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from results.format.errors import ReportError

FOLDER = Path(__file__).resolve().parents[1] / "published"
TASKS = ("CoLA", "MNLI", "MRPC", "QNLI", "QQP", "RTE", "SST-2", "STS-B")
ROWS = (
    "BERT-base", "DistilBERT", "PD-BERT", "Fine-tuning", "Vanilla KD", "BERT-PKD", "LayerDrop",
    "Constant", "Anti-curriculum", "Curriculum", "BERT-of-Theseus (MNLI)", "BERT-of-Theseus",
)  # fmt: skip
ALIASES = {"Theseus": "BERT-of-Theseus"}
KINDS = ("order", "ratio", "value")
# Tables of one dev score per method and task, best known first. Tables 4 and 5 are from other experiments (other source
# of weights, other metrics) and are used only if a suite names them.
SCORE_TABLES = (2, 7, 6)


@cache
def published_tables(folder: Path = FOLDER) -> pd.DataFrame:
    """Every `table-*.csv` in one frame; `value` is NaN where the paper prints nothing."""
    files = sorted(folder.glob("table-*.csv"))
    if not files:
        raise ReportError(f"{folder}: no table-*.csv; restore results/published/ from the repository")
    texts = {name: "str" for name in ("method", "task", "metric", "split", "convention", "statistic", "source")}
    frames = [pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={"value": [""]}) for path in files]
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class OthersCell:
    """A row of reruns.csv: one score that others measured, as text (its README says what each column is)."""

    method: str
    start: str
    encoder: str
    layers: str
    task: str
    convention: str
    value: str
    seeds: str
    runs: str
    selection: str
    source: str


@cache
def published_reruns(folder: Path = FOLDER) -> tuple[OthersCell, ...]:
    """The rows of reruns.csv; raises `ReportError` without the file."""
    path = folder / "reruns.csv"
    if not path.is_file():
        raise ReportError(f"{path}: missing; restore results/published/ from the repository")
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    return tuple(OthersCell(*row) for row in rows.itertuples(index=False))


@cache
def claims(folder: Path = FOLDER) -> tuple[dict[str, Any], ...]:
    """The `[[claim]]` entries of claims.toml; raises `ReportError` if one lacks a required key."""
    path = folder / "claims.toml"
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["claim"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ReportError(f"{path}: not readable as claims ({error}); restore it from the repository") from None
    for entry in entries:
        absent = {"id", "sentence", "where", "kind", "metric", "arm", "tasks", "split"} - set(entry)
        if absent or entry.get("kind") not in KINDS:
            named = f"{path}: claim {entry.get('id')!r}"
            raise ReportError(f"{named} lacks {sorted(absent)} or has no known kind; correct it")
    return tuple(entries)


def row_name(name: str | None) -> str | None:
    """The name of a row as our tables spell it."""
    return None if name is None else ALIASES.get(name, name)


def score_tables(table: int | None) -> tuple[int, ...]:
    """The tables to search for a dev score: the one that the suite names, then the best known."""
    return SCORE_TABLES if table is None else (table, *(other for other in SCORE_TABLES if other != table))


def published_layers(method: str, layers: int | None, like_for_like: bool, table: int | None = None) -> int | None:
    """The depth of a method's row: the same depth for a comparison like for like, else that of 12 to 6 layers."""
    name = row_name(method)
    frame = published_tables()
    here = (frame["method"] == name) & frame["table"].isin(score_tables(table)) & (frame["metric"] == "score")
    depths = sorted(set(frame.loc[here, "layers"]))
    if like_for_like:
        return layers if layers in depths else None
    return 6 if 6 in depths else next(iter(depths), None)


def table_rows(table: int) -> tuple[tuple[str, int], ...]:
    """Method and depth of every row that a table prints dev scores for, in its order."""
    frame = published_tables()
    found = frame[(frame["table"] == table) & (frame["metric"] == "score")]
    return tuple(dict.fromkeys((str(m), int(n)) for m, n in zip(found["method"], found["layers"], strict=True)))


def paper_score(method: str | None, layers: int | None, task: str | None, table: int | None = None) -> float | None:
    """The printed dev score (0 to 100) of a row and column, or None."""
    return paper_cell(method, layers, task, table)[0]


def paper_cell(
    method: str | None, layers: int | None, task: str | None, table: int | None = None
) -> tuple[float | None, int | None]:
    """The same, with the number of the table that prints it."""
    if method is None or task is None or layers is None:
        return None, None
    frame = published_tables()
    wanted = (frame["method"] == row_name(method)) & (frame["layers"] == layers) & (frame["task"] == task)
    found = frame[wanted & (frame["metric"] == "score") & (frame["split"] == "dev")]
    for source in score_tables(table):
        values = found.loc[found["table"] == source, "value"].dropna()
        if len(values):
            return float(values.iloc[0]), source
    return None, None


def paper_macro(
    method: str | None, layers: int | None, tasks: Sequence[str | None], table: int | None = None
) -> float | None:
    """The paper's mean over exactly `tasks`: as printed for all eight, computed from the cells otherwise."""
    if set(tasks) == set(TASKS) and len(tasks) == len(TASKS):
        return paper_score(method, layers, "Macro", table)
    return _mean([paper_score(method, layers, task, table) for task in tasks])


def paper_change(method: str | None, tasks: Sequence[str | None]) -> float | None:
    """Table 5's printed change from the predecessor, averaged over `tasks`; None if one is missing."""
    frame = published_tables()
    found = frame[(frame["table"] == 5) & (frame["metric"] == "change") & (frame["method"] == method)]
    printed = dict(zip(found["task"], found["value"], strict=True))
    return _mean([printed.get(task) for task in tasks])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def paper_speed_up(layers: int | None) -> float | None:
    """The printed speed-up of a 12-layer predecessor's successor with `layers` layers (table 7), or None."""
    frame = published_tables()
    found = frame[(frame["metric"] == "speed-up") & (frame["layers"] == layers)]
    return float(found["value"].iloc[0]) if len(found) else None
