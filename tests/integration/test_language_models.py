"""A suite of a masked and a causal language model, from text files to the bundle of finished runs."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import tiny
from tests.command import cli

pytestmark = pytest.mark.slow

TASKS = """
[tasks.cloze]
kind = "masked-lm"
train = "{text}"
columns = ["text"]
max_length = 16
[tasks.next]
kind = "causal-lm"
train = "{text}"
columns = ["text"]
words = 20
max_length = 16
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    source = random.Random(0)
    texts = [" ".join(source.choices(tiny.WORDS[5:], k=source.randint(0, 50))) for _ in range(60)]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    path = tiny.save_suite(folder, tiny.save_encoder(folder / "encoder"), folder, extra=TASKS.format(text="text.jsonl"))
    path.write_text(path.read_text().replace('tasks = ["rte"]\n', "").replace("seeds = [1, 2]", "seeds = [1]"))
    return path


@pytest.fixture(scope="module")
def finished(suite, tmp_path_factory) -> Path:
    results = tmp_path_factory.mktemp("results") / "tiny"
    assert cli("run", suite, "--results", results, "--workers", "2", "--set", "keep_successors=true") == 0
    return results


def test_a_plan_says_what_is_new_and_what_is_dropped(suite, capfd):
    assert cli("plan", suite) == 0
    said = "".join(capfd.readouterr())
    assert "cloze: encoder tiny has no head for masked-lm (cls.predictions.bias, ...): every run starts from" in said
    assert "cut at 16, which drops" in said
    assert said.count("which drops") == 1


def test_every_run_is_done_and_its_scores_follow_from_what_it_kept(finished):
    results = sorted(finished.glob("*/*/seed-*/result.json"))
    assert len(results) == 2 * 5
    for path in results:
        result = json.loads(path.read_text())
        assert result["status"] == "done", result
        metrics = result["last"]["metrics"]
        kept = pd.read_parquet(path.with_name("predictions.parquet"))
        first, count = np.stack(kept[kept.checkpoint == "last"].sums.to_list()).sum(0)
        if path.parts[-4] == "cloze":
            assert metrics["masked_accuracy"] == pytest.approx(first / count)
            assert result["last"]["score"] == pytest.approx(100 * first / count)
            nats = np.concatenate(kept[kept.checkpoint == "last"].logits.to_list())
            assert metrics["perplexity"] == pytest.approx(math.exp(nats.mean()), rel=1e-5)
        else:
            assert metrics["perplexity"] == pytest.approx(math.exp(first / count))
            assert result["last"]["score"] == pytest.approx(100 / metrics["perplexity"])
            assert metrics["word_perplexity"] > 1
        assert (path.parent / "successor" / "model.safetensors").is_file()


def test_the_predecessor_keeps_no_outputs(finished):
    assert list((finished / "cache").glob("tokens-*"))
    assert not list((finished / "cache").glob("outputs-*"))


def test_finished_runs_are_bundled_imported_and_reported(finished, tmp_path):
    assert cli("bundle", finished, "--output", tmp_path / "runs.zip") == 0
    assert cli("import", tmp_path / "runs.zip", "--results", tmp_path / "other") == 0
    assert cli("report", finished) == 0
    assert "score = 100 / perplexity" in (finished / "report" / "report.html").read_text()
