"""Streams, batches and schedules: who sees what, in which order, at which rate."""

from __future__ import annotations

import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from baselines.method import LOGITS
from benchmarks.training.batches import evaluation_batches, micro_batches, training_rows
from benchmarks.training.randomness import epoch_order, stream_seed
from benchmarks.training.schedule import learning_rate, planned_steps
from benchmarks.training.settings import Training
from tests import tiny


def test_streams_differ_by_seed_name_and_position_and_repeat():
    seeds = {stream_seed(s, n, p) for s in (0, 1) for n in ("data", "head", "dropout", "gates") for p in range(5)}
    assert len(seeds) == 40
    assert stream_seed(3, "data", 2) == stream_seed(3, "data", 2)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_an_epoch_shows_every_example_once_and_epochs_differ():
    rows = list(training_rows(seed=1, examples=50, batch_size=8, steps=14))
    first, second = torch.cat(rows[:7]), torch.cat(rows[7:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()
    assert [len(r) for r in rows[:7]] == [8] * 6 + [2]
    assert torch.equal(first, epoch_order(1, 0, 50))
    assert epoch_order(1, 0, 50).tolist() != epoch_order(2, 0, 50).tolist()


def test_collating_pads_to_the_longest_and_loses_nothing():
    split = tiny.tokens(30)
    rows = torch.tensor([7, 3, 21])
    inputs, labels = split.collate(rows, "cpu")
    assert inputs["input_ids"].shape[1] == int(split.lengths[rows].max())
    for i, row in enumerate(rows.tolist()):
        own = split.ids[split.offsets[row] : split.offsets[row + 1]]
        assert torch.equal(inputs["input_ids"][i][inputs["attention_mask"][i].bool()], own)
        assert (inputs["input_ids"][i][len(own) :] == split.pad_id).all()
    assert torch.equal(labels, split.labels[rows])


@pytest.mark.parametrize("parts", [1, 2, 4, 50])
def test_micro_batches_keep_the_members_and_their_outputs(parts):
    split, rows = tiny.tokens(40), torch.randperm(40)[:10]
    outputs = {LOGITS: torch.arange(40.0)[:, None]}
    found = [batch for batch, _ in micro_batches(split, rows, parts, "cpu", outputs)]
    assert len(found) == min(parts, 10)
    assert sorted(torch.cat([b.outputs[LOGITS][:, 0] for b in found]).int().tolist()) == sorted(rows.tolist())
    for part in found:
        assert torch.equal(split.labels[part.outputs[LOGITS][:, 0].long()], part.labels)
    padding = sum(int((b.inputs["attention_mask"] == 0).sum()) for b in found)
    whole = int((split.collate(rows, "cpu")[0]["attention_mask"] == 0).sum())
    assert padding <= whole


def test_evaluation_sees_every_example_once():
    split = tiny.tokens(150)
    rows = torch.cat([rows for rows, _ in evaluation_batches(split, "cpu")])
    assert sorted(rows.tolist()) == list(range(150))


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.25])
def test_the_linear_schedule_is_the_one_the_released_code_uses(warmup):
    training, steps = Training(learning_rate=3e-4, warmup=warmup), 40
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    theirs = get_linear_schedule_with_warmup(optimizer, round(warmup * steps), steps)
    for step in range(steps):
        assert learning_rate(training, step, steps) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()


def test_the_constant_schedule_stays_after_its_warm_up():
    training = Training(learning_rate=1e-3, warmup=0.2, schedule="constant")
    rates = [learning_rate(training, step, 10) for step in range(10)]
    assert rates == pytest.approx([0, 5e-4] + [1e-3] * 8)


def test_planned_steps_round_and_stop():
    assert planned_steps(Training(epochs=15), 3668) == 1725  # facts: MRPC, 115 steps an epoch
    assert planned_steps(Training(epochs=0.5), 64) == 1
    assert planned_steps(Training(epochs=3, max_steps=10), 3668) == 10
