"""Ask a tokenizer what it does to a task's text; `benchmarks.preflight.token_facts` calls this in another process."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from transformers import AutoConfig

from benchmarks.models.loading import folder_of, load_tokenizer
from benchmarks.models.source import EncoderSource
from benchmarks.tasks import kinds
from benchmarks.tasks.data import TRAIN, Source, load_splits, splits_of
from results.format.errors import UserError

LONGEST = 512  # texts of each split, by characters, among which the longest example is looked for
SAMPLED = 1024  # training examples whose lengths and unknown words are counted
AT_ONCE = 128
MOST_ADDED = 64  # special tokens of an example
Text = str | list[str]  # a list of words, where the kind of task labels words
NO_LIMIT = 10**9  # tokenizers without a length of their own say 1e30


def probed(encoder: EncoderSource, source: Source, seconds: int) -> dict[str, Any] | str:
    """The facts, or why there are none. The tokenizers library writes a backtrace for each thread that panics, so this
    process says nothing from now on. The system ends it when it has computed for `seconds` more: nothing else stops a
    regular expression, and on a busy machine a clock would stop an honest tokenizer too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, most))
    try:
        return _facts(encoder, source)
    except UserError as error:
        return str(error)
    except BaseException as error:  # a panic of the tokenizers library is not an Exception
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _facts(encoder: EncoderSource, source: Source) -> dict[str, Any]:
    tokenizer = load_tokenizer(encoder)
    call = partial(tokenizer, is_split_into_words=kinds.find(source.task.kind).words)
    splits = {split: _texts(source, split) for split in splits_of(source.task)}
    one = call(*([column[0]] for column in splits[TRAIN]), return_special_tokens_mask=True)
    if (added := sum(one["special_tokens_mask"][0])) > MOST_ADDED:
        raise ValueError(f"it adds {added:,} special tokens to an example")
    longest, split, row = max(
        (len(ids), split, row)
        for split, columns in splits.items()
        for rows, encoded in _encoded(call, columns, _longest(columns))
        for row, ids in zip(rows, encoded["input_ids"], strict=True)
    )
    shown = call(*([column[row]] for column in splits[split]))
    config = AutoConfig.from_pretrained(folder_of(encoder), trust_remote_code=False)
    limits = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    return {
        "form": _form(tokenizer, shown),
        "pad": tokenizer.pad_token if tokenizer.pad_token == tokenizer.eos_token else "",
        "lower": _lower(tokenizer),
        "segments": len(set((shown.get("token_type_ids") or [[]])[0])) > 1,
        "types": getattr(config, "type_vocab_size", None) or 0,
        "longest": longest,
        "split": split,
        "row": row % load_splits(source)[split].num_rows,
        "positions": min((limit for limit in limits if limit and limit < NO_LIMIT), default=None),
    } | _sample(tokenizer, call, splits[TRAIN])


def _texts(source: Source, split: str) -> list[list[Text]]:
    """The text columns of a split; one column of all texts if the model reads them separately."""
    columns = [load_splits(source)[split].data[column].to_pylist() for column in source.task.columns]
    return [[text for column in columns for text in column]] if kinds.find(source.task.kind).separate else columns


def _longest(columns: list[list[Text]]) -> list[int]:
    """The rows of most characters."""
    sizes = np.sum([[sum(map(len, text)) for text in column] for column in columns], axis=0)
    found: list[int] = np.argsort(-sizes, kind="stable")[:LONGEST].tolist()
    return found


def _encoded(call: Any, columns: list[list[Text]], rows: list[int]) -> Iterator[tuple[list[int], Any]]:
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        yield part, call(*([column[row] for row in part] for column in columns))


def _form(tokenizer: Any, encoded: Any) -> str:
    """An example with its special tokens; A and B stand for its texts."""
    if not tokenizer.is_fast:
        return tokenizer.decode(encoded["input_ids"][0])[:80]
    words = zip(encoded["input_ids"][0], encoded.sequence_ids(0), strict=True)
    parts = [tokenizer.convert_ids_to_tokens(token) if text is None else "AB"[text] for token, text in words]
    return " ".join(part for part, before in zip(parts, [None, *parts], strict=False) if part != before)


def _lower(tokenizer: Any) -> bool:
    normalizer = tokenizer.backend_tokenizer.normalizer if tokenizer.is_fast else None
    return "a" in (normalizer.normalize_str("A") if normalizer else "")


def _sample(tokenizer: Any, call: Any, columns: list[list[Text]]) -> dict[str, Any]:
    """Lengths of some training examples, and the share of their words that the vocabulary does not have."""
    rows = range(0, len(columns[0]), max(1, len(columns[0]) // SAMPLED))
    unknown, words, lengths = 0, 0, []
    for _, encoded in _encoded(call, columns, list(rows)):
        for at, ids in enumerate(encoded["input_ids"]):
            places = zip(encoded.sequence_ids(at), encoded.word_ids(at), strict=True) if tokenizer.is_fast else ids
            words += len({place for place in places if place != (None, None)})
            unknown += ids.count(tokenizer.unk_token_id)
            lengths.append(len(ids))
    return {"unknown": unknown / max(1, words), "lengths": lengths}
