"""Masked language modelling: hidden tokens of a text are predicted from both sides (Devlin et al. 2019, section 3.1).

15 % of an example's tokens are to be predicted, one at least; of these 80 % become the mask token, 10 % another token
and 10 % stay. A hash of the example's `idx` and the token's place decides, so that every arm, seed and epoch sees the
same masks. The score is the share of these tokens that are predicted right.
Columns: benchmarks/tasks/language_model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.base.errors import SuiteError
from benchmarks.tasks.kind import Logits
from benchmarks.tasks.language_model import LanguageModel, label_counts, per_example, perplexity, refuse_empty
from benchmarks.tasks.table import Task
from benchmarks.tasks.tokens import IGNORED, Tokens

SHARE, MASKED, KEPT = 0.15, 0.8, 0.9  # of the tokens; of those to be predicted, cumulated
SEED = 2020


class MaskedLM(LanguageModel):
    """Fixed masks, and the share of them that is filled in right."""

    model_class = "AutoModelForMaskedLM"
    scores = "masked_accuracy"

    def encode(self, tokenizer: Any, task: Task, rows: Any, max_length: int, train: bool = False) -> Tokens:
        if tokenizer.mask_token_id is None:
            raise SuiteError(f"{task.name}: the tokenizer has no mask token: take an encoder that has one")
        encoded = tokenizer(
            rows.data[task.columns[0]].to_pylist(), max_length=max_length, truncation=True,
            return_attention_mask=False, return_special_tokens_mask=True,
        )  # fmt: skip
        offsets = np.cumsum([0, *map(len, encoded["input_ids"])])
        true, special = (_flat(encoded[name]) for name in ("input_ids", "special_tokens_mask"))
        idx = np.asarray(rows.data["idx"].to_pylist(), dtype=np.int64)
        drawn = _drawn(idx, offsets)
        chosen = _chosen(task, idx, offsets, drawn[0], special == 1)
        ids = torch.from_numpy(_corrupted(tokenizer, true, chosen, drawn[1], drawn[2]))
        types = encoded.get("token_type_ids")
        return Tokens(
            ids=ids.int(),
            types=None if types is None else torch.from_numpy(_flat(types)).to(torch.uint8),
            offsets=torch.from_numpy(offsets),
            labels=torch.from_numpy(np.where(chosen, true, IGNORED)),
            idx=torch.from_numpy(idx),
            pad_id=tokenizer.pad_token_id,
            kind=task.kind,
        )

    def made_up_labels(self, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        labels = super().made_up_labels(lengths, generator)
        hidden = torch.rand(len(labels), generator=generator) >= SHARE
        hidden[lengths.cumsum(0) - lengths] = False
        return labels.masked_fill(hidden, IGNORED)

    def sums(self, task: Task, logits: Logits, tokens: Tokens) -> NDArray[np.float64]:
        labels = tokens.labels.numpy()
        right = (labels != IGNORED) & (logits[:, 1] == labels)
        return np.stack([per_example(tokens, right), per_example(tokens, labels != IGNORED)], axis=1)

    def beside(self, task: Task, logits: Logits, tokens: Tokens) -> dict[str, float]:
        nats = tokens.scored(logits)[:, 0].astype(np.float64)
        return {"perplexity": perplexity(nats.sum(), len(nats))}

    def constant(self, task: Task, dev: Mapping[str, Tokens]) -> float:
        """That of the most frequent token; each split has its own, which is a little kinder than one for all."""
        counts = [label_counts(tokens) for tokens in dev.values()]
        return 100.0 * float(np.mean([found.max() / found.sum() for found in counts]))


def _flat(rows: list[list[int]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(rows), dtype=np.int64)


def _drawn(idx: NDArray[np.int64], offsets: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Three numbers from 0 to 1 for each token, hashed from its example's `idx` and its place in it."""
    lengths = np.diff(offsets)
    places = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    key = np.repeat(_mixed(idx.astype(np.uint64) + np.uint64(SEED << 40)), lengths) + places.astype(np.uint64)
    found = []
    for _ in range(3):
        key = _mixed(key)
        found.append((key >> np.uint64(11)).astype(np.float64) * 2.0**-53)
    return found


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele et al. 2014); arithmetic is modulo 2^64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _chosen(
    task: Task, idx: NDArray[np.int64], offsets: NDArray[np.int64], drawn: NDArray[np.float64],
    special: NDArray[np.bool_],
) -> NDArray[np.bool_]:  # fmt: skip
    """Which tokens are to be predicted: those with a small number, and the smallest of each example."""
    drawn = np.where(special, 2.0, drawn)
    least = np.minimum.reduceat(drawn, offsets[:-1])
    refuse_empty(task, idx, least > 1.0)
    return (drawn < SHARE) | (drawn == np.repeat(least, np.diff(offsets)))


def _corrupted(
    tokenizer: Any, true: NDArray[np.int64], chosen: NDArray[np.bool_], how: NDArray[np.float64],
    other: NDArray[np.float64],
) -> NDArray[np.int64]:  # fmt: skip
    """The token ids that the model reads: the mask token, or a token drawn evenly from those that are not special."""
    ordinary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
    replaced = np.where(how < MASKED, tokenizer.mask_token_id, ordinary[(other * len(ordinary)).astype(int)])
    found: NDArray[np.int64] = np.where(chosen & ~((how >= MASKED) & (how < KEPT)), replaced, true)
    return found


KIND = MaskedLM()
