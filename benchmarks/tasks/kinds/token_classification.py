"""A label for each word of a sentence: part of speech (word accuracy), or named entities (entity F1).

A sentence is a list of words. A word's label is that of its first sub-word; the others are not scored (as in Devlin et
al. 2019, section 5.3). Entities are counted as conlleval and seqeval count them: a predicted entity is right if its
type, first word and last word are those of a true one.
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
from baselines.parts.losses import distillation_loss, full_precision
from benchmarks.base.errors import SuiteError
from benchmarks.tasks.kind import Logits, Summed, check_labels
from benchmarks.tasks.own.checks import check_outputs
from benchmarks.tasks.own.facts import listed
from benchmarks.tasks.own.files import Part, Rows, is_unicode
from benchmarks.tasks.own.labels import Labels, check_classes
from benchmarks.tasks.settings import OwnData
from benchmarks.tasks.table import Task
from benchmarks.tasks.tokens import IGNORED, Tokens
from results.format.documents.run import Answered
from results.format.untrusted import shown

Entity = tuple[str, int, int]  # type, first word, last word


class TokenClassification(Summed):
    """A class id for each word."""

    model_class = "AutoModelForTokenClassification"
    per_token = True
    words = True

    def units(self, labels: torch.Tensor) -> int:
        return int((labels != IGNORED).sum())

    def loss(self, output: Any, batch: Batch) -> torch.Tensor:
        scored = batch.labels != IGNORED
        return F.cross_entropy(full_precision(output.logits[scored]), batch.labels[scored])

    def distance(self, output: Any, batch: Batch, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
        """T^2 * KL, the mean over the words."""
        scored = batch.all_tokens(batch.labels) != IGNORED
        return distillation_loss(batch.all_tokens(output.logits)[scored], teacher[scored], temperature)

    def check(self, place: str, task: Task, rows: Any) -> None:
        words, labels = (rows.data[column].combine_chunks() for column in (*task.columns, "label"))
        for name, column in ((task.columns[0], words), ("label", labels)):
            if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
                raise SuiteError(
                    f"{place}: column {name!r} is {column.type}, but the task needs a list for each sentence"
                )
            if column.null_count or column.flatten().null_count:
                raise SuiteError(f"{place}: column {name!r} has missing values")
        if not pa.types.is_string(words.type.value_type) or not pa.types.is_integer(labels.type.value_type):
            raise SuiteError(f"{place}: the task needs lists of words and of integer class ids")
        lengths = pc.list_value_length(words)
        if not pc.all(pc.greater(lengths, 0)).as_py():
            raise SuiteError(f"{place}: a sentence has no words")
        if not lengths.equals(pc.list_value_length(labels)):
            row = int(np.flatnonzero(lengths.to_numpy() != pc.list_value_length(labels).to_numpy())[0])
            raise SuiteError(f"{place}: row {row} has {lengths[row]} words and {len(labels[row])} labels")
        check_labels(place, task, *(value.as_py() for value in pc.min_max(labels.flatten()).values()))
        if task.score == "entity_f1" and (odd := [name for name in task.labels if not _is_tag(name)]):
            raise SuiteError(f"{place}: {odd[0]!r} is not a tag of entities: O, or B-, I-, E- or S- and the type")

    def check_settings(self, own: OwnData) -> None:
        if own.score not in (None, "entity_f1", "token_accuracy"):
            raise ValueError(f"score = {own.score} is not of words: take entity_f1 or token_accuracy")
        if len(own.columns) != 1 or own.scale:
            raise ValueError("token-classification takes one column with the list of words, and no scale")

    def find_labels(self, own: OwnData, train: Rows) -> Labels:
        tags = {tag for row in range(len(train)) for tag in _tags(train, own.label, row)}
        # O first: an untrained head, and the answer of a tie, then tends to it
        labels = own.labels or train.classes.get(own.label) or sorted(tags, key=lambda tag: (tag != "O", tag))
        check_classes(train, own.label, labels, tags)
        by_id = bool(own.labels) and not tags & set(labels) and all(tag.isdecimal() for tag in tags)
        entities_ = all(map(_is_tag, labels)) and len(labels) > 1
        return Labels(own.task_kind, "entity_f1" if entities_ else "token_accuracy", tuple(labels), by_id)

    def converted(self, own: OwnData, labels: Labels, rows: Rows) -> dict[str, pa.Array]:
        ids = {str(i) if labels.by_id else name: i for i, name in enumerate(labels.labels)}
        (column,) = own.columns
        words = [_listed(rows, column, row) for row in range(len(rows))]
        given = [_tags(rows, own.label, row) for row in range(len(rows))]
        for row, (sentence, tags) in enumerate(zip(words, given, strict=True)):
            if len(sentence) != len(tags):
                raise SuiteError(f"{rows.at(row)}: {len(sentence)} words in {column!r} and {len(tags)} labels")
            if odd := [word for word in sentence if not isinstance(word, str) or not is_unicode(word)]:
                raise SuiteError(f"{rows.at(row)}: column {column!r} has {shown(odd[0])}, which is not text")
            if odd := [tag for tag in tags if tag not in ids]:
                raise SuiteError(
                    f"{rows.at(row)}: label {shown(odd[0])} is not one of {listed(labels.labels)}: correct it, or name "
                    "it in labels"
                )
        return {
            column: pa.array(words, pa.list_(pa.string())),
            "label": pa.array([[ids[tag] for tag in tags] for tags in given], pa.list_(pa.int64())),
        }

    def compared(self, own: OwnData, labels: Labels, train: Part, dev: Part) -> list[str]:
        check_outputs(dev, len(dev.columns["label"].flatten()) * len(labels.labels))
        return []

    def encode(self, tokenizer: Any, task: Task, rows: Any, max_length: int, train: bool = False) -> Tokens:
        sentences, labels = (rows.data[column].to_pylist() for column in (*task.columns, "label"))
        ids, firsts = _encoded(tokenizer, task, sentences, max_length)
        flat = torch.full((sum(map(len, ids)),), IGNORED)
        offsets = np.cumsum([0, *map(len, ids)])
        places = [int(start) + place for start, first in zip(offsets, firsts, strict=False) for place in first]
        flat[places] = torch.tensor([label for sentence in labels for label in sentence])
        return Tokens(
            ids=torch.tensor([i for row in ids for i in row], dtype=torch.int32),
            types=None,
            offsets=torch.from_numpy(offsets),
            labels=flat,
            idx=torch.tensor(rows.data["idx"].to_pylist(), dtype=torch.int64),
            pad_id=tokenizer.pad_token_id,
            kind=task.kind,
        )

    def made_up_labels(self, lengths: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(0, 2, (int(lengths.sum()),), generator=generator)

    def sums(self, task: Task, logits: Logits, tokens: Tokens) -> NDArray[np.float64]:
        pairs = _answers(logits, tokens)
        if task.score == "entity_f1":
            return np.array([_entity_sums(task.labels, true, given) for true, given in pairs], dtype=np.float64)
        return np.array([(int((true == given).sum()), len(true)) for true, given in pairs], dtype=np.float64)

    def constant(self, task: Task, dev: Mapping[str, Tokens]) -> float:
        if task.score == "entity_f1":
            return 0.0  # one label for every word has no right entity, but for sentences of one word
        labels = [tokens.labels[tokens.labels != IGNORED] for tokens in dev.values()]
        shares = torch.stack([torch.bincount(found, minlength=task.outputs) / len(found) for found in labels])
        return 100.0 * float(shares.mean(0).max())

    def predictions(self, task: Task, logits: Logits, tokens: Tokens) -> Answered:
        pairs = list(_answers(logits, tokens))
        scored = (tokens.labels != IGNORED).numpy()
        bounds = np.cumsum([len(true) for true, _ in pairs])[:-1]
        return Answered(
            label=[true for true, _ in pairs],
            prediction=[given for _, given in pairs],
            logits=[part.ravel() for part in np.split(logits[scored], bounds)],
            sums=list(self.sums(task, logits, tokens)),
        )


def _listed(rows: Rows, name: str, row: int) -> list[Any]:
    """The list in a row of a user's file. Raises `SuiteError` for anything else, and for an empty list."""
    value = rows.column(name)[row]
    if not isinstance(value, list):
        raise SuiteError(
            f"{rows.at(row)}: column {name!r} has {shown(value)}, not a list: write JSON lines or Parquet, with a list "
            "of words and a list of labels in each row"
        )
    if not value:
        raise SuiteError(f"{rows.at(row)}: column {name!r} is an empty list: remove the row")
    return value


