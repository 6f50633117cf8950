"""The plan's check is the run's: one optimizer step of every kind of run, under the suite's own settings.

What a plan checks on paper can still fail when it is computed: a model without SDPA attention, a batch that does not
fit into memory, an example longer than the model's positions, a successor that cannot be saved and loaded. So a worker
takes one step of each arm on a batch of the longest example, before anything is trained. A pass is kept per machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import code_hash, hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.identity import packages
from benchmarks.machine.device import Machine
from benchmarks.machine.workers import WorkerDied, side_by_side
from benchmarks.plans.run import Plan, Run
from benchmarks.preflight.token_facts import TokenFacts
from benchmarks.tasks import kinds

KIND = "first-step"
Facts = Mapping[tuple[str, str], TokenFacts]  # by task and tokenizer


@dataclass(frozen=True)
class Trial:
    """A run that stands for all of its kind. `brought`: the folder of the predecessor that the user gives its task."""

    run: Run
    facts: TokenFacts
    brought: str | None
    key: dict[str, Any]


def untried(plan: Plan, runs: Sequence[Run], facts: Facts) -> list[Trial]:
    """The kinds of these runs that this machine has not tried."""
    return [trial for trial in trials(plan, runs, facts) if not machine_cache.read(KIND, bool, trial.key)]


def try_first_steps(plan: Plan, runs: Sequence[Run], facts: Facts, say: Callable[[str], None]) -> None:
    """Raises `SuiteError` for the first kind of these runs whose first step fails."""
    with machine_cache.one_at_a_time(KIND):
        if not (todo := untried(plan, runs, facts)):
            return
        say(f"trying the first step of {len(todo)} kinds of run on their longest examples (once)")
        try:
            (found,) = side_by_side(1, plan.device, tried, todo)
        except WorkerDied as error:
            raise SuiteError(f"the first step of a run fails: {error}: set training.micro_batches higher") from None
        for trial, failure in zip(todo, found, strict=False):  # nothing was tried after a failure
            if failure:
                raise SuiteError(failure)
            machine_cache.write(KIND, trial.key, True)


def tried(todo: list[Trial]) -> list[str | None]:
    """Why each fails, up to the first that does. Runs in a worker."""
    from benchmarks.preflight.step_probe import failure_of  # loads transformers, which the plan does not need

    found: list[str | None] = []
    for trial in todo:
        found.append(failure_of(trial.run, trial.facts, trial.brought))
        if found[-1]:
            break
    return found


def trials(plan: Plan, runs: Sequence[Run], facts: Facts) -> list[Trial]:
    """The longest of each kind: a shorter example cannot fail where a longer one passes."""
    brought = {run.id: run for run in plan.runs if run.finetuned}
    found: dict[str, Trial] = {}
    for run in runs:
        given = run if run.finetuned else brought.get(run.predecessor or "")
        known = facts[run.task.name, run.tokenizer.hash]
        key = _key(run, given, plan.machine)
        length = min(known.longest, run.max_length)
        if (other := found.get(repr(key))) is None or other.key["length"] < length:
            found[repr(key)] = Trial(run, known, given.finetuned if given else None, key | {"length": length})
    return list(found.values())


def _key(run: Run, brought: Run | None, machine: Machine) -> dict[str, Any]:
    """All that decides whether a step can be taken; the length of its examples comes on top."""
    started = run.suite_encoder if run.start else run.encoder
    training = run.training
    return {
        "method": run.method, "options": _whole(run.options), "layers": run.layers, "modules": run.modules,
        "batch": [training.batch_size, training.micro_batches, training.length_groups],
        "device": machine.device.model_dump(mode="json"), "machine": [machine.name, machine.class_],
        "encoders": [started.hash, run.suite_encoder.hash], "start": run.start is not None,
        "task": [
            run.task.kind,
            kinds.find(run.task.kind).outputs(run.task),
            run.task.regression,
            len(run.task.columns),
        ],
        "kept": run.keep_successor,
        "brought": [brought.config.finetuned, run.source.fingerprint] if brought else None,
        "code": code_hash(run.method, run.task.kind), "packages": packages(("torch", "transformers", "tokenizers")),
        "trial": hash_of("benchmarks.preflight.step_probe", "benchmarks.preflight.rehearsal", "benchmarks.runs.kept"),
    }  # fmt: skip


def _whole(options: Any) -> Any:
    """Options without fractions (weights, temperatures, rates): they change values, and no shape."""
    if isinstance(options, dict):
        return {name: _whole(value) for name, value in options.items() if not isinstance(value, float)}
    return options
