"""A rival in one file outside the package: found by its file's name, planned, run and reported like any other."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from baselines.finetune import Finetune
from baselines.method import LOGITS, Output
from benchmarks.base.errors import SuiteError
from benchmarks.models.source import EncoderSource
from benchmarks.plans.checks import check_wishes
from benchmarks.training.batches import micro_batches
from benchmarks.training.forward import predecessor_outputs
from tests import tiny
from tests.command import checkout_with, ids_of

# Whole hidden states of mapped layers, as TinyBERT's second loss follows them (Jiao et al. 2020, section 3).
RIVAL = '''
"""Fine-tuning beside the mean squared distance to the hidden states of mapped layers, over all tokens."""

from baselines.method import Output
from baselines.parts.losses import full_precision, task_loss
from baselines.parts.start import Shallow


class Hidden(Shallow):
    deepest: int = 0

    @property
    def uses_predecessor(self):
        return True

    def needs(self, encoder, layers):
        top = self.deepest or encoder
        return frozenset(Output("state", layer * top // layers, "all") for layer in range(1, layers + 1))

    def loss(self, model, batch):
        output = model(**batch.inputs, output_hidden_states=True)
        loss = task_loss(output.logits, batch.labels)
        for wish, states in zip(sorted(batch.outputs), output.hidden_states[1:], strict=True):
            followed = full_precision(batch.outputs[wish])
            distance = (full_precision(batch.all_tokens(states)) - followed).square().mean(-1)
            loss = loss + batch.example_mean(distance)
        return loss


METHOD = Hidden
'''
ARM = '[arms.hidden]\nmethod = "hidden"\ntitle = "Hidden states"\n'


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """The command line of a checkout in which there is one method more, in a folder of its own, and a suite of it."""
    folder = tmp_path_factory.mktemp("own")
    glue = tiny.save_glue(folder / "glue", "rte")
    suite = tiny.save_suite(folder, tiny.save_encoder(folder / "encoder"), glue)
    suite.write_text(suite.read_text().partition("[arms.finetune]")[0] + ARM)
    return checkout_with("baselines", "hidden", RIVAL, folder, suite), folder


@pytest.mark.slow
def test_a_rival_that_follows_whole_hidden_states_runs(command):
    run, folder = command
    done = run("run", "--results", str(folder / "results"), "--seeds", "1", "--workers", "1")
    assert done.returncode == 0, done.stderr
    (found,) = (folder / "results").glob("rte/hidden/*")
    assert json.loads((found / "result.json").read_text())["status"] == "done"
    losses = [json.loads(line)["loss"] for line in (found / "metrics.jsonl").read_text().splitlines()]
    assert losses[0] > losses[-1] > 0.0
    assert {file.name for file in (folder / "results/cache").glob("outputs-*/*.bin")} == {
        "states-2.bin",
        "states-4.bin",
    }


@pytest.mark.slow
def test_its_id_follows_its_file(command):
    run, folder = command
    before, file = ids_of(run, "hidden"), folder / "added" / "hidden.py"
    file.write_text(RIVAL.replace("loss = loss + batch", "loss = loss + 0.5 * batch"))
    changed = ids_of(run, "hidden")
    file.write_text(RIVAL)
    assert not before & changed
    assert ids_of(run, "hidden") == before


@pytest.mark.slow
def test_a_wish_that_cannot_be_served_is_one_line_at_plan_time(command):
    run, _ = command
    done = run("plan", "--set", "arms.hidden.options.deepest=10")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "error: arm hidden wants the predecessor's state after layer 5: the predecessor has layers 1 to 4"


class Wishing(Finetune):
    """Wants what it is told to."""

    uses: bool = True

    @property
    def uses_predecessor(self) -> bool:
        return self.uses

    def needs(self, encoder: int, layers: int) -> frozenset[Output]:
        return WISHES["now"]


WISHES: dict[str, frozenset[Any]] = {}
PREDECESSOR = EncoderSource("deep", "random", None, "random", 4)


@pytest.mark.parametrize(
    ("wish", "own_words", "message"),
    [
        (Output("attention", 2), False, "attention"),  # type: ignore[arg-type]
        (Output("state", 0), False, "layers 1 to 4"),
        (Output("state", 2.0), False, "layers 1 to 4"),  # type: ignore[arg-type]
        (Output("state", 2, "last"), False, "last tokens"),  # type: ignore[arg-type]
        (Output("state", 2, "all"), True, "other tokens"),
        (Output("logits", 0, "all"), False, "one row an example"),
        (Output("logits", 2), False, "one row an example"),
        ("cls-2", False, "baselines.method.Output"),
    ],
    ids=str,
)
def test_every_kind_of_wish_that_cannot_be_served_is_refused(wish, own_words, message):
    WISHES["now"] = frozenset({LOGITS, wish})
    with pytest.raises(SuiteError, match=message):
        check_wishes("mine", Wishing(), 2, PREDECESSOR, own_words)


def test_wishes_that_can_be_served_pass_and_need_a_predecessor():
    WISHES["now"] = frozenset({LOGITS, Output("state", 4), Output("state", 2, "all")})
    check_wishes("mine", Wishing(), 2, PREDECESSOR, own_words=False)
    with pytest.raises(SuiteError, match="uses_predecessor"):
        check_wishes("mine", Wishing(uses=False), 2, PREDECESSOR, own_words=False)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_batchs_states_are_its_predecessors_token_by_token(parts):
    """What a method gets for all tokens lies as its own model's states do, whatever the micro-batches."""
    split, deep, wish = tiny.tokens(40), tiny.bert(4, seed=1).eval(), Output("state", 3, "all")
    outputs = predecessor_outputs(deep, split, {wish}, tiny.CPU)
    assert outputs[wish].shape == (len(split.ids), deep.config.hidden_size)
    for batch, _ in micro_batches(split, torch.tensor([7, 0, 31, 12, 39, 5, 20]), parts, "cpu", outputs):
        with torch.no_grad():
            live = deep(**batch.inputs, output_hidden_states=True).hidden_states[3]
        assert torch.allclose(batch.all_tokens(live), batch.outputs[wish], atol=1e-5)


def test_a_mean_over_examples_does_not_depend_on_the_micro_batches():
    split, deep, wish = tiny.tokens(40), tiny.bert(4, seed=1).eval(), Output("state", 3, "all")
    outputs = predecessor_outputs(deep, split, {wish}, tiny.CPU)
    rows = torch.arange(32)

    def gradient(parts: int) -> torch.Tensor:
        model = tiny.bert(4, seed=2, dropout=0.0).train()
        for batch, _ in micro_batches(split, rows, parts, "cpu", outputs):
            states = model(**batch.inputs, output_hidden_states=True).hidden_states[3]
            distance = (batch.all_tokens(states) - batch.outputs[wish]).square().mean(-1)
            (batch.example_mean(distance) * len(batch.labels) / len(rows)).backward()
        return model.bert.embeddings.word_embeddings.weight.grad

    whole = gradient(1)
    for parts in (2, 4):
        assert torch.allclose(gradient(parts), whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))
