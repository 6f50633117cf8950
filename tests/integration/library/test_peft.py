"""Theseus and PEFT: a model with adapters is refused, and the two ways that the refusal names work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForSequenceClassification, LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from tests import tiny
from theseus import ConstantRate, LinearRate, Theseus, TheseusCallback, TheseusError

EVERYWHERE, SUCCESSOR = ["query", "value"], r".*\.successor\..*(query|value)"
ROWS = tiny.batch(0, size=24)
DATA = [{name: values[index] for name, values in ROWS.items()} for index in range(24)]


def lora(model: nn.Module, targets: list[str] | str = EVERYWHERE) -> PeftModel:
    adapted = get_peft_model(model, LoraConfig(target_modules=targets, task_type="SEQ_CLS", init_lora_weights=False))
    return adapted.eval()


def start(model: nn.Module | None = None) -> Theseus:
    return Theseus(tiny.bert(6, seed=1) if model is None else model, layers=3, rate=LinearRate(0.3, 0.1), seed=7)


def trainer_of(model: nn.Module, theseus: Theseus, folder: Path) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=8, save_steps=4, per_device_train_batch_size=6, learning_rate=1e-2,
        report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=DATA, callbacks=[TheseusCallback(theseus)])


def logits(model: nn.Module) -> torch.Tensor:
    return model.eval()(**tiny.inputs()).logits.detach()


def test_a_model_with_adapters_is_refused_with_what_to_do():
    adapted = lora(tiny.bert(6))
    for model in (adapted, adapted.base_model.model):
        with pytest.raises(TheseusError, match=r"merge_and_unload.*get_peft_model\(theseus\.successor\(\)"):
            start(model)
    with pytest.raises(TheseusError, match="merge_and_unload"):
        Theseus(tiny.bert(6), layers=3, rate=ConstantRate(0.5, 9), init_from=adapted)


def test_the_first_way_is_to_merge(tmp_path):
    adapted = lora(tiny.bert(6, seed=1))
    before = logits(adapted)
    theseus = Theseus(adapted.merge_and_unload(), layers=3, rate=ConstantRate(0.0, 9))
    theseus.model.train()
    torch.testing.assert_close(theseus.model(**tiny.inputs()).logits, before, atol=1e-5, rtol=1e-5)
    theseus.model.save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(logits(model), logits(theseus.model))


def test_the_second_way_is_lora_on_the_successor(tmp_path):
    theseus = start()
    theseus.successor().save_pretrained(tmp_path / "successor")
    successor = AutoModelForSequenceClassification.from_pretrained(tmp_path / "successor")
    adapted = lora(successor)
    adapted.save_pretrained(tmp_path / "adapter")
    again = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
    assert torch.equal(logits(again), logits(adapted))
    assert get_peft_model(theseus.successor(), LoraConfig(target_modules=EVERYWHERE)).peft_config[
        "default"
    ].base_model_name_or_path in (None, "")  # and not the predecessor's


def test_lora_in_place_of_full_training_is_resumed_and_merged(tmp_path):
    theseus = start()
    adapted = lora(theseus.model, SUCCESSOR)
    trainer_of(adapted, theseus, tmp_path).train()
    for refused in (theseus.successor, lambda: theseus.model.save_pretrained(tmp_path / "no")):
        with pytest.raises(TheseusError, match="before you take or save the successor"):
            refused()
    trained = logits(adapted)
    assert adapted.merge_and_unload() is theseus.model
    successor = theseus.successor()
    torch.testing.assert_close(logits(successor), trained, atol=1e-5, rtol=1e-5)
    other = start()
    resumed = lora(other.model, SUCCESSOR)
    trainer_of(resumed, other, tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    resumed.merge_and_unload()
    assert torch.equal(logits(other.successor()), logits(successor))


def test_an_adapter_of_the_gated_model_is_not_loaded_on_the_predecessor(tmp_path):
    tiny.bert(6, seed=1).save_pretrained(tmp_path / "predecessor")
    theseus = start(AutoModelForSequenceClassification.from_pretrained(tmp_path / "predecessor"))
    lora(theseus.model, SUCCESSOR).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match="No modules were targeted"):
        AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "adapter")


def test_lora_that_would_train_the_predecessor_too_is_refused(tmp_path):
    theseus = start()
    with pytest.raises(TheseusError, match=r"frozen weights.*target_modules=r'\.\*"):
        trainer_of(lora(theseus.model), theseus, tmp_path).train()