def _tags(rows: Rows, name: str, row: int) -> list[str]:
    """The labels of a row's words as text. Raises `SuiteError` for a label that is missing or neither text nor a whole
    number."""
    found = _listed(rows, name, row)
    for tag in found:
        if not (type(tag) is int or (isinstance(tag, str) and tag.strip() and is_unicode(tag))):
            raise SuiteError(f"{rows.at(row)}: column {name!r} has {shown(tag)}, but a label is text or a whole number")
    return [str(tag) for tag in found]


def _encoded(
    tokenizer: Any, task: Task, sentences: list[list[str]], max_length: int
) -> tuple[list[list[int]], list[list[int]]]:
    """The token ids of each sentence, and the place of each word's first sub-word in them."""
    given = sentences
    encoded = tokenizer(given, is_split_into_words=True, return_attention_mask=False)
    ids, firsts = list(encoded["input_ids"]), []
    for row, words in enumerate(sentences):
        found = _firsts(encoded.word_ids(row))
        if len(found) < len(
            words
        ):  # a word of characters that the tokenizer removes, such as a lone variation selector
            kept = [word if place in found else tokenizer.unk_token for place, word in enumerate(words)]
            again = tokenizer([kept], is_split_into_words=True, return_attention_mask=False)
            ids[row], found = again["input_ids"][0], _firsts(again.word_ids(0))
        if len(ids[row]) > max_length:
            raise SuiteError(
                f"{task.name}: row {row} has {len(ids[row])} tokens, and max_length = {max_length} would cut off words "
                f"that are scored: set task.{task.name}.max_length = {len(ids[row])}, or shorten the sentence"
            )
        firsts.append([found[place] for place in range(len(words))])
    return ids, firsts


