"""Token lengths of GLUE's examples: `lengths.json` in this folder holds counts per length, and no text.

Of an example, only its length changes the time it takes on a GPU, so `benchmarks.gpu` draws its batches from these
histograms and needs neither data nor tokenizer. The tokens are those of the uncased BERT vocabulary with [CLS] and
[SEP], cut at the length with which the paper's suite trains (128; QNLI 256). They were counted on the training split
where it was available, else on a sample of it, else on dev; `split` says which. To count again:

    python -m benchmarks.tasks.lengths --glue GLUE_DIR --encoder ENCODER_DIR [--samples DIR]

`--samples` is a folder of `<task>_train_subset/train_subset.parquet`, read where `<task>/train.parquet` is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.base.errors import BAD_INPUT, SuiteError
from benchmarks.tasks.table import GLUE, Task
from results.format.errors import UserError

FILE = Path(__file__).with_name("lengths.json")
VOCABULARY = 30_522  # of the uncased BERT tokenizer


@dataclass(frozen=True)
class Lengths:
    """The lengths of one task's examples: `counts[i]` examples have `first + i` tokens, at most `max_length`.

    `split` names the split on which `examples` were counted; the training split has `train_rows`.
    """

    task: str
    split: str
    examples: int
    train_rows: int
    max_length: int
    first: int
    counts: tuple[int, ...]

    @property
    def lengths(self) -> list[int]:
        """The length of each entry of `counts`."""
        return list(range(self.first, self.first + len(self.counts)))

    @property
    def mean(self) -> float:
        """Mean tokens of an example."""
        return sum(length * count for length, count in zip(self.lengths, self.counts, strict=True)) / self.examples


def load(path: Path = FILE) -> dict[str, Lengths]:
    """The shipped histograms by task."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Lengths(name, **{**entry, "counts": tuple(entry["counts"])}) for name, entry in document["tasks"].items()
    }


def histogram(task: Task, split: str, lengths: Iterable[int]) -> dict[str, Any]:
    """One task's entry of the file, from the untruncated `lengths` of its examples."""
    counts = Counter(min(length, task.max_length) for length in lengths)
    first, last = min(counts), max(counts)
    return {
        "split": split,
        "examples": counts.total(),
        "train_rows": task.train_rows,
        "max_length": task.max_length,
        "first": first,
        "counts": [counts[length] for length in range(first, last + 1)],
    }


def sources(task: Task, glue: Path, samples: Path | None) -> tuple[str, Path]:
    """The split to count, and its file. Raises `SuiteError` if the task has no file."""
    found = [("train", glue / task.name / "train.parquet")]
    if samples is not None:
        found.append(("sample of train", samples / f"{task.name}_train_subset" / "train_subset.parquet"))
    found += [(split, glue / task.name / f"{split}.parquet") for split in task.dev]
    for split, path in found:
        if path.is_file():
            return split, path
    raise SuiteError(f"{task.name}: no parquet file in {glue / task.name}")


def count(glue: Path, encoder: Path, samples: Path | None) -> dict[str, Any]:
    """The whole document, from GLUE's files and an uncased BERT tokenizer."""
    import pyarrow.parquet as parquet  # needed only to count again, not to read the counts
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
    if tokenizer.vocab_size != VOCABULARY:
        raise SuiteError(f"{encoder} knows {tokenizer.vocab_size} tokens, but the uncased BERT knows {VOCABULARY}")
    entries = {}
    for task in GLUE:
        if task.in_macro:
            split, path = sources(task, glue, samples)
            table = parquet.read_table(path, columns=list(task.columns))
            encoded = tokenizer(*(table[column].to_pylist() for column in task.columns), return_attention_mask=False)
            entries[task.name] = histogram(task, split, map(len, encoded["input_ids"]))
    return {"tokenizer": "uncased BERT WordPiece, [CLS] and [SEP] counted", "vocab_size": VOCABULARY, "tasks": entries}


def dump(document: dict[str, Any]) -> str:
    """JSON with one line per task's counts."""
    tasks = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in document["tasks"].items())
    head = {name: value for name, value in document.items() if name != "tasks"}
    return json.dumps(head)[:-1] + f', "tasks": {{\n{tasks}\n}}}}\n'


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tasks.lengths", description="Count token lengths again."
    )
    parser.add_argument("--glue", type=Path, required=True)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--output", type=Path, default=FILE)
    given = parser.parse_args()
    try:
        given.output.write_text(dump(count(given.glue, given.encoder, given.samples)), encoding="utf-8")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
