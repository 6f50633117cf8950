"""How alike two texts are, by the cosine of their vectors from a bi-encoder (Reimers and Gurevych 2019).

Rows: two text columns, `label` (a float score on the task's `scale`) and `idx`. The model reads each text by itself
(benchmarks/tasks/bi_encoder.py). It trains by the squared error of the cosine to the score scaled to 0 to 1, which is
the CosineSimilarityLoss of sentence-transformers. The task's score is Spearman's correlation of cosine and score.
Distillation compares the two vectors of each pair with the predecessor's (Reimers and Gurevych 2020), so the outputs
that are cached of a predecessor are vectors, and the cosine is computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
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
from benchmarks.tasks.bi_encoder import BiEncoder, Spans
from benchmarks.tasks.kind import Kind, Logits, check_text
from benchmarks.tasks.metrics import PearsonSpearman
from benchmarks.tasks.own.checks import check_texts
from benchmarks.tasks.own.files import Part, Rows
from benchmarks.tasks.own.labels import Labels, encoded, find_labels
from benchmarks.tasks.pooling import check_parts, pooling_of
from benchmarks.tasks.settings import REGRESSION, OwnData
from benchmarks.tasks.table import AT_CHANCE, CONSTANT, ONE_CLASS, Score, Scored, Task
from benchmarks.tasks.tokens import Tokens
from results.format.documents.run import Answered

SCORE: Score = "cosine_spearman"


class SentenceEmbeddings(Kind):
    """A score for each pair of texts, each of which the model reads alone."""

    model_class = "AutoModel"
    has_head = False
    separate = True

    def config(self, task: Task) -> dict[str, Any]:
        return {}

    def wrap(self, model: Any, folder: Path | None) -> Any:
        if folder is not None:
            check_parts(folder)
        return BiEncoder(model, "mean" if folder is None else pooling_of(folder))

    def width(self, task: Task, hidden_size: int) -> int:
        return 2 * hidden_size

    def logits(self, output: Any) -> torch.Tensor:
        """The vectors (batch, 2 * hidden) of both texts."""
        vectors: torch.Tensor = output.embeddings
        return vectors.flatten(1)

    def example_states(self, states: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Those of both texts, (batch, 2, hidden)."""
        return states[torch.arange(len(states), device=states.device)[:, None], Spans.of(inputs).starts]

    def loss(self, output: Any, batch: Batch) -> torch.Tensor:
        return F.mse_loss(full_precision(output.logits).squeeze(-1), batch.labels)

    def distance(self, output: Any, batch: Batch, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """The mean squared error of the vectors; there is no distribution to soften."""
        return F.mse_loss(full_precision(self.logits(output)), full_precision(teacher))

    def check(self, place: str, task: Task, rows: Any) -> None:
        if len(task.columns) != 2:
            raise SuiteError(f"{place}: the task has {len(task.columns)} text columns, but it compares two texts")
        check_text(place, task, rows)
        labels, (low, high) = rows.data["label"], _scale(task)
        if not pa.types.is_floating(labels.type):
            raise SuiteError(f"{place}: column 'label' is {labels.type}, but the task needs float scores")
        if labels.null_count or not pc.all(pc.is_finite(labels)).as_py():
            raise SuiteError(f"{place}: column 'label' has scores that are missing or not finite")
        least, most = (value.as_py() for value in pc.min_max(labels).values())
        if least < low or most > high:
            raise SuiteError(f"{place}: scores run from {least:g} to {most:g}, but the task's from {low:g} to {high:g}")

    def check_settings(self, own: OwnData) -> None:
        if own.score not in (None, SCORE):
            raise ValueError(f"score = {own.score} is not of vectors: take {SCORE}")
        if len(own.columns) != 2 or own.labels:
            raise ValueError("sentence-embeddings takes two columns of text and scores, and no labels")

    def find_labels(self, own: OwnData, train: Rows) -> Labels:
        found = find_labels(own.model_copy(update={"kind": REGRESSION}), train)
        return replace(found, kind=own.task_kind, score=SCORE)

    def converted(self, own: OwnData, labels: Labels, rows: Rows) -> dict[str, pa.Array]:
        check_texts(own, rows)
        values = pa.array(encoded(replace(labels, kind=REGRESSION), own.label, rows), pa.float32())
        return {name: pa.array(rows.columns[name], pa.string()) for name in own.columns} | {"label": values}

    def compared(self, own: OwnData, labels: Labels, train: Part, dev: Part) -> list[str]:
        low, high = labels.scale or (0.0, 1.0)
        for place, score in enumerate(dev.columns["label"].to_pylist()):
            if not np.float32(low) <= np.float32(score) <= np.float32(high):
                raise SuiteError(
                    f"{dev.at(place)}: score {score:g} lies outside those of the training data, {low:g} to {high:g}: "
                    "set scale = [lowest, highest]"
                )
        return []

    def encode(self, tokenizer: Any, task: Task, rows: Any, max_length: int, train: bool = False) -> Tokens:
        """Each text of a pair is cut at `max_length` tokens. A text without any token becomes one of padding."""
        low, high = _scale(task)
        texts = [rows.data[column].to_pylist() for column in task.columns]
        options = {"max_length": max_length, "truncation": True, "padding": False, "return_attention_mask": False}
        one, other = (tokenizer(column, **options)["input_ids"] for column in texts)
        pairs = [[text or [tokenizer.pad_token_id] for text in pair] for pair in zip(one, other, strict=True)]
        parts = torch.tensor([[len(text) for text in pair] for pair in pairs])
        labels = (rows.data["label"].to_numpy().astype(np.float64) - low) / (high - low)
        return Tokens(
            ids=torch.tensor([token for pair in pairs for text in pair for token in text], dtype=torch.int32),
            types=torch.tensor([0, 1], dtype=torch.uint8).repeat(len(pairs)).repeat_interleave(parts.flatten()),
            offsets=torch.cat([torch.zeros(1, dtype=torch.int64), parts.sum(1).cumsum(0)]),
            labels=torch.from_numpy(labels).float(),
            idx=torch.tensor(rows.data["idx"].to_pylist(), dtype=torch.int64),
            pad_id=tokenizer.pad_token_id,
            kind=task.kind,
        )

    def made_up_labels(self, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(len(lengths), generator=generator)

    def score(self, task: Task, logits: Mapping[str, Logits], dev: Mapping[str, Tokens]) -> Scored:
        if not logits or logits.keys() != dev.keys():
            raise ValueError(f"{task.name}: logits of {sorted(logits)} and {sorted(dev)} must be the same splits")
        values, flags = {}, []
        for split, found in logits.items():
            given, true = cosines(found), dev[split].labels.numpy()
            suffix = split.removeprefix("validation") if len(logits) > 1 else ""
            values[SCORE + suffix] = PearsonSpearman().compute(predictions=given, references=true)["spearman"]
            flags += [f"{CONSTANT} on {split}"] if np.ptp(given) == 0 else []
            flags += [f"{ONE_CLASS} of {split}"] if np.ptp(true) == 0 else []
        mean = 100.0 * float(np.mean(list(values.values())))
        return Scored(values, mean, flags + ([AT_CHANCE] if mean <= 0 else []))

    def predictions(self, task: Task, logits: Logits, tokens: Tokens) -> Answered:
        """Labels on the task's own scale. The vectors are not kept: they are as large as the model."""
        low, high = _scale(task)
        given = cosines(logits)
        return Answered(
            label=tokens.labels.numpy().astype(np.float64) * (high - low) + low,
            prediction=given.astype(np.float64),
            logits=list(given[:, None]),
        )


def _scale(task: Task) -> tuple[float, float]:
    if task.scale is None or not task.scale[0] < task.scale[1]:
        raise SuiteError(f"{task.name}: the task needs a scale, its lowest and its highest score, not {task.scale}")
    low, high = task.scale
    return float(np.float32(low)), float(np.float32(high))  # as the scores are stored


def cosines(values: NDArray[Any]) -> NDArray[np.float32]:
    """The cosine of each pair from its two vectors (examples, 2 * hidden); a column of cosines stays as it is. Raises
    `ValueError` for another shape."""
    if values.ndim != 2 or (values.shape[1] > 1 and values.shape[1] % 2):
        raise ValueError(f"vectors of pairs have the shape (examples, 2 * hidden), not {values.shape}")
    if values.shape[1] == 1:
        return values[:, 0].astype(np.float32)
    one, other = np.split(values.astype(np.float64), 2, axis=1)
    sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return ((one * other).sum(axis=1) / np.maximum(sizes, 1e-12)).astype(np.float32)


KIND = SentenceEmbeddings()
