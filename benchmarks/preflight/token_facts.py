"""What a tokenizer does to a task's text, in one line a task, before anything is trained.

    rte: [CLS] A [SEP] B [SEP], lower case, segment ids, 0.1% of words unknown, longest example 289 tokens

A tokenizer that is not the model's own gives numbers that look right: one that loses the segment ids of pairs cost six
points on MNLI. So it is asked once per machine, tokenizer and data, on the task's longest texts and on a sample. That
happens in a process of its own with a time limit, because a hostile tokenizer can hang or abort the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.identity import packages
from benchmarks.machine.settings import Device
from benchmarks.machine.workers import WorkerDied, side_by_side
from benchmarks.models.source import EncoderSource
from benchmarks.plans.run import Run
from benchmarks.tasks import kinds
from benchmarks.tasks.data import Source, check_splits

KIND = "token-facts"
SECONDS = 60  # of a processor, for one task and tokenizer; the largest of GLUE's take five
MANY_UNKNOWN = 0.5

Pair = tuple[EncoderSource, Source]


@dataclass(frozen=True)
class TokenFacts:
    """`form`: an example with its special tokens. `lower`: the tokenizer lower-cases. `segments`: the tokens of a
    second text have another type than those of the first; `types`: the types that the model tells apart. `unknown`:
    share of words. `longest`: tokens of the longest example, uncut, which is `row` of `split`. `positions`: of the
    model, None without a limit. `lengths`: tokens of a sample of the training examples, uncut. If the model reads the
    texts of an example separately, all of these are of single texts."""

    form: str
    lower: bool
    segments: bool
    types: int
    unknown: float
    longest: int
    split: str
    row: int
    positions: int | None
    lengths: tuple[int, ...]
    pad: str  # token, where it is the end token


def facts_of(runs: Sequence[Run], device: Device) -> dict[tuple[str, str], TokenFacts]:
    """By task name and tokenizer hash; kept per machine. Raises `SuiteError` for a tokenizer that fails or hangs."""
    pairs = {(run.task.name, run.tokenizer.hash): (run.tokenizer, run.source) for run in runs}
    keys = {name: _key(pair) for name, pair in pairs.items()}
    found = {name: machine_cache.read(KIND, TokenFacts, key) for name, key in keys.items()}
    missing = [pairs[name] for name, facts in found.items() if facts is None]
    if missing:
        new = iter(_asked(missing, device))
        found = {name: facts or _kept(pairs[name], next(new), keys[name]) for name, facts in found.items()}
    return found


def _key(pair: Pair) -> list[Any]:
    encoder, source = pair
    code, versions = hash_of("benchmarks.preflight.tokenizer_probe"), packages(("tokenizers", "transformers"))
    task = source.task
    return [encoder.hash, source.fingerprint, task.name, task.columns, task.kind, code, versions]


def _asked(pairs: list[Pair], device: Device) -> list[dict[str, Any] | str]:
    try:
        (found,) = side_by_side(1, device, ask, pairs, SECONDS)
    except WorkerDied:
        if len(pairs) > 1:  # to name the one that did it
            return [answer for pair in pairs for answer in _asked([pair], device)]
        return [f"it was stopped after {SECONDS} s, or took too much memory"]
    return list(found)


def _kept(pair: Pair, answer: dict[str, Any] | str, key: list[Any]) -> TokenFacts:
    if isinstance(answer, str):
        raise SuiteError(f"{_place(pair)} fails on the task's text ({answer}): give a tokenizer that fits the model")
    machine_cache.write(KIND, key, answer)
    return TokenFacts(**answer)


def _place(pair: Pair) -> str:
    encoder, source = pair
    return f"{source.task.name}: the tokenizer of encoder {encoder.name} in {encoder.location}"


def here(runs: Iterable[Run]) -> list[Run]:
    """The runs whose tokenizer and data are on this machine for certain; others may have to be fetched first."""
    return [
        run
        for run in runs
        if run.tokenizer.revision is None and not run.tokenizer.random and (run.source.folder or run.task.synthetic)
    ]


def describe(runs: Sequence[Run], device: Device, say: Callable[[str], None]) -> dict[tuple[str, str], TokenFacts]:
    """Say a line for each task and tokenizer. Raises `SuiteError` for a tokenizer that would cost points unseen."""
    found = facts_of(runs, device)
    firsts = {(run.task.name, run.tokenizer.hash): run for run in reversed(runs)}
    for name in found:
        _check(firsts[name], found[name])
    for source in {run.task.name: run.source for run in runs if run.source.folder}.values():
        for warning in check_splits(source):
            say(f"warning: {warning}")
    for name in found:
        say(line(firsts[name], found[name]))
    return found


def _check(run: Run, facts: TokenFacts) -> None:
    if _paired(run) and facts.types > 1 and not facts.segments:
        raise SuiteError(
            f"{_place((run.tokenizer, run.source))} gives both texts of a pair the same segment, but the model tells "
            f'{facts.types} apart: add "token_type_ids" to model_input_names in its tokenizer_config.json'
        )
    if kinds.find(run.task.kind).words and facts.longest > run.max_length:
        raise SuiteError(
            f"{run.task.name}: the longest example (row {facts.row} of {facts.split}) has {facts.longest} tokens, and "
            f"max_length = {run.max_length} would cut off words that are scored: set task.{run.task.name}.max_length = "
            f"{facts.longest}"
        )


def _paired(run: Run) -> bool:
    """Whether the model reads the two texts of an example together."""
    return len(run.task.columns) == 2 and not kinds.find(run.task.kind).separate


def line(run: Run, facts: TokenFacts) -> str:
    """The facts in words."""
    own = "" if run.tokenizer == run.suite_encoder else f" {run.arm}"
    segments = f"{'' if facts.segments else 'no '}segment ids, " if _paired(run) else ""
    limits = [f"cut at {run.max_length}"] if facts.longest > run.max_length else []
    if limits and kinds.find(run.task.kind).chunked:
        dropped = sum(max(0, length - run.max_length) for length in facts.lengths) / max(1, sum(facts.lengths))
        limits[0] += f", which drops {dropped:.1%} of the tokens"
    limits += [f"the model has {facts.positions} positions"] if facts.positions else []
    unfit = facts.unknown > MANY_UNKNOWN or min(facts.longest, run.max_length) > (facts.positions or facts.longest)
    return (
        f"{'warning: ' if unfit else ''}{run.task.name}{own}: {facts.form}, "
        f"{'lower case' if facts.lower else 'case kept'}, {segments}{facts.unknown:.1%} of words unknown, "
        f"{f'padded with the end token {facts.pad}, ' if facts.pad else ''}longest example {facts.longest} tokens"
        + (f" ({'; '.join(limits)})" if limits else "")
    )


def ask(pairs: list[Pair], seconds: int) -> list[dict[str, Any] | str]:
    """The facts of each pair, or why there are none. Runs in a process of its own."""
    from benchmarks.preflight.tokenizer_probe import probed  # loads transformers, which the plan does not need

    return [probed(*pair, seconds) for pair in pairs]
