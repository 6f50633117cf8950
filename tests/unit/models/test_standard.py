"""Weights in shards are the weights, and every shard decides which model it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import BertModel

from benchmarks.models.checks import check_predecessor
from benchmarks.models.encoder import find_encoder
from benchmarks.models.loading import load_pretrained
from benchmarks.models.settings import Encoder
from benchmarks.models.source import EncoderSource
from benchmarks.models.standard import INDEX, merged
from benchmarks.tasks.table import find_task
from results.format.errors import UserError
from tests import tiny
from tests.compare import equal


def found(folder: Path) -> EncoderSource:
    return find_encoder(Encoder(name="tiny", path=str(folder), layers=4, hidden_size=32))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    folder = tiny.save_encoder(tmp_path / "sharded")
    model = BertModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def test_shards_give_the_model_of_one_file(sharded: Path, tmp_path: Path) -> None:
    whole = tiny.save_encoder(tmp_path / "whole")
    one, other = (load_pretrained(found(folder), find_task("rte"), 1, "sdpa") for folder in (whole, sharded))
    assert equal(one.state_dict(), other.state_dict())


def test_every_shard_decides_the_hash_and_nothing_else_in_the_folder_does(sharded: Path) -> None:
    before = found(sharded).hash
    (sharded / "notes.txt").write_text("tuned on Tuesday", encoding="utf-8")
    assert found(sharded).hash == before
    for shard in sorted(sharded.glob("model-*.safetensors")):
        kept = shard.read_bytes()
        save_file({name: value + 1 for name, value in load_file(shard).items()}, shard, {"format": "pt"})
        assert found(sharded).hash != before
        shard.write_bytes(kept)
    assert found(sharded).hash == before


def test_a_shard_that_is_missing_cut_or_elsewhere_is_one_line(sharded: Path) -> None:
    shard = sorted(sharded.glob("model-*.safetensors"))[0]
    kept = shard.read_bytes()
    shard.write_bytes(kept[:-7])
    with pytest.raises(UserError, match=f"{shard.name} lacks weights"):
        found(sharded)
    shard.unlink()
    with pytest.raises(UserError, match="missing or not a plain file"):
        found(sharded)
    for name in ("../other/model.safetensors", "model.bin", 7):
        (sharded / INDEX).write_text(json.dumps({"weight_map": {"a": name}}), encoding="utf-8")
        with pytest.raises(UserError, match="which is not a file of"):
            found(sharded)
    (sharded / INDEX).write_text('{"weight_map": []}', encoding="utf-8")
    with pytest.raises(UserError, match="names no weights"):
        found(sharded)


def test_a_predecessor_may_be_sharded_too(sharded: Path, tmp_path: Path) -> None:
    tiny.bert().save_pretrained(tmp_path / "given", max_shard_size="60KB")
    folder = merged(tmp_path / "given", "predecessor")
    assert len(check_predecessor(str(folder), find_task("rte"), found(sharded))) == 64
