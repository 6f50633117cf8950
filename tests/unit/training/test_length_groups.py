"""Length groups: the same model over the same examples without most of the padding, whatever the architecture."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from baselines.method import PerExample
from benchmarks.training.cuts import cut
from benchmarks.training.dropout import MaskStream
from benchmarks.training.length_groups import LengthGroups, lay_out
from tests import architectures, tiny
from theseus import find_blocks


def groups_of(model, count=4):
    return LengthGroups(model, find_blocks(model).layers, count, MaskStream(), PerExample())


def ascending(examples=9):
    split = tiny.tokens(40)
    rows = split.lengths.argsort(stable=True)[::4][-examples:]
    return split.collate(rows, "cpu")[0], split.lengths[rows]


def test_every_token_lies_in_its_examples_group_once():
    lengths = torch.tensor([2, 2, 3, 25, 25, 79, 80])
    layout = lay_out(lengths, cut(lengths, 3), "cpu")
    assert [(examples, length) for examples, length, _ in layout.groups] == [(3, 3), (2, 25), (2, 80)]
    assert [mask is None for _, _, mask in layout.groups] == [False, True, False]
    assert len(layout.tokens) == 3 * 3 + 2 * 25 + 2 * 80
    rows, columns = layout.tokens // 80, layout.tokens % 80
    for example, length in enumerate(lengths.tolist()):
        assert set(range(length)) <= set(columns[rows == example].tolist())
    assert rows[layout.first].tolist() == list(range(7))
    assert columns[layout.first].tolist() == [0] * 7
    mask = layout.groups[0][2]
    assert (mask[0, 0] < 0).tolist() == [False, False, True]


def test_more_groups_than_examples_are_one_each():
    lengths = torch.tensor([30, 70])
    layout = lay_out(lengths, cut(lengths, 8), "cpu")
    assert layout.groups == ((1, 30, None), (1, 70, None))


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "distilbert"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_are_the_padded_models(name, attention):
    model = architectures.model_of(name)
    model.set_attn_implementation(attention)
    inputs, lengths = ascending()
    inputs = {key: value for key, value in inputs.items() if key != "token_type_ids"}
    plain = model(**inputs).logits
    groups = groups_of(model)
    assert groups.fits
    layout = groups.layout(lengths, "cpu")
    assert len(layout.tokens) < inputs["input_ids"].numel(), "something was padding"
    with groups.over(layout):
        found = model(**inputs).logits
    assert torch.allclose(found, plain, atol=1e-5)
    assert torch.equal(model(**inputs).logits, plain), "outside, the model runs as it did"
    groups.close()
    assert model.config._attn_implementation == attention


def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=65, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, pad_token_id=0
    )
    return LlamaForSequenceClassification(config).eval()


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_model_that_reads_more_than_words_and_mask_keeps_its_padding(name):
    """GPT-2's head reads the last token and Llama's layers take rotary positions."""
    model = llama() if name == "llama" else architectures.model_of(name)
    inputs, lengths = ascending()
    inputs = {key: value for key, value in inputs.items() if key != "token_type_ids"}
    plain = model(**inputs).logits
    groups = groups_of(model)
    assert not groups.fits
    assert groups.layout(lengths, "cpu") is None
    with groups.over(None):
        assert torch.equal(model(**inputs).logits, plain)


def test_attention_drops_as_often_as_it_is_told():
    """Over many masks the mean of the first layer's attention is what it is without dropout."""
    model = tiny.bert(2)
    for layer in model.bert.encoder.layer:
        layer.attention.self.dropout = nn.Dropout(0.4)
    inputs, lengths = ascending()
    groups = groups_of(model)
    layout = groups.layout(lengths, "cpu")
    states = {}
    model.bert.encoder.layer[0].attention.self.register_forward_hook(lambda _m, _a, out: states.update(out=out[0]))
    with torch.no_grad(), groups.over(layout):
        model.eval()
        model(**inputs)
        expected = states["out"]
        model.train()
        found = []
        for seed in range(400):
            groups.masks.restart(seed)
            model(**inputs)
            found.append(states["out"])
    error = (torch.stack(found).mean(0) - expected).abs().mean()
    spread = torch.stack(found).std(0).mean()
    assert spread > 0.01 * expected.abs().mean()
    assert error < 2 * spread / 400**0.5


def test_a_model_of_one_layer_has_a_stack_too():
    model = tiny.bert(1)
    inputs, lengths = ascending()
    plain = model(**inputs).logits
    groups = groups_of(model)
    with groups.over(groups.layout(lengths, "cpu")):
        assert torch.allclose(model(**inputs).logits, plain, atol=1e-5)


def test_a_layer_that_reads_the_batch_as_it_came_does_not_fit():
    """It adds what it kept of the embeddings, by example and place: right while nothing moves, so two groups must."""
    model, kept = architectures.model_of("bert"), []
    model.bert.embeddings.register_forward_hook(lambda *call: kept.append(call[2].flatten(0, 1)))

    def add(_, __, output):
        states = output[0] if isinstance(output, tuple) else output
        return states + kept[-1].view(states.shape[0], -1, states.shape[-1])

    find_blocks(model).layers[1].register_forward_hook(add)
    inputs, lengths = ascending()
    assert model(**inputs).logits.isfinite().all()
    groups = groups_of(model)
    assert not groups.fits
    assert groups.layout(lengths, "cpu") is None
