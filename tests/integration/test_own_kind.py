"""A kind of task in one file outside the package: read, planned and trained under every method like a built-in one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import baselines
from tests import tiny
from tests.command import checkout_with, ids_of

# Classes in an order, such as stars: the loss is the squared distance of the expected class (Rothe et al. 2015, DEX).
KIND = '''
"""Classes in an order: trained and distilled by the expected class."""

import torch
from torch.nn import functional as F

from benchmarks.tasks.kinds.classification import Classification


def expected(logits):
    return logits.float().softmax(-1) @ torch.arange(logits.shape[-1], dtype=torch.float32, device=logits.device)


class Ordinal(Classification):
    def loss(self, output, batch):
        return F.mse_loss(expected(output.logits), batch.labels.float())

    def distance(self, output, batch, teacher, temperature):
        return F.mse_loss(expected(output.logits), expected(teacher))


KIND = Ordinal()
'''
TASK = """
[tasks.stars]
kind = "ordinal"
train = "stars.csv"
columns = ["text"]
max_length = 16
"""
ARMS = '[arms.layerdrop]\nmethod = "layerdrop"\ntitle = "LayerDrop"\n'


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The command line of a checkout in which there is one kind more, in a folder of its own, and a suite of it."""
    folder = tmp_path_factory.mktemp("own")
    rows = [f"w{7 * i % 60} w{i % 5},{1 + i % 5}" for i in range(120)]
    (folder / "stars.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    suite = tiny.save_suite(folder, tiny.save_encoder(folder / "encoder"), folder, extra=ARMS)
    text = suite.read_text().replace('tasks = ["rte"]\n', "").replace("max_steps = 6", "max_steps = 3")
    suite.write_text(text.replace("[comparison]", f"{TASK}[comparison]"))
    return checkout_with("benchmarks.tasks.kinds", "ordinal", KIND, folder, suite), folder


@pytest.mark.slow
def test_a_kind_in_one_file_trains_under_every_method(command, tmp_path: Path):
    run, _ = command
    done = run("run", "--results", str(tmp_path / "results"), "--seeds", "1", "--workers", "1")
    assert done.returncode == 0, done.stderr
    found = {
        path.parent.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("results/*/*/*/result.json")
    }
    assert set(found) == {"predecessor", "finetune", "kd", "pkd", "theseus", "layerdrop"} <= {*baselines.names()}
    assert {one["status"] for one in found.values()} == {"done"}


@pytest.mark.slow
def test_its_runs_ids_follow_its_file(command):
    run, folder = command
    before, file = ids_of(run), folder / "added" / "ordinal.py"
    file.write_text(KIND.replace("return F.mse_loss(expected(output.logits), batch", "return 2 * F.mse_loss(batch"))
    changed = ids_of(run)
    file.write_text(KIND)
    assert not before & changed
    assert ids_of(run) == before


@pytest.mark.slow
def test_an_unknown_kind_is_one_line(command):
    run, _ = command
    done = run("plan", "--set", "tasks.stars.kind=ordinals")
    assert done.returncode == 2
    assert "unknown kind of task 'ordinals': did you mean 'ordinal'?" in done.stderr
    assert len(done.stderr.splitlines()) == 1
