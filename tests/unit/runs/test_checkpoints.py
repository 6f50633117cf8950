"""Compressed checkpoints of other makers, as the `pretrained` method takes them: local folders of each architecture."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
)

from baselines import find
from baselines.method import LOGITS, Given
from benchmarks.machine.settings import Device
from benchmarks.models.encoder import find_encoder
from benchmarks.models.loading import load_pretrained, load_tokenizer
from benchmarks.models.settings import Encoder
from benchmarks.models.source import EncoderSource
from benchmarks.tasks.table import find_task
from benchmarks.training.fit import Fit
from benchmarks.training.loop import train
from benchmarks.training.settings import Training
from tests import tiny
from tests.compare import equal

BERT = {"num_attention_heads": 2, "intermediate_size": 64, "vocab_size": len(tiny.WORDS), "max_position_embeddings": 64}


def save_distilbert(folder: Path) -> None:
    """As on the hub: with the head of its pre-training."""
    config = DistilBertConfig(dim=32, n_layers=3, n_heads=2, hidden_dim=64, vocab_size=len(tiny.WORDS),
                              max_position_embeddings=64)  # fmt: skip
    DistilBertForMaskedLM(config).save_pretrained(folder)


def save_pd_bert(folder: Path) -> None:
    """Six layers with a masked-language head and no pooler."""
    BertForMaskedLM(BertConfig(num_hidden_layers=6, hidden_size=32, **BERT)).save_pretrained(folder)


def save_tinybert(folder: Path) -> None:
    """With the maps to its teacher's width that TinyBERT's weights bring along, and LayerNorm's old names."""
    model = BertModel(BertConfig(num_hidden_layers=4, hidden_size=32, **BERT))
    model.save_pretrained(folder)
    weights = {f"bert.{name}": value for name, value in model.state_dict().items()}
    for layer in range(5):
        weights[f"fit_denses.{layer}.weight"] = torch.randn(48, 32)
        weights[f"fit_denses.{layer}.bias"] = torch.randn(48)
    weights["cls.seq_relationship.weight"] = torch.randn(2, 32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def save_minilm(folder: Path) -> None:
    """Narrower than the suite's encoder, and saved without a prefix."""
    BertModel(BertConfig(num_hidden_layers=4, hidden_size=24, **BERT)).save_pretrained(folder)


CHECKPOINTS = {
    "distilbert": (save_distilbert, 3, 32, "distilbert."),
    "pd-bert": (save_pd_bert, 6, 32, "bert."),
    "tinybert": (save_tinybert, 4, 32, "bert."),
    "minilm": (save_minilm, 4, 24, "bert."),
}


def checkpoint(tmp_path: Path, name: str) -> tuple[EncoderSource, dict[str, torch.Tensor], str]:
    """The folder found as an arm's encoder, the weights in it, and the name of their body."""
    save, layers, hidden, prefix = CHECKPOINTS[name]
    folder = tmp_path / name
    tiny.save_encoder(folder)  # for its tokenizer
    torch.manual_seed(5)
    save(folder)
    weights = load_file(folder / "model.safetensors")
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)} or weights
    return find_encoder(Encoder(name=name, path=str(folder), layers=layers, hidden_size=hidden), own=name), own, prefix


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize(("task", "outputs"), [("rte", 2), ("mnli", 3), ("stsb", 1)])
def test_a_checkpoint_loads_whole_under_the_tasks_own_head(tmp_path: Path, name: str, task: str, outputs: int) -> None:
    source, saved, prefix = checkpoint(tmp_path, name)
    torch.manual_seed(77)
    state = torch.get_rng_state()
    first, second, other = (load_pretrained(source, find_task(task), seed, "sdpa") for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    loaded = first.state_dict()
    body = {key.removeprefix(prefix): value for key, value in loaded.items() if key.startswith(prefix)}
    shared = saved.keys() & body.keys()
    assert len(shared) == len(saved)  # nothing of the body is left behind
    assert all(torch.equal(body[key], saved[key]) for key in shared)
    assert {key.partition(".")[0] for key in body.keys() - shared} <= {"pooler"}
    assert equal(loaded, second.state_dict())  # the new head too, and a pooler that was not saved
    head = {key for key, value in loaded.items() if not torch.equal(value, other.state_dict()[key])}
    assert head
    assert all(not key.startswith(prefix) or ".pooler." in key for key in head)
    inputs = load_tokenizer(source)(["w1 w2", "w3"], ["w4", "w5 w6"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert first(**inputs).logits.shape == (2, outputs)
        assert torch.equal(first(**inputs).logits, second(**inputs).logits)
        assert not torch.allclose(first(**inputs).logits, other(**inputs).logits)
    assert all(parameter.dtype == torch.float32 for parameter in first.parameters())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_fine_tuned_and_distilled_into_whole(tmp_path: Path, name: str) -> None:
    source, _, _ = checkpoint(tmp_path, name)
    device, settings = Device(device="cpu"), Training(max_steps=3, batch_size=8, learning_rate=1e-3)
    split = tiny.tokens(24)
    for alpha in (0.0, 0.7):
        method = find("pretrained")(alpha=alpha)
        model = method.build(
            Given(
                predecessor=lambda: pytest.fail("a checkpoint does not start from the predecessor"),
                pretrained=lambda: load_pretrained(source, find_task("rte"), 3, "sdpa"),
                layers=2, gates_seed=0, steps=3,
            )
        )  # fmt: skip
        before = {key: value.clone() for key, value in model.state_dict().items()}
        outputs = {LOGITS: torch.randn(24, 2)} if alpha else {}
        losses: list[float | None] = []
        train(
            Fit(method, model, split, outputs, settings, 0, device), lambda point, kept=losses: kept.append(point.loss)
        )
        assert losses
        assert all(loss is not None and math.isfinite(loss) for loss in losses)
        still = {key for key, value in model.state_dict().items() if torch.equal(value, before[key])}
        assert all("key.bias" in key or "k_lin.bias" in key or "position_ids" in key for key in still), still
        assert method.successor(model) is model
