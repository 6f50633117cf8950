"""What an arm is declared to train is what it would train; counts by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines import find
from benchmarks.base.errors import SuiteError
from benchmarks.models.source import EncoderSource
from benchmarks.plans.checks import check_trainable
from benchmarks.plans.planner import make_plan
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.table import find_task
from tests import tiny

SHAPE = {"vocab_size": 65, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64,
         "max_position_embeddings": 64}  # fmt: skip


RANDOM = EncoderSource("x", "random", None, "random", 4, tuple(sorted(SHAPE.items())))


# by hand: words, positions, two types and their normalisation; four square maps, two of 32 x 64, two normalisations
EMBEDDINGS = (65 + 64 + 2) * 32 + 2 * 32


LAYER = 4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + 2 * 2 * 32


DECLARED = [
    ("finetune", {}, EMBEDDINGS + 2 * LAYER),
    ("kd", {"start": {"frozen": ["embeddings"]}}, 2 * LAYER),
    ("pkd", {}, EMBEDDINGS + 2 * LAYER),
    ("finetune", {"start": {"source": "predecessor", "frozen": ["embeddings", "head"]}}, 2 * LAYER),
    ("theseus", {}, 2 * LAYER),
    ("theseus", {"clip": "all"}, 2 * LAYER),
    ("theseus", {"replace": [2]}, LAYER),
    ("theseus", {"trainable": ["layers", "embeddings", "head"]}, EMBEDDINGS + 2 * LAYER),
    ("layerdrop", {}, EMBEDDINGS + 4 * LAYER),
    ("predecessor", {}, EMBEDDINGS + 4 * LAYER),
]


@pytest.mark.parametrize(("name", "options", "count"), DECLARED)
def test_the_declared_number_of_trained_parameters_is_checked(
    name: str, options: dict[str, object], count: int
) -> None:
    method = find(name)(**options)
    modules = 4 if name == "predecessor" else 2
    check_trainable(method, RANDOM, RANDOM, find_task("rte"), modules, count)
    check_trainable(method, RANDOM, RANDOM, find_task("rte"), modules, None)
    with pytest.raises(SuiteError, match=f"would train {count:,} parameters without the head") as caught:
        check_trainable(method, RANDOM, RANDOM, find_task("rte"), modules, count - 1)
    assert f"method {name} on rte" in str(caught.value)
    assert f"the suite declares {count - 1:,}" in str(caught.value)


def test_a_method_that_trains_more_than_it_says_is_refused() -> None:
    class Sly(find("finetune")):
        @property
        def trains(self) -> frozenset[str]:
            return frozenset({"layers"})

        def build(self, given: object) -> object:
            model = super().build(given)
            model.requires_grad_(True)
            return model

    head = (32 * 32 + 32) + (32 * 2 + 2)  # pooler and classifier
    everything = EMBEDDINGS + 2 * LAYER + head
    with pytest.raises(SuiteError, match=f"would train {everything:,} parameters, but .* have {2 * LAYER:,}"):
        check_trainable(Sly(), RANDOM, RANDOM, find_task("rte"), 2, None)


def test_a_suite_that_declares_a_wrong_number_cannot_be_planned(tmp_path: Path) -> None:
    suite = tiny.save_suite(tmp_path, tiny.save_encoder(tmp_path / "encoder"), tiny.save_glue(tmp_path / "glue", "rte"))
    with pytest.raises(
        SuiteError, match=f"would train {2 * LAYER:,} parameters without the head, but the suite declares 1"
    ):
        make_plan(load_suite(str(suite), ["arms.theseus.trainable_parameters=1"]))
    make_plan(load_suite(str(suite), [f"arms.theseus.trainable_parameters={2 * LAYER}"]))
