"""The inference matrix: predecessor and successor in every variant, batch size, length, thread count and device.

    for document in measure(plan, speed, results_folder, say): ...      # speed.json as it grows (docs/results.md)

Per device, thread count and depth the models are made in every variant and compared with eager float32 (`variants`).
The variants that agree are timed in common rounds (`timing`), the others are refused with the reason. Common rounds
make "int8 successor over eager predecessor" a paired ratio too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.base.errors import SuiteError
from benchmarks.base.identity import packages
from benchmarks.machine import device as devices
from benchmarks.machine.settings import Device
from benchmarks.machine.signals import at_end
from benchmarks.plans.run import Plan
from benchmarks.speed.inputs import DEV, Model, Subjects, depths
from benchmarks.speed.onnx import Refused
from benchmarks.speed.timing import Inputs, time_variants
from benchmarks.speed.variants import (
    LOSSY,
    PRECISION,
    SAME_ANSWERS,
    TOLERANCE,
    Runner,
    VariantAgreement,
    Workshop,
    attempt,
    compare,
    compiling,
    working_memory,
)
from benchmarks.suites.speed import Speed
from benchmarks.tasks import kinds
from results.format.documents.codec import LEFT_OUT, plain
from results.format.documents.speed import (
    SIDES,
    Agreement,
    Closeness,
    Condition,
    DevScore,
    Memory,
    MemorySides,
    NotTimed,
    Sides,
)
from results.format.documents.speed import Speed as Timing
from results.format.layout import digest
from results.format.places import hidden_here

Say = Callable[[str], None]
OWN_BATCHES = 4  # of a condition, on which a variant is compared with eager again


def speed_key(plan: Plan) -> str:
    """A hash of everything that a suite's timing depends on: encoder, depths, device and conditions."""
    conditions = plan.suite.speed.model_dump(mode="json") if plan.suite.speed else None
    return digest([subject_key(plan), conditions])


def subject_key(plan: Plan) -> str:
    """A hash of the models and the device without the conditions: a matrix of the same subject is not replaced."""
    device = plain(devices.recorded(plan.device))
    return digest([plan.encoder.hash, depths(plan), device, packages(("torch", "transformers"))])


