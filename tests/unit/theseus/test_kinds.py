"""Models whose layers are not all alike, with several stacks, or split into modules of several sizes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    EsmConfig,
    EsmForSequenceClassification,
    Gemma2Config,
    Gemma2ForCausalLM,
    LongformerConfig,
    LongformerForSequenceClassification,
    T5Config,
    T5EncoderModel,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
)

from tests import tiny
from tests.compare import same_weights
from theseus import ConstantRate, Theseus, TheseusError, find_blocks, keep_layers

NEVER, ALWAYS = ConstantRate(0.0, 10**9), ConstantRate(1.0, 0)
TEXT = {"vocab_size": 65, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
IDS = torch.arange(3, 27).reshape(2, 12)


def gemma(kinds: str) -> Gemma2ForCausalLM:
    """A layer per letter: s looks at four tokens, f at all."""
    torch.manual_seed(0)
    types = [{"s": "sliding_attention", "f": "full_attention"}[kind] for kind in kinds]
    config = Gemma2Config(**TEXT, num_hidden_layers=len(kinds), layer_types=types, sliding_window=4, head_dim=16,
                          num_key_value_heads=1, initializer_range=0.3, attention_dropout=0.0)  # fmt: skip
    return Gemma2ForCausalLM(config).eval()


def t5() -> T5EncoderModel:
    torch.manual_seed(0)
    config = T5Config(vocab_size=65, d_model=32, d_ff=64, d_kv=16, num_heads=2, num_layers=4, dropout_rate=0.0)
    return T5EncoderModel(config).eval()


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_every_layer_gets_the_mask_of_its_kind():
    """By hand: the second module replaced by a layer of the kind of its source."""
    model = gemma("sfsf")
    theseus = Theseus(model, 2, NEVER)
    assert torch.equal(logits(theseus.model), logits(model))
    theseus.gates = [False, True]  # layers 0 and 1, then the copy of layer 1, which sees everything
    assert torch.equal(logits(theseus.model), logits(keep_layers(model, [0, 1, 1])))
    assert theseus.successor().config.layer_types == ["sliding_attention", "full_attention"]


def test_a_successor_layer_has_a_kind_that_its_module_has():
    """Layer 1 is a sliding one; the second module has none."""
    theseus = Theseus(gemma("ssff"), 2, ALWAYS)
    successor = theseus.successor()
    assert successor.config.layer_types == ["sliding_attention", "full_attention"]
    assert torch.equal(logits(theseus.model), logits(successor))


def test_a_kind_that_no_layer_of_the_successor_has_is_said():
    with pytest.warns(UserWarning, match=r"no layer of the successor is of the kind full_attention"):
        Theseus(gemma("sfsf"), 2, ALWAYS, init="interleaved")


def test_a_first_layer_of_its_own_stays_one():
    """T5's first layer alone holds the position bias: a successor that starts from the top keeps that."""
    model = t5()
    successor = Theseus(model, 2, ALWAYS, init="top").successor()
    first, theirs = find_blocks(successor).layers[0].layer, find_blocks(model).layers
    bias = "SelfAttention.relative_attention_bias.weight"
    assert torch.equal(first[0].get_parameter(bias), theirs[0].layer[0].get_parameter(bias))
    assert same_weights(first[1], theirs[2].layer[1])
    assert same_weights(find_blocks(successor).layers[1], theirs[3])


@pytest.mark.parametrize(("layers", "sizes"), [(8, [1, 2] * 4), (5, [2, 2, 3, 2, 3])])
def test_modules_of_several_sizes(layers, sizes):
    model = tiny.bert(layers=12)
    theseus = Theseus(model, layers, NEVER, sizes=sizes, init="interleaved")
    starts = [sum(sizes[:i]) for i in range(layers)]
    with torch.no_grad():
        assert torch.equal(theseus.model(**tiny.inputs()).logits, model(**tiny.inputs()).logits)
        theseus.gates = [True] * layers
        wanted = keep_layers(model, starts)(**tiny.inputs()).logits
        assert torch.equal(theseus.model(**tiny.inputs()).logits, wanted)


