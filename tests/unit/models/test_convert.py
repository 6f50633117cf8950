"""Pickled weights become safetensors once and where asked; code in a pickle is never run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.base.errors import SuiteError
from benchmarks.models.encoder import find_encoder
from benchmarks.models.loading import load_pretrained, load_tokenizer
from benchmarks.models.settings import Encoder
from benchmarks.tasks.table import find_task
from tests import tiny
from tests.command import cli
from tests.compare import equal


def save_pickle(folder: Path, weights: Any) -> Path:
    """An encoder folder of the old kind: a pickle, a config that does not say what it is, a tokenizer."""
    tiny.save_encoder(folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["model_type"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    torch.save(weights, folder / "pytorch_model.bin")
    return folder


def encoder_weights(tmp_path: Path) -> dict[str, torch.Tensor]:
    return load_file(tiny.save_encoder(tmp_path / "plain") / "model.safetensors")


def test_converted_weights_are_an_encoder_like_any_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights = {f"bert.{name}": value for name, value in encoder_weights(tmp_path).items()}
    tied = {**weights, "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"]}
    source = save_pickle(tmp_path / "old", tied)
    before = Encoder(name="old", path=str(source), layers=4, hidden_size=32)
    with pytest.raises(SuiteError, match=r"model\.safetensors is missing"):
        find_encoder(before)
    assert cli("convert", source, tmp_path / "new") == 0
    assert capfd.readouterr().out.strip() == str(tmp_path / "new")
    found = find_encoder(before.model_copy(update={"path": str(tmp_path / "new")}))
    model = load_pretrained(found, find_task("rte"), 3, "sdpa")
    body = {name: value for name, value in model.state_dict().items() if name.startswith("bert.")}
    assert equal(body, weights)
    assert load_tokenizer(found)("w1 w2")["input_ids"] == [2, 6, 7, 3]  # [CLS] w1 w2 [SEP]


class Bomb:
    """What a pickle may hold: a call that is made when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_holds_code_is_refused_and_the_code_not_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = save_pickle(tmp_path / "old", {**encoder_weights(tmp_path), "bomb": Bomb(tmp_path / "ran")})
    assert cli("convert", source, tmp_path / "new") == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "holds more than tensors" in lines[0]
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "new").exists()
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))  # the bomb is a real one
    assert (tmp_path / "ran").is_dir()


def test_what_cannot_be_converted_is_refused_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    odd = save_pickle(tmp_path / "odd", {"epoch": 3})
    tiny.save_encoder(tmp_path / "safe")
    broken = save_pickle(tmp_path / "broken", {})
    (broken / "pytorch_model.bin").write_bytes(b"not a pickle")
    (tmp_path / "there").mkdir()
    for source, output, message in (
        (odd, "new", "is not a mapping of names to tensors"),
        (tmp_path / "safe", "new", "has no pytorch_model.bin"),
        (broken, "new", "holds more than tensors, or is damaged"),
        (odd, "there", "exists: name a new folder"),
        ("nosuchfolder", "new", "is neither a folder nor name@revision"),
    ):
        assert cli("convert", source, tmp_path / output) == 2
        lines = capfd.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert message in lines[0]
        assert not (tmp_path / "new").exists()