def cores() -> int:
    """The number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(frozen=True)
class Made:
    """A model in one variant, its agreement with eager, and the seconds that export or compilation took."""

    model: Model
    runner: Runner
    agreement: VariantAgreement | None
    seconds: float


def measure(plan: Plan, speed: Speed, folder: Path | None, say: Say) -> Iterator[Timing]:
    """Measure every condition of `speed`; yields the document so far after each group, and last the complete one.

    `folder`: the suite's results with stored models. `say` is called with a line per condition and per refusal.
    """
    variants = speed.chosen_variants(plan.device.precision)
    found = Subjects.find(plan, speed, folder, needs_data=variants not in (["eager"], ["bfloat16"]))
    _check_lengths(found, speed)
    weights = {f"successor-{model.layers}": model.weights for model in found.successors}
    weights = {"predecessor": found.predecessor.weights, **weights}
    begun = Timing(subject=subject_key(plan), task=found.run.task.name, weights=weights)
    exports = Path(tempfile.mkdtemp(prefix="speed-"))
    with at_end(partial(shutil.rmtree, exports, ignore_errors=True)), ExitStack() as stack:
        bench = Bench(
            found, Workshop(exports, found.types, kinds.find(found.run.task.kind)), speed, variants, say, begun
        )
        for place in bench.places():
            if "compiled" in variants:
                stack.enter_context(compiling())
            for _ in bench.run(place):
                yield replace(bench.timing, complete=False)
    yield replace(bench.timing, complete=True)


def _check_lengths(found: Subjects, speed: Speed) -> None:
    longest = getattr(found.predecessor.module.config, "max_position_embeddings", None)
    most = max((length for length in speed.lengths if length != DEV), default=0)
    if longest and int(most) > longest:
        raise SuiteError(f"speed.lengths goes to {most}, the encoder only to {longest}: set speed.lengths")


class Bench:
    """Makes, checks and times the models on one device after another; `timing` is speed.json as it grows."""

    def __init__(
        self, found: Subjects, workshop: Workshop, speed: Speed, variants: list[str], say: Say, timing: Timing
    ) -> None:
        self.found, self.workshop, self.speed, self.variants = found, workshop, speed, variants
        self.say, self.timing = say, timing

    def places(self) -> Iterator[Device]:
        """Every device with every thread count, in the suite's settings; a GPU gets one count, which hardly matters."""
        own = self.found.plan.device
        counts = self.speed.thread_counts(own.threads, cores())
        names: list[Any] = list(self.speed.devices or ()) or [own.device]
        for name in names:
            if name == "cuda" and not torch.cuda.is_available():
                self._refuse(NotTimed(device="cuda"), "torch sees no CUDA device here")
                continue
            for threads in counts if name == "cpu" else counts[:1]:
                place = own.model_copy(update=dict(device=name, threads=threads, precision="float32"))
                devices.apply(place)
                yield place

    def run(self, place: Device) -> Iterator[None]:
        """Time every depth at one of the `places`; yields after each pair of batch size and length."""
        self.place, self.device_name = place, devices.device_name(place)
        self.probe = self.found.probe(place.device)
        deep = self._reference(self.found.predecessor)
        predecessors = self._side("predecessor", self.found.predecessor, deep, self.variants)
        for model in self.found.successors:
            shallow = self._reference(model)
            pairs = self._side("successor", model, shallow, list(predecessors))
            made = {name: {"predecessor": predecessors[name], "successor": pairs[name]} for name in pairs}
            eager = {"predecessor": deep, "successor": shallow}
            for size in self.speed.batch_sizes:
                for length in self.speed.lengths:
                    if made:
                        self._time(made, eager, size, length)
                        yield

    def _refuse(self, where: NotTimed, reason: str) -> None:
        self.timing = replace(self.timing, refused=(*self.timing.refused, replace(where, reason=hidden_here(reason))))
        self.say(f"not timed: {', '.join(f'{k} {v}' for k, v in plain(where).items() if v is not None)}: {reason}")

    def _reference(self, model: Model) -> Runner:
        return self.workshop.build("eager", model.module.to(self.place.device), "eager", self.place)

    def _side(self, side: str, model: Model, eager: Runner, variants: list[str]) -> dict[str, Made]:
        """One model in every variant that is available and agrees with eager; the others are refused."""
        made = {}
        for variant in variants:
            try:
                started = time.perf_counter()
                one = Made(model, eager, None, 0.0)
                if variant != "eager":
                    name = f"{side}-{model.layers}"
                    runner = self.workshop.build(variant, model.module, name, self.place)
                    agreement = attempt(partial(compare, eager, runner, self.probe))
                    one = Made(model, runner, agreement, time.perf_counter() - started)
                    self._score(variant, side, one, eager)
                    if reason := agreement.refusal(variant, side):
                        raise Refused(reason)
                made[variant] = one
            except Refused as refusal:
                layers = (model.layers, None) if side == "predecessor" else (None, model.layers)
                where = NotTimed(self.place.device, self.place.threads, variant, *layers)
                self._refuse(where, str(refusal))
        return made

    def _score(self, variant: str, side: str, one: Made, eager: Runner) -> None:
        """Compare a rounding variant's dev score with eager's, once per device: threads do not change the logits."""
        task = self.found.run.task.name
        own = (self.place.device, variant, side, one.model.layers)
        known = [(other.device, other.variant, other.side, other.layers) for other in self.timing.dev_scores]
        if variant not in LOSSY or own in known:
            return
        entry = DevScore(*own, task, one.model.run_id)
        if one.model.run_id is None:
            entry = replace(
                entry, reason="no run kept fine-tuned weights of this model (keep_successors = true keeps them)"
            )
        elif not self.found.splits:
            entry = replace(entry, reason="the dev data is not available")
        else:
            base = self._eager_score(side, one.model, eager)
            score, examples = self.found.dev_score(one.runner, self.place.device)
            entry = replace(entry, eager_score=base, score=score, drop=base - score, examples=examples)
            self.say(f"{task} dev score of the {side} in {variant}: {score:.2f}, {base:.2f} in eager float32")
        self.timing = replace(self.timing, dev_scores=(*self.timing.dev_scores, entry))

    def _eager_score(self, side: str, model: Model, eager: Runner) -> float:
        for entry in self.timing.dev_scores:
            same = (entry.device, entry.side, entry.layers) == (self.place.device, side, model.layers)
            if same and entry.eager_score is not None:
                return float(entry.eager_score)
        return self.found.dev_score(eager, self.place.device)[0]

    def _time(self, made: dict[str, dict[str, Made]], eager: dict[str, Runner], size: int, length: int | str) -> None:
        """Check every variant on the condition's own inputs, measure its memory, and time those that agree together."""
        batches = self.found.batches(size, length, self.place.device)
        deep, shallow = (next(iter(made.values()))[side].model.layers for side in SIDES)
        checked: dict[str, dict[str, Any]] = {}
        for variant, sides in made.items():
            try:
                checked[variant] = attempt(partial(self._prepare, variant, sides, eager, batches))
            except Refused as refusal:
                where = NotTimed(self.place.device, self.place.threads, variant, deep, shallow, size, length)
                self._refuse(where, str(refusal))
        if not checked:
            return
        calls = {variant: {side: made[variant][side].runner.call for side in SIDES} for variant in checked}
        timed = time_variants(calls, batches, self.speed, self.place.device)
        lengths = self.found.lengths(size) if length == DEV else LEFT_OUT
        for variant, numbers in timed.items():
            condition = replace(
                numbers, **checked[variant], variant=variant, precision=PRECISION[variant], dev_lengths=lengths,
                device=self.place.device, device_name=self.device_name, attention=self.place.attention,
                threads=self.place.threads, batch_size=size, length=length, predecessor_layers=deep,
                successor_layers=shallow,
            )  # fmt: skip
            self.timing = replace(self.timing, conditions=(*self.timing.conditions, condition))
            self.say(in_words(condition))

    def _prepare(
        self, variant: str, sides: dict[str, Made], eager: dict[str, Runner], batches: list[Inputs]
    ) -> dict[str, Any]:
        """First call, agreement and memory of a condition on its own inputs. Raises `Refused` without agreement."""
        first: dict[str, float] = {}
        agreement: dict[str, Closeness] = {}
        memory: dict[str, Memory] = {}
        for side, one in sides.items():
            started = time.perf_counter()
            one.runner.call(batches[0])
            devices.synchronise(self.place.device)
            first[side] = time.perf_counter() - started
            if one.agreement is not None:
                found = one.agreement.joined(compare(eager[side], one.runner, batches[:OWN_BATCHES]))
                if reason := found.refusal(variant, side):
                    raise Refused(reason)
                agreement[side] = found
            longest = max(batches, key=lambda inputs: inputs["input_ids"].numel())
            memory[side] = Memory(one.runner.weights, working_memory(one.runner, longest, self.place))
        deep, shallow = (agreement.get(side) for side in SIDES)
        limits = (TOLERANCE[variant], SAME_ANSWERS.get(variant))
        return dict(
            preparation_seconds=Sides(*(sides[side].seconds for side in SIDES)),
            first_call_seconds=Sides(*(first[side] for side in SIDES)),
            agreement=Agreement(deep, shallow, *limits) if agreement else None,
            memory=MemorySides(*(memory[side] for side in SIDES)),
        )


def in_words(condition: Condition) -> str:
    shape = f"batch {condition.batch_size}, length {condition.length}, {condition.threads} thread(s)"
    where = f"{condition.variant} on {condition.device}, {shape}, to {condition.successor_layers} layers"
    if condition.ratio is None:
        return f"no speed-up: too few rounds were left, {where}"
    undecided = "" if condition.decided else ", undecided"
    interval = f"{condition.ratio_low:.3f} to {condition.ratio_high:.3f}{undecided}"
    return f"speed-up {condition.ratio:.3f} ({interval}) with {where}, {condition.rounds} rounds"
