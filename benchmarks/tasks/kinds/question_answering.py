"""The answer to a question is a span of its context: SQuAD 1.1, and SQuAD 2.0, where a question may have no answer.

Rows: `question` and `context` (text), `label` (a list of answers; none if the context has no answer), `start` (a list
of the characters of the context at which they begin), `idx`. The score is SQuAD's F1 over words, with exact match
beside it (Rajpurkar et al. 2016, 2018).

A pair that is longer than `max_length` is cut into overlapping windows, each with the whole question. A dev question is
answered from all its windows. Training takes one window a row, so that a plan can count its steps: the first that holds
the first answer. A label is a token's: 1 for the first of the answer, 2 for the last, 3 for both, else 0. A window
without the answer has a 3 on its first token, [CLS] (Devlin et al. 2019, section 4.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from baselines.method import Batch
from baselines.parts.losses import full_precision
from benchmarks.base.errors import SuiteError
from benchmarks.tasks.kind import Logits, Summed, check_text, of_sums
from benchmarks.tasks.own.checks import check_outputs, check_texts
from benchmarks.tasks.own.files import Part, Rows
from benchmarks.tasks.own.labels import Labels
from benchmarks.tasks.settings import OwnData
from benchmarks.tasks.spans import Pair, Places, best_span, exact_match, f1, pairs, windows
from benchmarks.tasks.table import Task
from benchmarks.tasks.tokens import IGNORED, Tokens
from results.format.documents.run import Answered
from results.format.untrusted import shown

START, END = 1, 2  # bits of a label
MASKED = -1e9  # the logit of padding; finite, so that its share is 0 and its gradient is not nan
Answer = tuple[list[str], str]  # the true answers, and the predicted one


class QuestionAnswering(Summed):
    """A first and a last token for each question."""

    model_class = "AutoModelForQuestionAnswering"
    per_token = True
    classes = False
    reads_rows = True
    windows = True
    HEAD_WIDTH = 2  # the starts and the ends

    def config(self, task: Task) -> dict[str, Any]:
        return {"num_labels": self.outputs(task)}

    def outputs(self, task: Task) -> int:
        return self.HEAD_WIDTH

    def logits(self, output: Any) -> torch.Tensor:
        return torch.stack((output.start_logits, output.end_logits), dim=-1)

    def units(self, labels: torch.Tensor) -> int:
        return int((labels & START).sum())

    def loss(self, output: Any, batch: Batch) -> torch.Tensor:
        """The mean of the cross entropies of start and end, over an example's own tokens."""
        true = torch.stack((batch.labels & START, (batch.labels & END) // END), dim=-1)
        shares = _log_shares(full_precision(self.logits(output)), batch.labels != IGNORED)
        return -(shares * true).sum() / (2 * len(true))

    def distance(self, output: Any, batch: Batch, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """T^2 * KL over an example's own tokens, the mean of start and end."""
        own = batch.inputs["attention_mask"].bool()
        values = full_precision(self.logits(output))
        target = torch.zeros_like(values)
        target[own] = teacher.to(values.dtype)
        student, target = (_log_shares(side / temperature, own) for side in (values, target))
        return F.kl_div(student, target, reduction="sum", log_target=True) * temperature**2 / (2 * len(own))

    def check(self, place: str, task: Task, rows: Any) -> None:
        if "start" not in rows.column_names:
            raise SuiteError(f"{place} has no column 'start', the characters at which the answers begin")
        check_text(place, task, rows)
        for name, what in (("label", "answers"), ("start", "whole numbers")):
            column = rows.data[name].combine_chunks()
            fits = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
            if not fits or not _is_of(column.type.value_type, what):
                raise SuiteError(f"{place}: column {name!r} is {column.type}, but the task needs a list of {what}")
            if column.null_count or column.flatten().null_count:
                raise SuiteError(f"{place}: column {name!r} has missing values")
        columns = (rows.data[name].to_pylist() for name in (task.columns[1], "label", "start"))
        for row, (context, answers, starts) in enumerate(zip(*columns, strict=True)):
            _check_row(f"{place}: row {row}", context, answers, starts)

    def check_settings(self, own: OwnData) -> None:
        if own.score not in (None, "span_f1"):
            raise ValueError(f"score = {own.score} is not of answers: take span_f1")
        if len(own.columns) != 2 or own.labels or own.scale:
            raise ValueError('question-answering takes columns = ["question", "context"], and no labels or scale')

    def find_labels(self, own: OwnData, train: Rows) -> Labels:
        return Labels(own.task_kind, "span_f1")

    def converted(self, own: OwnData, labels: Labels, rows: Rows) -> dict[str, pa.Array]:
        check_texts(own, rows)
        answers, starts = [], []
        for row, (context, value) in enumerate(zip(rows.column(own.columns[1]), rows.column(own.label), strict=True)):
            texts, places = _stated(rows.at(row), own.label, value)
            _check_row(rows.at(row), context, texts, places)
            answers.append(texts)
            starts.append(places)
        return {name: pa.array(rows.columns[name], pa.string()) for name in own.columns} | {
            "label": pa.array(answers, pa.list_(pa.string())),
            "start": pa.array(starts, pa.list_(pa.int64())),
        }

    def compared(self, own: OwnData, labels: Labels, train: Part, dev: Part) -> list[str]:
        """About three characters make a token, and windows overlap by a half."""
        check_outputs(dev, sum(map(len, dev.columns[own.columns[1]].to_pylist())) // 3 * 2 * self.HEAD_WIDTH)
        return []

    def encode(self, tokenizer: Any, task: Task, rows: Any, max_length: int, train: bool = False) -> Tokens:
        if not tokenizer.is_fast:
            raise SuiteError(
                f"{task.name}: a slow tokenizer does not say where in the context its tokens are: save the model with "
                "a fast one (tokenizer.json)"
            )
        found: list[tuple[int, Pair, Places, Places]] = []
        numbers, answers, starts = (rows.data[name].to_pylist() for name in ("idx", "label", "start"))
        texts = (rows.data[column].to_pylist() for column in task.columns)
        for idx, pair, own, firsts in zip(numbers, pairs(tokenizer, *texts), answers, starts, strict=True):
            answer = pair.tokens_of(firsts[0], firsts[0] + len(own[0])) if own else np.array([], dtype=np.int64)
            cut = windows(task.name, pair, max_length)
            holding = [window for window in cut if len(answer) and np.isin(answer, window).all()]
            found += [(idx, pair, window, answer) for window in ([*holding, *cut][:1] if train else cut)]
        types = [pair.types[window] for _, pair, window, _ in found if pair.types is not None]
        return Tokens(
            ids=_joined((pair.ids[window] for _, pair, window, _ in found), torch.int32),
            types=_joined(types, torch.uint8) if types else None,
            offsets=torch.from_numpy(np.cumsum([0, *(len(window) for _, _, window, _ in found)])),
            labels=_joined((_labels(window, answer) for _, _, window, answer in found), torch.int32),
            idx=torch.tensor([idx for idx, *_ in found], dtype=torch.int64),
            pad_id=tokenizer.pad_token_id,
            kind=task.kind,
            spans=_joined((pair.spans[window] for _, pair, window, _ in found), torch.int32),
            rows=rows,
        )

    def made_up_labels(self, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        labels = torch.zeros(int(lengths.sum()), dtype=torch.int32)
        begin, end = lengths.cumsum(0) - lengths, lengths.cumsum(0)
        first = begin + (torch.rand(len(lengths), generator=generator) * lengths).long()
        labels[first] += START
        labels[first + (torch.rand(len(lengths), generator=generator) * (end - first)).long()] += END
        return labels

    def sums(self, task: Task, logits: Logits, tokens: Tokens) -> NDArray[np.float64]:
        return _sums(list(_answers(task, logits, tokens)))

    def measured(self, task: Task, logits: Logits, tokens: Tokens) -> tuple[dict[str, float], bool]:
        answers = list(_answers(task, logits, tokens))
        exact = float(np.mean([exact_match(true, given) for true, given in answers]))
        return {"span_f1": of_sums("span_f1", _sums(answers)), "exact_match": exact}, not any(a for _, a in answers)

    def constant(self, task: Task, dev: Mapping[str, Tokens]) -> float:
        """That of no answer to any question."""
        shares = [np.mean([exact_match(true, "") for true, _ in _questions(task, tokens)]) for tokens in dev.values()]
        return 100.0 * float(np.mean(shares))

    def predictions(self, task: Task, logits: Logits, tokens: Tokens) -> Answered:
        answers = list(_answers(task, logits, tokens))
        return Answered(
            label=[true for true, _ in answers],
            prediction=[given for _, given in answers],
            logits=[logits[cut[0].start : cut[-1].stop].ravel() for cut in _windows_of(tokens)],
            sums=list(_sums(answers)),
        )


def _log_shares(logits: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """The logarithms of each token's share (batch, length, 2) among its example's `own` tokens."""
    return logits.masked_fill(~own[..., None], MASKED).log_softmax(dim=1)


def _stated(place: str, column: str, value: Any) -> tuple[list[str], list[int]]:
    """The answers of a user's row, and where they begin; empty lists for no answer. Either form of SQuAD's is read: the
    hub's `{"text": [...], "answer_start": [...]}`, or a list of `{"text": ..., "answer_start": ...}`."""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        value = {name: [one.get(name) for one in value] for name in ("text", "answer_start")}
    texts, starts = (value.get("text"), value.get("answer_start")) if isinstance(value, dict) else (None, None)
    if not _all(texts, str) or not _all(starts, int):
        raise SuiteError(
            f"{place}: column {column!r} has {shown(value)}, not answers: write "
            '{"text": [...], "answer_start": [...]}'
        )
    return list(texts or ()), list(starts or ())


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(type(one) is kind for one in values)


def _is_of(kind: pa.DataType, what: str) -> bool:
    if what == "answers":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return bool(pa.types.is_integer(kind))


def _check_row(place: str, context: str, answers: list[str], starts: list[int]) -> None:
    if len(answers) != len(starts):
        raise SuiteError(f"{place} has {len(answers)} answers and {len(starts)} starts")
    for answer, start in zip(answers, starts, strict=True):
        if not answer.strip():
            raise SuiteError(f"{place} has an empty answer: a question without an answer has an empty list of answers")
        if start < 0 or not context.startswith(answer, start):
            there = context[max(0, start) :][: min(len(answer), 40)]
            raise SuiteError(f"{place}: at character {start} its context has {there!r}, not the answer {answer[:40]!r}")


def _labels(window: Places, answer: Places) -> Places:
    """The labels of a window's tokens; `answer`: the tokens of the answer, as indices into the pair."""
    held = np.flatnonzero(np.isin(window, answer))
    first, last = (held[0], held[-1]) if len(answer) and len(held) == len(answer) else (0, 0)
    labels = np.zeros(len(window), dtype=np.int64)
    labels[first] += START
    labels[last] += END
    return labels


def _joined(parts: Any, kind: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(list(parts))).to(kind)


def _windows_of(tokens: Tokens) -> list[list[slice]]:
    """The tokens of each window of each question."""
    bounds = tokens.offsets.tolist()
    found = [slice(start, end) for start, end in pairwise(bounds)]
    ends = torch.unique_consecutive(tokens.idx, return_counts=True)[1].cumsum(0).tolist()
    return [found[start:end] for start, end in pairwise([0, *ends])]


def _questions(task: Task, tokens: Tokens) -> Iterator[tuple[list[str], str]]:
    """The true answers and the context of each question."""
    table = tokens.rows.data
    places = {idx: row for row, idx in enumerate(table["idx"].to_pylist())}
    chosen = pa.array([places[idx] for idx in torch.unique_consecutive(tokens.idx).tolist()])
    columns = (table[name].take(chosen).to_pylist() for name in ("label", task.columns[1]))
    return zip(*columns, strict=True)


def _answers(task: Task, logits: Logits, tokens: Tokens) -> Iterator[Answer]:
    """The true and predicted answers of each question: the best span of its windows, or, in a split where a question
    may have no answer, none if the lowest [CLS] of its windows is above that (threshold 0, as in BERT's run_squad)."""
    assert tokens.spans is not None
    spans = tokens.spans.numpy()
    unanswerable = pc.min(pc.list_value_length(tokens.rows.data["label"])).as_py() == 0
    for cut, (true, context) in zip(_windows_of(tokens), _questions(task, tokens), strict=True):
        found = [best_span(logits[window], spans[window]) for window in cut]
        score, start, end = max(found, key=lambda one: one[0])
        nothing = min(float(logits[window.start].sum()) for window in cut)
        yield true, "" if unanswerable and nothing > score else context[start:end]


def _sums(answers: Sequence[Answer]) -> NDArray[np.float64]:
    return np.array([(f1(true, given), 1.0) for true, given in answers])


KIND = QuestionAnswering()
