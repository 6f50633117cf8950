"""What a shallow model starts as and what of it trains; frozen from the predecessor it is Theseus at p = 1."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from baselines import find
from baselines.method import LOGITS, Output
from benchmarks.machine.settings import Device
from benchmarks.training.fit import Fit
from benchmarks.training.loop import train
from benchmarks.training.settings import Training
from tests import tiny
from tests.compare import by_name, of_layers, same_weights
from tests.tiny import given, inputs

CPU = Device(device="cpu", threads=1)


SETTINGS = Training(max_steps=12, batch_size=8, learning_rate=2e-3, evaluate_every=3, warmup=0.1, weight_decay=0.01)


@pytest.mark.parametrize("name", ["finetune", "kd", "pkd"])
@pytest.mark.parametrize("source", ["pretrained", "predecessor"])
@pytest.mark.parametrize(("layers", "chosen"), [("bottom", [0, 1]), ("top", [2, 3]), ("interleaved", [0, 2])])
def test_a_shallow_model_starts_as_those_layers_of_its_source(name, source, layers, chosen):
    method = find(name)(start={"source": source, "layers": layers})
    model = method.build(given())
    origin = tiny.bert(4, seed={"predecessor": 1, "pretrained": 2}[source])
    assert same_weights(model, of_layers(origin, chosen))  # the embeddings and the head are the source's too
    assert sum(p.numel() for p in method.parameters(model)) == sum(p.numel() for p in model.parameters())


def test_a_shallow_model_starts_from_the_bottom_of_the_pretrained_encoder_unless_told():
    model = find("finetune")().build(given())
    assert same_weights(model, of_layers(tiny.bert(4, seed=2), [0, 1]))


@pytest.mark.parametrize("name", ["finetune", "kd", "pkd"])
@pytest.mark.parametrize(
    ("source", "frozen", "moving"),
    [
        ("pretrained", [], ("bert.embeddings.", "bert.encoder.", "bert.pooler.", "classifier.")),
        ("pretrained", ["embeddings"], ("bert.encoder.", "bert.pooler.", "classifier.")),
        ("predecessor", ["head"], ("bert.embeddings.", "bert.encoder.")),
        ("predecessor", ["embeddings", "head"], ("bert.encoder.",)),
    ],
)
def test_frozen_parts_stand_still_and_the_rest_moves(name, source, frozen, moving):
    method = find(name)(start={"source": source, "frozen": frozen})
    model = method.build(given())
    assert {id(p) for p in method.parameters(model)} == {id(p) for prefix in moving for p in by_name(model, prefix)}
    assert method.trains == {"embeddings", "layers", "head"} - set(frozen)
    split = tiny.tokens(40)
    outputs = tiny.outputs(method, given().predecessor(), split, given().layers)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    train(Fit(method, model, split, outputs, SETTINGS, 0, CPU), lambda point: None)
    moved = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert moved == {key for key in before if key.startswith(moving)}


@pytest.mark.parametrize("name", ["finetune", "kd", "pkd"])
def test_a_method_takes_the_predecessor_where_it_reads_or_starts_from_it(name):
    distilled = name != "finetune"
    assert find(name)().uses_predecessor == distilled
    assert find(name)(start={"source": "predecessor"}).uses_predecessor
    needs = {"finetune": set(), "kd": {LOGITS}, "pkd": {LOGITS, Output("state", 4), Output("state", 8)}}
    assert find(name)().needs(12, 3) == needs[name]


@pytest.mark.parametrize("name", ["finetune", "kd", "pkd"])
@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"frozen": ["head"]}, "the head of a pretrained start is untrained"),
        ({"source": "predecessor", "frozen": ["layers"]}, "a model with frozen layers learns nothing"),
        ({"frozen": ["pooler"]}, "'embeddings', 'layers' or 'head'"),
        ({"source": "teacher"}, "'pretrained' or 'predecessor'"),
        ({"layers": "middle"}, "'bottom', 'top' or 'interleaved'"),
        ({"sauce": "predecessor"}, "Extra inputs"),
    ],
)
def test_starts_that_cannot_be_are_refused(name, start, message):
    with pytest.raises(ValidationError, match=message):
        find(name)(start=start)


@pytest.mark.parametrize("parts", [1, 4])
def test_frozen_fine_tuning_from_the_predecessor_is_theseus_at_rate_1_bit_for_bit(parts):
    """The control of the attribution suite, under dropout: the same losses at every evaluation, the same weights."""
    frozen = find("finetune")(start={"source": "predecessor", "frozen": ["embeddings", "head"]})
    theseus = find("theseus")(rate={"kind": "constant", "p": 1.0})
    settings = SETTINGS.model_copy(update={"micro_batches": parts})
    found = []
    for method in (frozen, theseus):
        model, points = method.build(given(dropout=0.1)), []
        train(Fit(method, model, tiny.tokens(40), {}, settings, 3, CPU), points.append)
        found.append((method.successor(model), [(point.loss, point.gradient_norm) for point in points]))
    (first, losses), (second, others) = found
    assert len(losses) == 4
    assert losses == others
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())
    assert not same_weights(first, of_layers(tiny.bert(4, seed=1), [0, 1]))  # and it did learn


def test_dropout_is_on_in_that_equivalence():
    method = find("finetune")(start={"source": "predecessor"})
    model = method.build(given(dropout=0.1)).train()
    assert not torch.equal(model(**inputs()).logits, model(**inputs()).logits)
