"""The script that makes a causal language model with random weights, and a tokenizer of a text."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.demo.causal import main

TEXT = "It was the best of times, it was the worst of times: café, naïve.\n" * 20


def made(folder: Path, text: Path) -> tuple[AutoModelForCausalLM, AutoTokenizer]:
    sizes = {"layers": 2, "hidden": 64, "vocabulary": 300, "positions": 32}
    main([str(text), str(folder), *(part for name, size in sizes.items() for part in (f"--{name}", str(size)))])
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_the_folder_has_a_model_and_a_tokenizer_that_loses_nothing(tmp_path):
    plain, lines = tmp_path / "text.txt", tmp_path / "text.jsonl"
    plain.write_text(TEXT, encoding="utf-8")
    lines.write_text(json.dumps({"text": TEXT}), encoding="utf-8")
    model, tokenizer = made(tmp_path / "one", plain)
    ids = tokenizer("It was naïve, 東.")["input_ids"]
    assert tokenizer.decode(ids).strip() == "It was naïve, 東."
    assert max(ids) < len(tokenizer) <= 300
    assert model.config.vocab_size == len(tokenizer)
    assert (tokenizer.pad_token_id, model.config.bos_token_id) == (0, tokenizer.bos_token_id)
    again, _ = made(tmp_path / "two", lines)
    state = again.state_dict()
    assert all(torch.equal(values, state[name]) for name, values in model.state_dict().items())
