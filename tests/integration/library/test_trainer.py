"""Theseus under transformers' own Trainer: trained, saved, killed, resumed, evaluated; nothing is simulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from tests import tiny
from theseus import LinearRate, Theseus, TheseusCallback, TheseusError

RATE = LinearRate(0.3, 0.05)
STEPS = 12


class Data(torch.utils.data.Dataset):
    """24 examples, so that four steps of six are an epoch."""

    def __init__(self, seed: int = 0) -> None:
        self.rows = tiny.batch(seed, size=24)

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: values[index] for name, values in self.rows.items()}


def start(seed: int = 1, **options: Any) -> Theseus:
    return Theseus(tiny.bert(6, seed=seed, dropout=0.1), layers=3, rate=RATE, seed=7, **options)


def trainer_of(theseus: Theseus, folder: Path, callbacks: Any = None, **options: Any) -> Trainer:
    arguments = {
        "per_device_train_batch_size": 6, "max_steps": STEPS, "learning_rate": 1e-2, "save_steps": 3, "seed": 5,
        "logging_steps": 1, "report_to": [], "disable_tqdm": True, "use_cpu": True, "lr_scheduler_type": "linear",
    }  # fmt: skip
    optimizers = options.pop("optimizers", (None, None))
    return Trainer(
        model=theseus.model,
        args=TrainingArguments(output_dir=str(folder), **{**arguments, **options}),
        train_dataset=Data(),
        eval_dataset=Data(1),
        callbacks=[TheseusCallback(theseus)] if callbacks is None else callbacks,
        optimizers=optimizers,
    )


def logits(model: nn.Module) -> torch.Tensor:
    return model.eval()(**tiny.inputs()).logits.detach()


def loaded(folder: Path) -> nn.Module:
    model, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model


def weights(theseus: Theseus) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in theseus.model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Theseus, Path]:
    """A run of twelve steps with a checkpoint every three."""
    folder = tmp_path_factory.mktemp("finished")
    theseus = start()
    trainer_of(theseus, folder).train()
    return theseus, folder


def test_the_rate_follows_the_optimizer_and_only_the_successor_moves(finished):
    theseus, _ = finished
    before, after = weights(start()), weights(theseus)
    assert theseus.rate == RATE(STEPS)
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert moved == {name for name in after if ".successor." in name}


def test_the_replacing_rate_is_in_the_log(finished):
    _, folder = finished
    history = json.loads((folder / f"checkpoint-{STEPS}" / "trainer_state.json").read_text())["log_history"]
    assert [entry["replacing_rate"] for entry in history] == [RATE(step) for step in range(STEPS)]


def test_accumulated_micro_batches_are_one_step(tmp_path):
    theseus = start()
    trainer_of(theseus, tmp_path, per_device_train_batch_size=2, gradient_accumulation_steps=3).train()
    assert theseus.rate == RATE(STEPS)


@pytest.mark.parametrize("step", [3, 6, 9, 12])
def test_each_checkpoint_is_a_plain_successor(finished, step):
    theseus, folder = finished
    model = loaded(folder / f"checkpoint-{step}")
    assert model.config.num_hidden_layers == 3
    assert model.config.theseus["steps"] == step
    assert torch.equal(logits(model), logits(theseus.model)) == (step == STEPS)


@pytest.mark.parametrize("step", [3, pytest.param(6, marks=pytest.mark.slow), 9])
def test_a_run_killed_and_resumed_from_any_checkpoint_is_bit_equal(finished, step, tmp_path):
    """Dropout, draws, order of examples, optimizer and schedule: all go on where they were."""
    whole, folder = finished
    resumed = start()
    trainer_of(resumed, tmp_path).train(resume_from_checkpoint=str(folder / f"checkpoint-{step}"))
    assert same(weights(whole), weights(resumed))
    assert whole.gates == resumed.gates
    assert resumed.rate == RATE(STEPS)


def test_save_model_saves_the_successor(finished, tmp_path):
    theseus, _ = finished
    trainer_of(theseus, tmp_path).save_model(str(tmp_path / "saved"))
    assert torch.equal(logits(loaded(tmp_path / "saved")), logits(theseus.model))


def test_evaluation_runs_the_successor(finished, tmp_path):
    theseus, _ = finished
    trainer = trainer_of(theseus, tmp_path)
    plain = Trainer(model=theseus.successor(), args=trainer.args, eval_dataset=Data(1))
    assert trainer.evaluate()["eval_loss"] == plain.evaluate()["eval_loss"]


def test_the_best_model_is_loaded_at_the_end(tmp_path):
    theseus = start()
    trainer = trainer_of(
        theseus,
        tmp_path,
        eval_strategy="steps",
        eval_steps=3,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
    )
    trainer.train()
    best = trainer.state.best_model_checkpoint
    evaluated = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert trainer.evaluate()["eval_loss"] == min(evaluated)
    assert torch.equal(logits(theseus.successor()), logits(loaded(Path(best))))
    # what the successor says of itself is true of the weights that were loaded
    assert theseus.provenance() == loaded(Path(best)).config.theseus


@pytest.mark.parametrize(
    "options",
    [
        {"bf16": True},
        pytest.param(
            {"activation_checkpointing": True, "optim": "adafactor", "label_smoothing_factor": 0.1},
            marks=pytest.mark.slow,
        ),
        pytest.param({"bf16": True, "neftune_noise_alpha": 5.0}, marks=pytest.mark.slow),
        pytest.param({"full_determinism": True, "auto_find_batch_size": True}, marks=pytest.mark.slow),
        pytest.param(
            {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"use_reentrant": True}},
            marks=pytest.mark.slow,
        ),
        pytest.param({"torch_compile": True, "torch_compile_backend": "eager"}, marks=pytest.mark.slow),
        pytest.param({"torch_compile": True}, marks=pytest.mark.slow),
    ],
    ids=lambda options: "-".join(options),
)
def test_what_trainer_offers_works_and_leaves_no_trace(options, tmp_path):
    theseus = start()
    trainer_of(theseus, tmp_path, **options).train()
    assert theseus.rate == RATE(STEPS)
    successor = theseus.successor()
    assert torch.equal(logits(successor), logits(loaded(tmp_path / f"checkpoint-{STEPS}")))
    resumed = start()
    trainer_of(resumed, tmp_path, **options).train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert same(weights(theseus), weights(resumed))


# frozen_gradients


@pytest.mark.slow
def test_frozen_gradients_count_in_the_clipping_and_move_nothing(tmp_path):
    norms = {}
    for frozen in (False, True):
        theseus = start(frozen_gradients=frozen)
        trainer = trainer_of(theseus, tmp_path / str(frozen), max_grad_norm=1.0, weight_decay=0.1)
        trainer.train()
        before, after = weights(start()), weights(theseus)
        assert all(".successor." in name for name in after if not torch.equal(before[name], after[name]))
        norms[frozen] = trainer.state.log_history[0]["grad_norm"]
    assert norms[True] > norms[False]


def test_an_optimizer_of_frozen_weights_is_refused_before_it_moves_them(tmp_path):
    theseus = start()
    optimizer = torch.optim.AdamW(theseus.model.parameters(), lr=1e-2)
    with pytest.raises(TheseusError, match=r"would move \d+ frozen weights"):
        trainer_of(theseus, tmp_path, optimizers=(optimizer, None)).train()
    assert same(weights(theseus), weights(start()))


# Refusals and warnings


def test_another_model_is_refused(tmp_path):
    theseus = start()
    with pytest.raises(TheseusError, match=r"model=theseus\.model"):
        trainer_of(theseus, tmp_path, callbacks=[TheseusCallback(start())])


def test_without_the_callback_a_warning_says_so(tmp_path):
    theseus = start()
    theseus.gates = [True, False, False]
    with pytest.warns(UserWarning, match="TheseusCallback"):
        trainer_of(theseus, tmp_path, callbacks=[]).train()


def test_a_checkpoint_without_the_callback_is_not_resumed(tmp_path):
    trainer_of(start(), tmp_path, callbacks=[TrainerCallback()], max_steps=3).train()
    with pytest.raises(TheseusError, match="saved without TheseusCallback"):
        trainer_of(start(), tmp_path).train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    ("made", "other"),
    [({}, {"seed": 2}), pytest.param({"replace": [0, 1]}, {"replace": [1, 2]}, marks=pytest.mark.slow)],
    ids=str,
)
def test_a_checkpoint_of_another_theseus_is_not_resumed(made, other, tmp_path):
    trainer_of(start(**made), tmp_path, max_steps=3).train()
    with pytest.raises(TheseusError, match="another predecessor or other modules"):
        trainer_of(start(**other), tmp_path).train(resume_from_checkpoint=True)
