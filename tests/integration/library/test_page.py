"""Every snippet of docs/library.md runs: a section's snippets in order, after those of the first section."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import GPT2Config, GPT2LMHeadModel

from tests import tiny

PAGE = Path(__file__).resolve().parents[3] / "docs" / "library.md"
SECTIONS = {
    title: re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL)
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
}
FIRST = "Ten lines"
IMPORTS = "from transformers import Trainer, TrainingArguments\nfrom theseus import TheseusCallback\n"


@pytest.fixture
def given(tmp_path, monkeypatch) -> dict[str, Any]:
    """What the page takes for granted: folders in the working directory, batches, data sets."""
    monkeypatch.chdir(tmp_path)
    tiny.bert(12, seed=1).save_pretrained("my-fine-tuned-bert")
    rows = tiny.batch(0, size=24)
    data = [{name: values[index] for name, values in rows.items()} for index in range(24)]
    return {"batches": [tiny.batch(seed) for seed in range(3)], "train": data, "dev": data}


def gpt2(given: dict[str, Any]) -> None:
    shape = {"n_embd": 32, "n_layer": 12, "n_head": 2, "vocab_size": 65, "bos_token_id": 1, "eos_token_id": 1}
    GPT2LMHeadModel(GPT2Config(**shape)).save_pretrained("my-gpt2")
    given["token_ids"] = [torch.randint(2, 65, (2, 9)) for _ in range(3)]


def bi_encoder(given: dict[str, Any]) -> None:
    encoder = Transformer(str(tiny.save_encoder(Path("encoder"), layers=12)))
    SentenceTransformer(modules=[encoder, Pooling(32)]).save("my-bi-encoder")
    pairs = {"sentence1": ["w1 w2", "w3"] * 9, "sentence2": ["w4", "w5 w6"] * 9, "score": [0.2, 0.8] * 9}
    given["pairs"] = Dataset.from_dict(pairs)


def adapter(given: dict[str, Any]) -> None:
    adapted = get_peft_model(tiny.bert(12, seed=1), LoraConfig(target_modules=["query", "value"], task_type="SEQ_CLS"))
    adapted.peft_config["default"].base_model_name_or_path = "my-fine-tuned-bert"
    adapted.save_pretrained("my-adapter")


PREPARED = {"Decoders": gpt2, "Sentence embeddings": bi_encoder, "LoRA and other adapters": adapter}
SLOW = {"torch.compile", "Sentence embeddings", "LoRA and other adapters"}


def test_all_sections_but_the_first_stand_on_it():
    assert next(iter(SECTIONS)) == FIRST
    assert set(PREPARED) | SLOW <= set(SECTIONS)


@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=pytest.mark.slow) if title in SLOW else title for title in SECTIONS]
)
def test_the_snippets_of_a_section_run(title, given):
    PREPARED.get(title, dict.copy)(given)
    for snippet in dict.fromkeys([*SECTIONS[FIRST], IMPORTS, *SECTIONS[title]]):
        if "push_to_hub" not in snippet:  # tests/integration/library/test_push_to_hub.py
            exec(compile(snippet, f"{PAGE.name}: {title}", "exec"), given)
    if Path("six-layers").exists():
        assert '"num_hidden_layers": 6' in Path("six-layers/config.json").read_text()
