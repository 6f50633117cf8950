"""What is saved is the successor, and what is saved can be gone on with."""

from __future__ import annotations

import copy
import io
import json
import pickle

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, load_model
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    pipeline,
)

from tests import tiny
from tests.architectures import PREFIXES, model_of
from theseus import ConstantRate, LinearRate, Theseus, TheseusError

HALF = ConstantRate(0.5, 10**9)


def train(theseus: Theseus, steps: int, first: int = 0, optimizer: torch.optim.Optimizer | None = None) -> None:
    optimizer = optimizer or torch.optim.AdamW(theseus.trainable_parameters(), lr=1e-2)
    for index in range(first, first + steps):
        theseus.model(**tiny.batch(index)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        theseus.step()


def trained(model: nn.Module | None = None, **options) -> Theseus:
    options = {"layers": 3, "rate": HALF, "trainable": ("layers", "head"), **options}
    theseus = Theseus(tiny.bert(6, seed=1) if model is None else model, **options)
    train(theseus, 3)
    return theseus


def logits(model: nn.Module) -> torch.Tensor:
    return model.eval()(**tiny.inputs()).logits.detach()


def loaded(folder) -> nn.Module:
    """The checkpoint as transformers reads it, with nothing missing, unexpected or of another shape."""
    model, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model


@pytest.mark.parametrize("name", PREFIXES)
def test_the_gated_model_saves_its_successor(name, tmp_path):
    theseus = trained(model_of(name))
    theseus.model.save_pretrained(tmp_path)
    assert torch.equal(logits(loaded(tmp_path)), logits(theseus.model))


@pytest.mark.parametrize(
    "options",
    [{"max_shard_size": "20KB"}, {"state_dict": True}, {"is_main_process": True}, {"save_original_format": False}],
    ids=lambda options: next(iter(options)),
)
def test_the_arguments_of_save_pretrained_hold(options, tmp_path):
    theseus = trained()
    if "state_dict" in options:
        options = {"state_dict": theseus.model.state_dict()}
    theseus.model.save_pretrained(tmp_path, **options)
    assert torch.equal(logits(loaded(tmp_path)), logits(theseus.model))
    assert (tmp_path / "model.safetensors.index.json").exists() == ("max_shard_size" in options)


def test_a_variant_is_saved_under_its_name(tmp_path):
    theseus = trained()
    theseus.model.save_pretrained(tmp_path, variant="half")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path, variant="half")
    assert torch.equal(logits(model), logits(theseus.model))


@pytest.mark.slow
def test_a_state_dict_of_the_compiled_model_is_the_successors(tmp_path):
    theseus = trained()
    theseus.model.save_pretrained(tmp_path, state_dict=torch.compile(theseus.model).state_dict())
    assert torch.equal(logits(loaded(tmp_path)), logits(theseus.model))


def test_a_state_dict_of_the_successor_is_saved_as_it_is(tmp_path):
    theseus, other = trained(), trained(tiny.bert(6, seed=2))
    theseus.model.save_pretrained(tmp_path, state_dict=other.successor().state_dict())
    assert torch.equal(logits(loaded(tmp_path)), logits(other.model))


def test_the_base_model_inside_saves_its_part(tmp_path):
    theseus = trained()
    theseus.model.bert.save_pretrained(tmp_path)
    model, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    hidden = model.eval()(**tiny.inputs()).last_hidden_state
    assert torch.equal(hidden, theseus.model.eval().bert(**tiny.inputs()).last_hidden_state)


def test_modules_that_are_never_replaced_are_saved_too(tmp_path):
    theseus = trained(replace=[1])
    theseus.model.save_pretrained(tmp_path)
    model = loaded(tmp_path)
    assert model.config.num_hidden_layers == 5
    assert torch.equal(logits(model), logits(theseus.model))


def test_a_pipeline_saves_the_successor(tmp_path):
    from transformers import AutoTokenizer

    tiny.save_encoder(tmp_path / "encoder")
    theseus = trained()
    classifier = pipeline(
        "text-classification", theseus.model, tokenizer=AutoTokenizer.from_pretrained(tmp_path / "encoder")
    )
    classifier.save_pretrained(tmp_path / "saved")
    again = pipeline("text-classification", str(tmp_path / "saved"))
    assert again("w1 w2 w3") == classifier("w1 w2 w3")


