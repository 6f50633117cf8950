"""Theseus under sentence-transformers: trained by its trainer, saved, resumed, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from tests import tiny
from theseus import LinearRate, Theseus, TheseusCallback

SENTENCES = ["w1 w2", "w9 w3 w4", "w5"]
PAIRS = Dataset.from_dict(
    {
        "sentence1": [f"w{i} w{i + 1} w3" for i in range(24)],
        "sentence2": [f"w{i} w5" for i in range(24)],
        "score": [i / 24 for i in range(24)],
    }
)


@pytest.fixture(scope="module")
def predecessor(tmp_path_factory) -> str:
    """The folder of a bi-encoder with a card of its own."""
    folder = tmp_path_factory.mktemp("bi-encoder")
    encoder = Transformer(str(tiny.save_encoder(folder / "encoder", layers=6)))
    SentenceTransformer(modules=[encoder, Pooling(32)]).save(str(folder / "model"))
    (folder / "model" / "README.md").write_text("---\ntags: [mine]\n---\nThe predecessor's card.\n")
    return str(folder / "model")


def start(predecessor: str) -> Theseus:
    return Theseus(SentenceTransformer(predecessor, device="cpu"), layers=3, rate=LinearRate(0.3, 0.1), seed=1)


def trainer_of(theseus: Theseus, folder: Path) -> SentenceTransformerTrainer:
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=6, max_steps=8, save_steps=4, report_to=[], use_cpu=True,
        learning_rate=1e-2, disable_tqdm=True,
    )  # fmt: skip
    return SentenceTransformerTrainer(
        theseus.model, arguments, train_dataset=PAIRS, loss=CosineSimilarityLoss(theseus.model),
        callbacks=[TheseusCallback(theseus)],
    )  # fmt: skip


def embedded(model: SentenceTransformer | str) -> torch.Tensor:
    model = SentenceTransformer(model, device="cpu") if isinstance(model, str) else model.eval()
    return model.encode(SENTENCES, convert_to_tensor=True)


def test_the_trainers_checkpoints_are_successors_and_are_resumed(predecessor, tmp_path):
    theseus = start(predecessor)
    trainer_of(theseus, tmp_path).train()
    assert theseus.rate == 1.0
    assert torch.equal(embedded(str(tmp_path / "checkpoint-8")), embedded(theseus.successor()))
    resumed = start(predecessor)
    trainer_of(resumed, tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert torch.equal(embedded(resumed.successor()), embedded(theseus.successor()))


def test_both_models_save_the_successor_with_a_card_of_its_own(predecessor, tmp_path):
    theseus = start(predecessor)
    theseus.model.save_pretrained(str(tmp_path / "gated"))
    theseus.successor().save_pretrained(str(tmp_path / "successor"))
    assert torch.equal(embedded(str(tmp_path / "gated")), embedded(str(tmp_path / "successor")))
    assert torch.equal(embedded(str(tmp_path / "gated")), embedded(theseus.model))
    assert "The predecessor's card" in (Path(predecessor) / "README.md").read_text()
    for name in ("gated", "successor"):
        assert "The predecessor's card" not in (tmp_path / name / "README.md").read_text()
    assert "BERT-of-Theseus" in (tmp_path / "successor" / "README.md").read_text()
    inner = SentenceTransformer(str(tmp_path / "gated"), device="cpu")[0].model
    assert inner.config.theseus["layers"] == inner.config.num_hidden_layers == 3
