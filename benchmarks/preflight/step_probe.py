"""Take the first step of a run on a batch of its longest example; `benchmarks.preflight.first_step` says why."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from benchmarks.models.loading import load_finetuned
from benchmarks.models.source import EncoderSource
from benchmarks.plans.run import Run
from benchmarks.preflight.rehearsal import fit_of
from benchmarks.preflight.token_facts import TokenFacts
from benchmarks.runs.faults import reason
from benchmarks.runs.kept import answers_of, check_answers
from benchmarks.runs.tokens import tokenizer_of
from benchmarks.tasks import kinds
from benchmarks.tasks.data import load_splits
from benchmarks.tasks.tokens import Tokens
from benchmarks.training.forward import logits
from benchmarks.training.step import stepping
from results.format.untrusted import text

CORRELATED = 0.3
SAID = 250  # characters of an error that are shown
SCALED = 512  # dev examples on which a given predecessor's scale is looked at


def failure_of(run: Run, facts: TokenFacts, brought: str | None) -> str | None:
    """Why the first step of a run fails, in one line, or None. `brought`: the folder of a given predecessor."""
    try:
        _take(run, facts, brought)
    except Exception as error:  # whatever the run would raise
        return _words(run, facts, error)
    return None


def _take(run: Run, facts: TokenFacts, brought: str | None) -> None:
    if run.finetuned:
        model = load_finetuned(Path(run.finetuned), run.device.attention, run.task.kind).to(run.device.device)
        kinds.find(run.task.kind).check_model(model)
        logits(model, _batch(run, facts, run.tokenizer), run.device)
        if run.task.kind == kinds.CLASSIFICATION and run.task.regression:
            _check_scale(run, model)
        return
    training = run.training.model_copy(update={"max_steps": 1})
    fit = fit_of(run, lambda encoder: _batch(run, facts, encoder), training, brought)
    kinds.find(run.task.kind).check_model(fit.model.eval())
    fit.model.train()
    with stepping(fit) as step:
        step(0, torch.arange(len(fit.tokens)))
    if run.keep_successor:
        successor = fit.method.successor(fit.model)
        with tempfile.TemporaryDirectory() as folder:
            successor.save_pretrained(folder)
            expected = answers_of(successor, run.task, fit.tokens, run.device)
            check_answers(Path(folder), run.task, fit.tokens, expected, run.device)


def _batch(run: Run, facts: TokenFacts, encoder: EncoderSource) -> Tokens:
    """A batch of the longest example, and another example, so that there is padding."""
    rows = load_splits(run.source)[facts.split]
    most = max(1, run.training.batch_size - 1)
    return _tokens(run, encoder, rows.select([facts.row] * most + [0]))


def _tokens(run: Run, encoder: EncoderSource, rows: Any) -> Tokens:
    own = Dataset.from_dict(rows.to_dict(), features=rows.features)  # selecting rows leaves the table behind them whole
    tokens: Tokens = kinds.find(run.task.kind).encode(tokenizer_of(encoder), run.task, own, run.max_length, train=True)
    return tokens


def _check_scale(run: Run, model: Any) -> None:
    """Raises `ValueError` for a regression model that knows the task, but answers on another scale. Its pupils would
    learn that scale, and every score but a correlation would be wrong."""
    rows = load_splits(run.source)[next(iter(run.task.dev))]
    tokens = _tokens(run, run.tokenizer, rows.select(range(0, len(rows), max(1, len(rows) // SCALED))))
    answers, labels = logits(model, tokens, run.device)[:, 0], tokens.labels.numpy()
    error, variance = float(np.square(answers - labels).mean()), float(labels.var())
    correlation = float(np.corrcoef(answers, labels)[0, 1])
    if error > variance and correlation > CORRELATED:
        raise ValueError(
            f"its answers correlate with the labels ({correlation:.2f}) but lie on another scale, from "
            f"{answers.min():.2f} to {answers.max():.2f} (mean squared error {error:.2f}, variance of the labels "
            f"{variance:.2f}): fine-tune it on the task's own scale, 0 to 5"
        )


def _words(run: Run, facts: TokenFacts, error: Exception) -> str:
    """One line: which run, why, and what to change."""
    said, positions, length = reason(error, run), facts.positions, min(facts.longest, run.max_length)
    if re.search(r"scaled_dot_product_attention|attn_implementation|attention implementation", said):
        remedy = ': set device.attention = "eager"'
    elif positions and length > positions:
        remedy = f": the longest example has {length} tokens: set task.{run.task.name}.max_length = {positions}"
    elif run.finetuned or said.startswith("out of memory"):
        remedy = ""
    else:
        remedy = ": change the arm, or leave it out with --methods"
    what = f"the predecessor in {run.finetuned}" if run.finetuned else f"the first step of arm {run.arm}"
    return f"{run.task.name}: {what} fails ({text(said, SAID)}){remedy}"