def _firsts(words: Sequence[int | None]) -> dict[int, int]:
    """The place of each word's first sub-word."""
    found: dict[int, int] = {}
    for place, word in enumerate(words):
        if word is not None:
            found.setdefault(word, place)
    return found


def _answers(logits: Logits, tokens: Tokens) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """True and predicted class ids of each sentence's words."""
    scored = tokens.labels != IGNORED
    counts = torch.zeros(len(tokens.labels) + 1, dtype=torch.int64)
    counts[1:] = scored.cumsum(0)
    bounds = counts[tokens.offsets].tolist()
    true, given = tokens.labels[scored].numpy(), logits[scored.numpy()].argmax(axis=1)
    for start, end in pairwise(bounds):
        yield true[start:end], given[start:end]


def _is_tag(name: str) -> bool:
    prefix, dash, kind = name.partition("-")
    return name == "O" or bool(prefix in ("B", "I", "E", "S") and dash and kind)


def _entity_sums(names: Sequence[str], true: NDArray[np.int64], given: NDArray[np.int64]) -> tuple[int, int, int]:
    """Right, predicted and true entities of one sentence."""
    own, found = (set(entities([names[label] for label in labels])) for labels in (true, given))
    return len(own & found), len(found), len(own)


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """The entities of a sentence tagged in BIO, IOB or BIOES form (`B-person`, `I-person`, `O`), as conlleval counts
    them: an `I` that follows another type or nothing begins an entity, too."""
    start, current = 0, ""
    before = "O"
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        begins = prefix in ("B", "S") or (prefix in ("I", "E") and (before in ("O", "E", "S") or kind != current))
        if current and (begins or prefix == "O"):
            yield current, start, place - 1
            current = ""
        if begins:
            start, current = place, kind
        before = prefix


KIND = TokenClassification()
