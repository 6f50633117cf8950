"""A causal language model to start from, where none is at hand: GPT-2 with random weights, a tokenizer of your text.

    python -m benchmarks.demo.causal books.parquet my-gpt2 --layers 8 --hidden 256
    python -m benchmarks plan SUITE                      # encoder.path = "my-gpt2", and a task of kind = "causal-lm"

A suite whose encoder is this folder pre-trains its own predecessor: the predecessor is "fine-tuned" from random weights
on the task's text, so its `epochs` are those of a pre-training. What starts from the encoder (fine-tuning, KD, PKD)
then starts from random weights too.

The tokenizer is a byte-level BPE, trained on the whole file, dev rows included: it counts which letters stand together.
The weights follow from the seed alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END, PAD = "<|endoftext|>", "<|pad|>"
HEAD = 64  # width of an attention head


def texts(path: Path, column: str) -> Iterator[str]:
    """The texts of a Parquet or JSON-lines file, or the lines of any other."""
    if path.suffix == ".parquet":
        yield from (text for text in pq.read_table(path, columns=[column])[column].to_pylist() if text)
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)[column] if path.suffix in (".jsonl", ".json") else line


def tokenizer_of(given: Iterator[str], vocabulary: int, positions: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocabulary` tokens. White space is one space, as in the chunks of a task."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[PAD, END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator((" ".join(text.split()) for text in given), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=positions, pad_token=PAD, bos_token=END, eos_token=END
    )


def make(
    path: Path, column: str, folder: Path, layers: int, hidden: int, vocabulary: int, positions: int, seed: int
) -> None:
    """Write the model and its tokenizer to `folder`."""
    tokenizer = tokenizer_of(texts(path, column), vocabulary, positions)
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=positions, n_embd=hidden, n_layer=layers, n_head=hidden // HEAD,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.demo.causal", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("text", type=Path, help="a .parquet or .jsonl file, or plain text")
    parser.add_argument("output", type=Path, help="the folder to write")
    parser.add_argument("--column", default="text", help="the column with the text")
    parser.add_argument("--layers", type=int, default=8, help="default: 8")
    parser.add_argument("--hidden", type=int, default=256, help="width of a layer, a multiple of 64; default: 256")
    parser.add_argument("--vocabulary", type=int, default=8000, help="most tokens; default: 8000")
    parser.add_argument("--positions", type=int, default=128, help="tokens of the longest example; default: 128")
    parser.add_argument("--seed", type=int, default=0, help="of the weights; default: 0")
    given = parser.parse_args(arguments)
    if not given.text.is_file():
        parser.error(f"{given.text} is not a file")
    if given.hidden % HEAD:
        parser.error(f"--hidden {given.hidden} is not a multiple of {HEAD}")
    make(
        given.text,
        given.column,
        given.output,
        given.layers,
        given.hidden,
        given.vocabulary,
        given.positions,
        given.seed,
    )
    print(given.output)


if __name__ == "__main__":
    main()
