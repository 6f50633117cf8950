"""The determinism probe: does training on this machine repeat bit for bit?

Before a suite starts, a worker under the suite's device settings trains every arm twice for a few steps from the same
seed, with the step of the shared loop, and compares all tensors after every step. If they differ, results of the suite
may not repeat, and a resumed run may end elsewhere than an uninterrupted one.

The model has the suite's width, random weights, the smallest depth that the arm's method allows and 1,000 words (few
words repeat often, which makes the sums of the embeddings' gradient harder to repeat). The result "bit-equal" is cached
per machine, so a suite pays for its probe once. A difference is not cached.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

import baselines
from baselines.method import Method, Output
from benchmarks.base import machine_cache
from benchmarks.base.code_hash import code_hash, hash_of
from benchmarks.base.errors import SuiteError
from benchmarks.base.identity import packages
from benchmarks.machine.device import Machine
from benchmarks.machine.settings import Device
from benchmarks.machine.workers import WorkerDied, side_by_side
from benchmarks.plans.run import Plan, Run
from benchmarks.preflight.step_timer import made_up, model_of, tokens_of
from benchmarks.tasks.kinds import CLASSIFICATION
from benchmarks.training.fit import Outputs, given_for, prepared
from benchmarks.training.forward import predecessor_outputs
from benchmarks.training.settings import Training
from benchmarks.training.step import stepping
from results.format.documents.run import Probe

STEPS = 4  # enough for steps before and after a replacing rate reaches 1 half-way, and for a second stage
EXAMPLES, LONGEST, VOCABULARY = 8, 32, 1000
SEED = 1
Shape = dict[str, int]  # the sizes of an encoder by their names in its config


@dataclass(frozen=True)
class Kind:
    """A way of training, probed once for all runs that share it. `options`: of the method, as JSON; `layers`: of the
    successor, whose predecessor has twice as many; `task`: the kind of task."""

    method: str
    options: str
    layers: int
    task: str = CLASSIFICATION
    regression: bool = False
    length_groups: int = 8
    micro_batches: int = 1

    def build(self) -> Method:
        return baselines.find(self.method)(**json.loads(self.options))


def default_kind(name: str) -> Kind:
    """A method with its default options."""
    method = baselines.find(name)()
    options = json.dumps(method.model_dump(mode="json"), sort_keys=True)
    return Kind(name, options, least_depth(method, 12, 6))


def kind_of(run: Run) -> Kind:
    """The kind of training that a run needs probed."""
    layers = least_depth(run.build(), run.suite_encoder.layers, run.modules)
    options = json.dumps(run.options, sort_keys=True)
    regression = run.task.kind == CLASSIFICATION and run.task.regression
    return Kind(run.method, options, layers, run.task.kind, regression, run.training.length_groups,
                run.training.micro_batches)  # fmt: skip


def least_depth(method: Method, encoder: int, layers: int) -> int:
    """The fewest successor layers with which a method needs the same sorts of predecessor outputs as at its own depth.
    PKD, for example, needs an inner layer and so at least two layers."""
    sorts = _sorts(method, encoder, layers)
    for fewer in range(1, layers):
        with contextlib.suppress(ValueError):
            method.check(2 * fewer, fewer)
            if _sorts(method, 2 * fewer, fewer) == sorts:
                return fewer
    return layers


def _sorts(method: Method, encoder: int, layers: int) -> set[tuple[str, str]]:
    return {(output.what, output.tokens) for output in method.needs(encoder, layers)}


def probe_suite(plan: Plan, runs: Sequence[Run], shape: Shape | None, say: Callable[[str], None]) -> dict[str, Probe]:
    """The probe's result for each arm's manifests. `shape`: sizes of the encoder; where they are unknown, the suite's
    width and BERT's proportions. Raises `SuiteError` if a strict suite is not deterministic."""
    width = plan.suite.encoder.hidden_size
    usual = {"vocab_size": VOCABULARY, "hidden_size": width, "intermediate_size": 4 * width,
             "num_attention_heads": max(1, width // 64), "max_position_embeddings": LONGEST}  # fmt: skip
    kinds = _by_arm(runs)
    found = differences({kind for own in kinds.values() for kind in own}, usual | (shape or {}), plan.machine, say)
    firsts = {arm: next(filter(None, map(found.get, sorted(own, key=repr))), None) for arm, own in kinds.items()}
    if differing := [f"{arm}: {first}" for arm, first in firsts.items() if first]:
        if plan.suite.strict:
            raise SuiteError(
                f"suite {plan.suite.name} is strict and does not repeat bit for bit here ({differing[0]}): "
                "use other [device] settings, or strict = false"
            )
        say(f"warning: training does not repeat bit for bit here ({'; '.join(differing)}): results may not repeat")
    return {arm: Probe(first is None, STEPS, {arm: first}) for arm, first in firsts.items()}


def _by_arm(runs: Sequence[Run]) -> dict[str, set[Kind]]:
    """The kinds of each arm. Regression differs from classification only in the loss of a scalar, so it is probed only
    where an arm has no classification."""
    kinds: dict[str, set[Kind]] = {}
    for run in runs:
        kinds.setdefault(run.arm, set()).add(kind_of(run))
    classified = {arm: {kind.task for kind in own if not kind.regression} for arm, own in kinds.items()}
    return {
        arm: {kind for kind in own if not kind.regression or kind.task not in classified[arm]}
        for arm, own in kinds.items()
    }


def differences(kinds: set[Kind], shape: Shape, machine: Machine, say: Callable[[str], None]) -> dict[Kind, str | None]:
    """The first tensor that differs when each kind trains twice, or None. Bit-equal kinds are cached per machine."""
    keys = {kind: _key(kind, shape, machine) for kind in sorted(kinds, key=repr)}
    found: dict[Kind, str | None] = dict.fromkeys(kinds)

    def unknown() -> list[Kind]:
        kept = {kind: machine_cache.read("probe", dict[str, bool | int], key) for kind, key in keys.items()}
        return [kind for kind, answer in kept.items() if not answer or answer.get("bit_equal") is not True]

    if not unknown():
        return found
    with machine_cache.one_at_a_time("probe"):
        if todo := unknown():
            say(f"probing whether training repeats bit for bit ({len(todo)} kinds, once)")
            found |= zip(todo, probe_in_worker(todo, shape, machine.device), strict=True)
        for kind in todo:
            if found[kind] is None:
                with contextlib.suppress(OSError):  # without a writable cache, probe again next time
                    machine_cache.write("probe", keys[kind], {"bit_equal": True, "steps": STEPS})
    return found


def probe_in_worker(kinds: list[Kind], shape: Shape, device: Device) -> list[str | None]:
    """`probe` in a worker process."""
    try:
        (found,) = side_by_side(1, device, probe, kinds, shape, device)
    except WorkerDied as error:
        return [f"not probed: {error}"] * len(kinds)
    return found


def probe(kinds: list[Kind], shape: Shape, device: Device) -> list[str | None]:
    """The `difference` of each kind, or the error that ended its training."""
    found: list[str | None] = []
    for kind in kinds:
        try:
            found.append(difference(kind.build(), kind, shape, device))
        except Exception as error:  # an operation without a deterministic form, or no memory: the run will fail too
            found.append(f"not probed: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return found


def difference(method: Method, kind: Kind, shape: Shape, device: Device) -> str | None:
    """The name of the first tensor in which two equal trainings differ in any bit, or None."""
    first, second = (list(_trained(method, kind, shape, device)) for _ in range(2))  # one after the other, as runs are
    return next((name for (name, one), (_, other) in zip(first, second, strict=True) if one != other), None)


def _trained(method: Method, kind: Kind, shape: Shape, device: Device) -> Iterator[tuple[str, str]]:
    """Name and hash of every tensor that a training computes, in order."""
    sizes = {**shape, "vocab_size": min(shape["vocab_size"], VOCABULARY)}

    def build(layers: int) -> Any:
        return model_of(sizes, layers, device, made_up(kind.task, kind.regression))

    deep, shallow = 2 * kind.layers, kind.layers if method.own_encoder else 2 * kind.layers
    given = given_for(SEED, kind.layers, STEPS, lambda: build(deep), lambda _: build(shallow))
    longest = min(LONGEST, shape.get("max_position_embeddings", LONGEST))
    generator = torch.Generator().manual_seed(SEED)
    lengths = torch.randint(min(4, longest), longest + 1, (EXAMPLES,), generator=generator)
    tokens = tokens_of(lengths, sizes["vocab_size"], kind.task)
    if kind.regression:
        tokens = replace(tokens, labels=tokens.labels.float())
    training = Training(length_groups=kind.length_groups, micro_batches=kind.micro_batches, learning_rate=1e-3)

    def outputs_of(wishes: frozenset[Output]) -> Outputs:
        return predecessor_outputs(build(deep).to(device.device), tokens, wishes, device)

    fit = prepared(method, given, deep, tokens, outputs_of, training, SEED, device, total=STEPS)
    for output in sorted(fit.outputs):
        yield f"the predecessor's {output.name}", _bits(fit.outputs[output])
    model = fit.model.train()
    with stepping(fit) as step:
        for index in range(STEPS):
            stepped = step(index, torch.arange(EXAMPLES))
            yield f"loss of step {index + 1}", _bits(stepped.loss)
            yield f"gradient norm of step {index + 1}", _bits(stepped.gradient_norm)
            for name, values in model.state_dict().items():
                yield f"{name} after step {index + 1}", _bits(values)


def _bits(values: torch.Tensor) -> str:
    """A hash of the bits: NaN equals itself, and 0 differs from -0."""
    flat = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().data).hexdigest()


def _key(kind: Kind, shape: Shape, machine: Machine) -> dict[str, Any]:
    """Everything that decides whether a kind is deterministic: settings, device, code and packages."""
    return {"kind": asdict(kind), "shape": shape, "device": machine.device.model_dump(mode="json"), "steps": STEPS,
           "name": machine.name, "class": machine.class_, "torch": torch.__version__,
           "packages": packages(("torch", "transformers", "numpy")), "code": code_hash(kind.method, kind.task),
           "probe": hash_of("benchmarks.preflight.determinism", "benchmarks.preflight.step_timer")}  # fmt: skip