@pytest.mark.parametrize("sizes", [[6, 6], [1, 2, 3], [4, 4, 4, 0], [5, 5, 1, 2]])
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(TheseusError, match="must be 4 numbers above 0 that add up to 12 layers"):
        Theseus(tiny.bert(layers=12), 4, NEVER, sizes=sizes)


def test_a_depth_that_does_not_divide_is_told_of_sizes():
    with pytest.raises(TheseusError, match=r"use 6, 4, 3, 2, 1, or name the size of each, e.g. sizes=\[1, 2, 1, 2,"):
        Theseus(tiny.bert(layers=12), 8, NEVER)


def bart() -> BartForConditionalGeneration:
    torch.manual_seed(0)
    config = BartConfig(vocab_size=65, d_model=32, encoder_layers=4, decoder_layers=4, encoder_attention_heads=2,
                        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, dropout=0.0)  # fmt: skip
    return BartForConditionalGeneration(config).eval()


@pytest.mark.parametrize(("side", "depths"), [("encoder", (2, 4)), ("decoder", (4, 2))])
def test_one_side_of_an_encoder_decoder_model(side, depths):
    config = Theseus(bart(), 2, ALWAYS, stack=side).successor().config
    assert (config.encoder_layers, config.decoder_layers) == depths


def test_a_stack_that_there_is_not_is_refused():
    with pytest.raises(TheseusError, match=r"stack='middle' names 0 of the stacks .*model\.encoder\.layers, "):
        Theseus(bart(), 2, ALWAYS, stack="middle")


def test_lists_with_a_value_per_layer_are_those_of_the_layers_that_are_kept():
    windows = [2, 4, 6, 8]
    config = LongformerConfig(**TEXT, num_hidden_layers=4, attention_window=windows, sep_token_id=2)
    model = LongformerForSequenceClassification(config).eval()
    assert keep_layers(model, [1, 3]).config.attention_window == [4, 8]
    assert Theseus(model, 2, ALWAYS, init="top").successor().config.attention_window == [6, 8]
    assert model.config.attention_window == windows


def test_weights_with_a_slice_per_layer_are_cut_to_the_layers_that_are_kept():
    config = EsmConfig(**TEXT, num_hidden_layers=4, mask_token_id=3)
    model = EsmForSequenceClassification(config).eval()
    whole = model.esm.contact_head.regression.weight
    assert torch.equal(keep_layers(model, [1, 3]).esm.contact_head.regression.weight, whole[:, [2, 3, 6, 7]])


def test_layerdrop_rests_while_modules_are_drawn():
    config = Wav2Vec2Config(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
                            conv_dim=[16], conv_stride=[80], conv_kernel=[80], num_feat_extract_layers=1,
                            num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, layerdrop=0.5)  # fmt: skip
    model = Wav2Vec2ForSequenceClassification(config).eval()
    theseus = Theseus(model, 2, NEVER)
    assert theseus.model.config.layerdrop == 0.0
    assert theseus.successor().config.layerdrop == model.config.layerdrop == 0.5


def test_nothing_is_left_behind_by_the_checks():
    """The predecessor, its config and the random generators are as before."""
    model = gemma("sfsf").train()
    config, state = copy.deepcopy(model.config.to_dict()), copy.deepcopy(model.state_dict())
    attributes = [dict(vars(module)) for module in model.modules()]
    random = torch.get_rng_state()
    Theseus(model, 2, ALWAYS)
    assert torch.equal(torch.get_rng_state(), random)
    assert model.config.to_dict() == config
    assert [dict(vars(module)) for module in model.modules()] == attributes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_in_half_precision_that_are_to_be_trained_are_said(dtype):
    with pytest.warns(UserWarning, match=f"the weights that train are {dtype}"):
        Theseus(tiny.bert(layers=4).to(getattr(torch, dtype)), 2, ALWAYS)
