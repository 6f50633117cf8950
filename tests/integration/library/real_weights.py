"""MiniLM-L6, 6 to 3 layers, through the callback: part-of-speech tags (UD EWT) and sentence similarity (STS-B).

    export GLUE_DIR=/data/glue EXTRA_DIR=/data/extra ENCODER_DIR=/data/minilm
    python -m tests.integration.library.real_weights

Per task it prints the predecessor's score on the dev set, that of its three bottom layers without any training, and the
successor's after 60 steps: accuracy of tags, Spearman correlation of cosines. One seed, so it shows the path and not a
difference between methods.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator
from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    Trainer,
    TrainingArguments,
)

from theseus import LinearRate, Theseus, TheseusCallback, keep_layers

STEPS, BATCH = 60, 32
COMMON = {"per_device_train_batch_size": BATCH, "save_strategy": "no", "report_to": [], "use_cpu": True, "seed": 1,
          "disable_tqdm": True, "logging_steps": 20}  # fmt: skip


def similarity(encoder: str, glue: Path) -> dict[str, float]:
    train, dev = (pd.read_parquet(glue / "stsb" / f"{split}.parquet") for split in ("train", "validation"))
    pairs = Dataset.from_dict({"a": train.sentence1, "b": train.sentence2, "score": train.label / 5})
    evaluator = EmbeddingSimilarityEvaluator(list(dev.sentence1), list(dev.sentence2), list(dev.label / 5))

    def score(model: SentenceTransformer) -> float:
        return float(evaluator(model)["spearman_cosine"])

    predecessor = SentenceTransformer(encoder, device="cpu")
    theseus = Theseus(predecessor, layers=3, rate=LinearRate.reaching(0.3, STEPS // 2), seed=1)
    untrained = score(theseus.successor())
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(folder, max_steps=STEPS, learning_rate=2e-4, **COMMON)
        loss = CosineSimilarityLoss(theseus.model)
        callbacks = [TheseusCallback(theseus)]
        SentenceTransformerTrainer(
            theseus.model, arguments, train_dataset=pairs, loss=loss, callbacks=callbacks
        ).train()
        theseus.model.save_pretrained(folder)
        successor = SentenceTransformer(folder, device="cpu")
    return {"predecessor": score(predecessor), "untrained half": untrained, "theseus": score(successor)}


def tagged(frame: pd.DataFrame, tokenizer: Any, names: list[str]) -> list[dict[str, Any]]:
    """The first piece of a word carries its tag; the others do not count."""
    rows = []
    for words, tags in zip(frame.tokens, frame.upos, strict=True):
        pieces = tokenizer(list(words), is_split_into_words=True, truncation=True, max_length=96)
        owners = pieces.word_ids()
        first = [i is not None and i != owners[at - 1] for at, i in enumerate(owners)]
        labels = [names.index(tags[i]) if is_first else -100 for i, is_first in zip(owners, first, strict=True)]
        rows.append({"input_ids": pieces["input_ids"], "labels": labels})
    return rows


def tags(encoder: str, ud: Path) -> dict[str, float]:
    train, dev = (pd.read_parquet(ud / f"{split}.parquet") for split in ("train", "validation"))
    names = sorted({tag for row in train.upos for tag in row})
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    train_rows, dev_rows = tagged(train, tokenizer, names), tagged(dev, tokenizer, names)
    collator = DataCollatorForTokenClassification(tokenizer)

    def trainer_of(model: Any, folder: str, rate: float, callbacks: Any = None) -> Trainer:
        arguments = TrainingArguments(
            folder, max_steps=STEPS, learning_rate=rate, per_device_eval_batch_size=64, **COMMON
        )  # fmt: skip
        return Trainer(model, arguments, collator, train_rows, dev_rows, callbacks=callbacks, compute_metrics=accuracy)

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(1)
        predecessor = AutoModelForTokenClassification.from_pretrained(encoder, num_labels=len(names))
        trainer = trainer_of(predecessor, folder, 5e-4)
        trainer.train()
        found = {"predecessor": trainer.evaluate()["eval_accuracy"]}
        half = trainer_of(keep_layers(predecessor, range(3)), folder, 0.0)
        found["untrained half"] = half.evaluate()["eval_accuracy"]
        theseus = Theseus(predecessor, layers=3, rate=LinearRate.reaching(0.3, STEPS // 2), seed=1)
        trainer_of(theseus.model, folder, 5e-4, [TheseusCallback(theseus)]).train()
        theseus.model.save_pretrained(folder)
        successor = AutoModelForTokenClassification.from_pretrained(folder)
        found["theseus"] = trainer_of(successor, folder, 0.0).evaluate()["eval_accuracy"]
    return found


def accuracy(prediction: Any) -> dict[str, float]:
    counted = prediction.label_ids != -100
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids)[counted].mean())}


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    encoder = os.environ["ENCODER_DIR"]
    print("STS-B", similarity(encoder, Path(os.environ["GLUE_DIR"])), flush=True)
    print("POS", tags(encoder, Path(os.environ["EXTRA_DIR"]) / "ud_english_ewt"), flush=True)
