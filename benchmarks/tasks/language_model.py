"""What masked and causal language models share: text in chunks of words, a loss over the vocabulary, and perplexity.

The rows of such a task are chunks of text. A user's text is cut into chunks of equally many words when it is converted,
so that the number of rows is known before any tokenizer is. A chunk is one example, cut at `max_length` tokens.

Columns: the text, `label` (always 0: the labels are tokens of the text), `idx`.

Logits over a vocabulary are too large to keep: a token of BERT has 30,522. So an evaluation keeps two numbers a token,
the surprise of the right token in nats and the predicted token, and the predecessor runs in every step of its pupil.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from baselines.method import Batch
from baselines.parts.losses import distillation_loss, full_precision
from benchmarks.base.errors import SuiteError
from benchmarks.tasks.kind import Logits, Summed
from benchmarks.tasks.own.checks import check_texts
from benchmarks.tasks.own.files import Rows
from benchmarks.tasks.own.labels import Labels
from benchmarks.tasks.settings import OwnData
from benchmarks.tasks.table import Score, Task
from benchmarks.tasks.tokens import IGNORED, Tokens
from results.format.documents.run import Answered

WORDS_A_TOKEN = 0.7  # of English text, roughly, under vocabularies of 30,000 pieces or more
MOST = 700.0  # nats; beyond it a perplexity is not a finite number


class LanguageModel(Summed):
    """Tokens are predicted over the vocabulary. `scores`: the name of the score."""

    per_token = True
    live = True
    at_once = 8
    chunked = True
    keeps_head = True
    converts_by = frozenset({"max_length"})
    scores: Score

    def config(self, task: Task) -> dict[str, Any]:
        return {}

    def units(self, labels: torch.Tensor) -> int:
        return int((labels != IGNORED).sum())

    def loss(self, output: Any, batch: Batch) -> torch.Tensor:
        scored = batch.labels != IGNORED
        return F.cross_entropy(full_precision(output.logits[scored]), batch.labels[scored])

    def taught(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return logits[labels != IGNORED]

    def distance(self, output: Any, batch: Batch, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """T^2 * KL, the mean over the scored tokens."""
        return distillation_loss(self.taught(output.logits, batch.labels), teacher, temperature)

    def reduced(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(tokens, 2): nats of the right token, and the predicted token; 0 and -1 where nothing is scored."""
        labels = labels.to(logits.device)
        scored = labels != IGNORED
        own = full_precision(logits[scored])
        found = torch.tensor([0.0, -1.0], device=logits.device).repeat(len(logits), 1)
        nats = F.cross_entropy(own, labels[scored], reduction="none")
        found[scored] = torch.stack([nats, own.argmax(1)], dim=1).float()
        return found

    def check_settings(self, own: OwnData) -> None:
        if own.score not in (None, self.scores):
            raise ValueError(f"score = {own.score} is not of language models: leave it out")
        if len(own.columns) != 1 or own.scale or own.labels:
            raise ValueError("a language model takes one column with the text, and neither scale nor labels")

    def unfolded(self, own: OwnData, rows: Rows) -> Rows:
        """Each text in chunks of nearly equal length, at most `own.words` words; white space becomes one space. A text
        without words has no chunk, and the other columns are repeated."""
        (column,) = own.columns
        most = own.words or max(1, round(WORDS_A_TOKEN * own.max_length))
        chunks = [(row, chunk) for row, text in enumerate(rows.column(column)) for chunk in _chunks(text, most)]
        if not chunks:
            raise SuiteError(f"{rows.place}: column {column!r} has no words")
        origins = [row for row, _ in chunks]
        columns = {name: [values[row] for row in origins] for name, values in rows.columns.items()}
        columns[column] = [chunk for _, chunk in chunks]
        return Rows(rows.place, columns, [rows.numbers[row] for row in origins], rows.unit)

    def find_labels(self, own: OwnData, train: Rows) -> Labels:
        return Labels(own.task_kind, self.scores)

    def converted(self, own: OwnData, labels: Labels, rows: Rows) -> dict[str, pa.Array]:
        check_texts(own, rows)
        (column,) = own.columns
        texts = pa.array(rows.columns[column], pa.string())
        return {column: texts, "label": pa.array(np.zeros(len(rows), dtype=np.int64))}

    def check(self, place: str, task: Task, rows: Any) -> None:
        text = rows.data[task.columns[0]]
        if len(task.columns) != 1 or not (pa.types.is_string(text.type) or pa.types.is_large_string(text.type)):
            raise SuiteError(f"{place}: a language model needs one column of text, not {text.type}")
        if text.null_count:
            raise SuiteError(f"{place}: column {task.columns[0]!r} has missing text")
        if task.score != self.scores:
            raise SuiteError(f"{place}: {task.score} is not the score of this kind of task, which is {self.scores}")

    def made_up_labels(self, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(0, 2, (int(lengths.sum()),), generator=generator)

    def outputs(self, task: Task) -> int:
        return 2

    @abstractmethod
    def beside(self, task: Task, logits: Logits, tokens: Tokens) -> dict[str, float]:
        """Metrics beside the score."""

    def measured(self, task: Task, logits: Logits, tokens: Tokens) -> tuple[dict[str, float], bool]:
        own, constant = super().measured(task, logits, tokens)
        return own | self.beside(task, logits, tokens), constant

    def is_constant(self, logits: Logits) -> bool:
        answers = logits[logits[:, 1] >= 0, 1]
        return bool((answers == answers[0]).all())

    def predictions(self, task: Task, logits: Logits, tokens: Tokens) -> Answered:
        """Of each example the nats of its scored tokens. Labels and answers are as long as the text: left out."""
        none = [np.zeros(0, dtype=np.int64)] * len(tokens)
        counts = np.cumsum(per_example(tokens, tokens.labels.numpy() != IGNORED))[:-1].astype(int)
        return Answered(
            label=none,
            prediction=none,
            logits=np.split(tokens.scored(logits)[:, 0], counts),
            sums=list(self.sums(task, logits, tokens)),
        )


def per_example(tokens: Tokens, values: NDArray[Any]) -> NDArray[np.float64]:
    """The sums (examples,) of `values` (tokens,)."""
    sums: NDArray[np.float64] = np.add.reduceat(values.astype(np.float64), tokens.offsets[:-1].numpy())
    return sums


def label_counts(dev: Tokens) -> NDArray[np.float64]:
    """How often each token of the vocabulary is the right one."""
    return torch.bincount(dev.labels[dev.labels != IGNORED]).numpy().astype(np.float64)


def perplexity(nats: float, count: float) -> float:
    """exp(nats / count), a finite number."""
    return math.exp(min(nats / max(count, 1.0), MOST))


def _chunks(text: Any, most: int) -> list[Any]:
    """A text in as few chunks as possible, which differ by one word at most. What is not text is left as it is."""
    if not isinstance(text, str):
        return [text]
    words = text.split()
    bounds = np.linspace(0, len(words), -(-len(words) // most) + 1).round().astype(int)
    return [" ".join(words[start:end]) for start, end in pairwise(bounds)]


def refuse_empty(task: Task, idx: NDArray[np.int64], empty: NDArray[np.bool_]) -> None:
    """Raises `SuiteError` for an example without a token to predict: it has no loss."""
    if empty.any():
        row = int(np.flatnonzero(empty)[0])
        raise SuiteError(f"{task.name}: the text with idx {idx[row]} has no token to predict: remove it from the data")