def test_a_language_model_keeps_its_cache_and_generation_settings(tmp_path):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=6, n_head=2, vocab_size=65, bos_token_id=1, eos_token_id=1))
    model.generation_config = GenerationConfig(max_new_tokens=7, pad_token_id=0)
    theseus = Theseus(model, layers=3, rate=HALF)
    theseus.model.save_pretrained(tmp_path)
    successor = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert successor.config.use_cache
    assert successor.generation_config.max_new_tokens == 7
    assert torch.equal(
        successor(tiny.inputs()["input_ids"]).logits, theseus.model.eval()(tiny.inputs()["input_ids"]).logits
    )


def test_saving_leaves_training_as_it_was(tmp_path):
    saved, plain = trained(), trained()
    saved.model.save_pretrained(tmp_path)
    train(saved, 3, first=3)
    train(plain, 3, first=3)
    assert saved.model.training
    assert torch.equal(logits(saved.model), logits(plain.model))


def test_copies_save_their_own_successor(tmp_path):
    theseus = trained()
    unpickled = pickle.loads(pickle.dumps(theseus))
    buffer = io.BytesIO()
    torch.save(theseus.model, buffer)
    buffer.seek(0)
    for index, model in enumerate(
        [copy.deepcopy(theseus).model, unpickled.model, torch.load(buffer, weights_only=False)]
    ):
        with torch.no_grad():
            model.classifier.bias.fill_(index + 1.0)
        model.save_pretrained(tmp_path / str(index))
        assert torch.equal(loaded(tmp_path / str(index)).classifier.bias, torch.full((2,), index + 1.0))
    assert not torch.equal(theseus.model.classifier.bias, torch.ones(2))


def test_the_successor_is_free_of_this_library(tmp_path):
    successor = trained().successor()
    found = {type(module).__module__.partition(".")[0] for module in pickle.loads(pickle.dumps(successor)).modules()}
    assert found == {"torch", "transformers"}
    assert "save_pretrained" not in vars(successor)


# Loading


@pytest.mark.parametrize("options", [{}, {"replace": [1]}, {"replace": [0, 2]}], ids=str)
def test_the_gated_model_takes_a_successors_weights(options):
    source, other = trained(**options), trained(**options)
    train(other, 3, first=5)
    predecessor = {n: w.clone() for n, w in other.model.state_dict().items() if ".predecessor." in n}
    other.model.load_state_dict(source.successor().state_dict())  # strict
    assert torch.equal(logits(other.model), logits(source.model))
    assert all(torch.equal(other.model.state_dict()[name], weight) for name, weight in predecessor.items())


def test_the_gated_model_takes_its_own_weights():
    source, other = trained(), trained()
    train(other, 3, first=5)
    other.model.load_state_dict(source.model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(source.model.parameters(), other.model.parameters(), strict=True))


def test_a_checkpoint_that_lacks_a_weight_or_has_too_many_layers_is_refused():
    theseus = trained()
    state = theseus.successor().state_dict()
    state.pop("bert.encoder.layer.1.output.dense.bias")
    with pytest.raises(RuntimeError, match=r"Missing key.*layer\.1\.successor\.output\.dense\.bias"):
        theseus.model.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*layer\.3\."):
        theseus.model.load_state_dict(tiny.bert(6).state_dict())


def test_a_loop_of_ones_own_is_resumed_to_the_bit(tmp_path):
    def start() -> tuple[Theseus, torch.optim.Optimizer]:
        theseus = Theseus(tiny.bert(6, seed=1), layers=3, rate=LinearRate(0.3, 0.05), seed=3)
        return theseus, torch.optim.AdamW(theseus.trainable_parameters(), lr=1e-2)

    whole, optimizer = start()
    train(whole, 10, optimizer=optimizer)
    killed, optimizer = start()
    train(killed, 4, optimizer=optimizer)
    killed.model.save_pretrained(tmp_path)
    torch.save({"theseus": killed.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "training.pt")
    resumed, optimizer = start()
    saved = torch.load(tmp_path / "training.pt")
    resumed.model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    resumed.load_state_dict(saved["theseus"])
    optimizer.load_state_dict(saved["optimizer"])
    train(resumed, 6, first=4, optimizer=optimizer)
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))
    assert whole.gates == resumed.gates


