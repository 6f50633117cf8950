"""Tokenised data, cached once for all workers of a results folder."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.base.code_hash import hash_of
from benchmarks.base.identity import packages
from benchmarks.models.loading import load_tokenizer
from benchmarks.models.source import EncoderSource
from benchmarks.runs.tensor_cache import stored
from benchmarks.tasks import kinds
from benchmarks.tasks.data import TRAIN, Source, load_splits
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.state import Create


@lru_cache(maxsize=8)
def tokenise(encoder: EncoderSource, source: Source, max_length: int, cache: Path | None = None) -> dict[str, Tokens]:
    """Train and dev splits of a task under the encoder's tokenizer, truncated to `max_length` tokens.

    `cache`: a folder that keeps them for all workers.
    """
    kind = kinds.find(source.task.kind)
    if encoder.random or cache is None:
        tokenizer = tokenizer_of(encoder)
        return {
            split: kind.encode(tokenizer, source.task, rows, max_length, train=split == TRAIN)
            for split, rows in load_splits(source).items()
        }
    key = tokens_key(encoder, source, max_length)
    arrays = stored(cache, "tokens", key, lambda create: _keep(tokenise(encoder, source, max_length), create)).arrays
    splits = sorted({name.rpartition("-")[0] for name in arrays})
    rows = load_splits(source) if kind.reads_rows else {}
    return {split: _kept(split, arrays, source.task.kind, rows.get(split)) for split in splits}


def tokens_key(encoder: EncoderSource, source: Source, max_length: int) -> dict[str, Any]:
    """Everything that a task's tokens depend on."""
    return {
        "encoder": encoder.hash,
        "data": source.fingerprint,
        "columns": source.task.columns,
        "length": max_length,
        "kind": source.task.kind,
        "regression": source.task.regression,
        **({} if source.task.scale is None else {"scale": source.task.scale}),
        "code": hash_of(kinds.module_of(source.task.kind), "benchmarks.models.loading:load_tokenizer"),
        "packages": packages(("tokenizers", "transformers")),
    }


_ARRAYS = ("ids", "types", "offsets", "labels", "idx", "spans", "words")


def _kept(split: str, arrays: dict[str, torch.Tensor], kind: str, rows: Any) -> Tokens:
    own: dict[str, Any] = {name: arrays.get(f"{split}-{name}") for name in _ARRAYS}
    return Tokens(**own, pad_id=int(arrays[f"{split}-pad_id"]), kind=kind, rows=rows)


def _keep(splits: dict[str, Tokens], create: Create) -> None:
    for split, tokens in splits.items():
        for name in _ARRAYS:
            values = getattr(tokens, name)
            if values is not None:
                create(f"{split}-{name}", tuple(values.shape), values.dtype).copy_(values)
        create(f"{split}-pad_id", (1,), torch.int64).fill_(tokens.pad_id)


def tokenizer_of(encoder: EncoderSource) -> Any:
    """The encoder's tokenizer; random weights get one that hashes words."""
    return WordHash(dict(encoder.shape)["vocab_size"]) if encoder.random else load_tokenizer(encoder)


class WordHash:
    """The tokenizer of a random encoder, for dry runs only: one id per word, [CLS] 1, [SEP] 2, which masks too."""

    is_fast = True  # it knows the place of each word in the text
    pad_token_id = 0
    cls_token_id, eos_token_id, mask_token_id, bos_token_id = 1, 2, 2, None
    all_special_ids = (0, 1, 2)
    unk_token = "[UNK]"

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def __len__(self) -> int:
        return self.vocabulary

    def __call__(
        self, *texts: Any, max_length: int | None = None, add_special_tokens: bool = True, **_: Any
    ) -> HashedWords:
        """`texts`: columns of texts, or of lists of words."""
        ids, types, places = [], [], []
        for parts in zip(*texts, strict=True):
            row, kind, spans = [1], [0], [(0, 0)]
            for segment, part in enumerate(parts):
                given = part.split() if isinstance(part, str) else part
                words = [3 + sum(word.encode()) % (self.vocabulary - 3) for word in given] + [2]
                row, kind = row + words, kind + [segment] * len(words)
                spans += [found.span() for found in re.finditer(r"\S+", part)] if isinstance(part, str) else []
                spans.append((0, 0))
            cut = slice(max_length) if add_special_tokens else slice(1, -1)
            ids.append(row[cut])
            types.append(kind[cut])
            places.append(spans)
        special = [[int(token < 3) for token in row] for row in ids]
        found = {"input_ids": ids, "token_type_ids": types, "offset_mapping": places, "special_tokens_mask": special}
        return HashedWords(found)


class HashedWords(dict[str, Any]):
    """What `WordHash` gives; of one text an example, `word_ids` knows the word of each token, and of texts
    `offset_mapping` its characters."""

    def sequence_ids(self, row: int) -> list[int | None]:
        """The text of each token of an example; None for [CLS] and [SEP]."""
        pairs = zip(self["input_ids"][row], self["token_type_ids"][row], strict=True)
        return [text if word > 2 else None for word, text in pairs]

    def word_ids(self, row: int) -> list[int | None]:
        """The word of each token of an example; None for [CLS] and [SEP]."""
        return [None, *range(len(self["input_ids"][row]) - 2), None]