# Where it is from


def test_the_config_and_the_card_say_where_the_successor_is_from(tmp_path):
    model = tiny.bert(6, seed=1)
    model.save_pretrained(tmp_path / "my-fine-tuned-bert")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "my-fine-tuned-bert")
    theseus = trained(model, init="top", seed=4)
    theseus.model.save_pretrained(tmp_path)
    card = ModelCard(theseus.card(license="mit", model_name="Half of mine", datasets=["glue"]))
    said = json.loads((tmp_path / "config.json").read_text())["theseus"]
    assert said == loaded(tmp_path).config.theseus
    assert said["predecessor"] == "my-fine-tuned-bert"  # and not the folder that it lies in
    assert (said["layers"], said["init"], said["seed"], said["steps"]) == (3, "top", 4, 3)
    assert (said["rate"], said["replacing_rate"]) == (repr(HALF), 0.5)
    assert (card.data.license, card.data.datasets, card.data.library_name) == ("mit", ["glue"], "transformers")
    assert "# Half of mine" in card.text
    assert f"{sum(weight.numel() for weight in loaded(tmp_path).parameters()):,} parameters" in card.text
    assert "| steps | 3 |" in card.text
    assert str(tmp_path) not in str(card)


def test_a_base_model_of_the_hub_is_named_as_such():
    model = tiny.bert(6)
    model.name_or_path = "someone/their-bert"
    theseus = trained(model)
    assert ModelCard(theseus.card()).data.base_model == "someone/their-bert"
    assert theseus.successor().name_or_path == ""  # or an adapter of the successor would name the predecessor


# Loops that forget step()


def loop(theseus: Theseus, steps: int, micro_batches: int = 1, stepping: bool = True) -> None:
    optimizer = torch.optim.AdamW(theseus.trainable_parameters(), lr=1e-2)
    for index in range(steps):
        for part in range(micro_batches):
            theseus.model(**tiny.batch(index + part)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if stepping:
            theseus.step()


@pytest.mark.parametrize(("drawn", "steps"), [(True, 12), (False, 300)])
def test_a_loop_without_step_is_warned_about_once(drawn, steps, recwarn):
    theseus = Theseus(tiny.bert(2), layers=1, rate=HALF)
    theseus.gates = [drawn]
    loop(theseus, steps, stepping=False)
    loop(theseus, 40, stepping=False)
    assert ["theseus.step()" in str(warning.message) for warning in recwarn] == [True]


def test_a_loop_with_step_is_not_warned_about(recwarn):
    theseus = Theseus(tiny.bert(4), layers=2, rate=HALF)
    loop(theseus, steps=12, micro_batches=3)
    for _ in range(9):
        theseus.model(**tiny.batch())  # nothing moves
    assert [str(warning.message) for warning in recwarn] == []


def test_an_unknown_name_is_an_attribute_error():
    import theseus

    with pytest.raises(AttributeError, match="no attribute 'Thesues'"):
        theseus.Thesues  # noqa: B018
    assert TheseusError is theseus.TheseusError


def test_tied_weights_are_gone_on_with_as_the_page_says(tmp_path):
    """transformers leaves a tied tensor out of the file; `load_model` knows that it is there under another name."""
    config = GPT2Config(n_embd=32, n_layer=4, n_head=2, vocab_size=65, n_positions=64)
    saved, fresh = (Theseus(GPT2LMHeadModel(config).eval(), layers=2, rate=HALF, seed=0) for _ in range(2))
    saved.model.save_pretrained(tmp_path)
    load_model(fresh.model, tmp_path / "model.safetensors")
    ids = torch.arange(9)[None]
    assert torch.equal(fresh.model.eval()(ids).logits, saved.model.eval()(ids).logits)
