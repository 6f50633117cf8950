"""The inference matrix: predecessor and successor in every variant, batch size, length, thread count and device.

    for document in measure(plan, speed, results_folder, say): ...      # speed.json as it grows (docs/results.md)

Per device, thread count and depth the models are made in every variant and compared with eager float32 (see
speed_variants.py); what agrees is timed in common rounds (see speed_timing.py), what does not is refused with its
reason. Timing all variants in the same rounds is what makes "int8 successor over eager predecessor" a paired ratio too.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import device as devices
from benchmarks.errors import SuiteError
from benchmarks.identity import digest, packages
from benchmarks.onnx_export import Refused
from benchmarks.plan import Plan
from benchmarks.settings import Device, Speed
from benchmarks.speed_inputs import DEV, Model, Subjects, depths
from benchmarks.speed_timing import Inputs, time_variants
from benchmarks.speed_variants import (
    LOSSY,
    PRECISION,
    SAME_ANSWERS,
    TOLERANCE,
    Agreement,
    Runner,
    Workshop,
    attempt,
    compare,
    compiling,
    working_memory,
)

Say = Callable[[str], None]
SIDES = ("predecessor", "successor")
OWN_BATCHES = 4  # of a condition, on which a variant is compared with eager once more


def speed_key(plan: Plan) -> str:
    """What a suite's timing depends on: another encoder, depth, device or condition is timed anew."""
    conditions = plan.suite.speed.model_dump(mode="json") if plan.suite.speed else None
    return digest([subject_key(plan), conditions])


def subject_key(plan: Plan) -> str:
    """What is timed and where, whatever the conditions: a matrix of the same subject need not be replaced."""
    device = {**plan.device.model_dump(mode="json"), "class": devices.device_class(plan.device)}
    return digest([plan.encoder.hash, depths(plan), device, packages(("torch", "transformers"))])


def cores() -> int:
    """The cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@dataclass(frozen=True)
class Made:
    """A model in one variant, how far it is from eager, and the seconds its making took (export, compiling)."""

    model: Model
    runner: Runner
    agreement: Agreement | None
    seconds: float


@dataclass
class Document:
    """speed.json as it grows."""

    subject: str
    weights: dict[str, str]
    task: str
    conditions: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    dev_scores: list[dict[str, Any]] = field(default_factory=list)

    def plain(self, complete: bool) -> dict[str, Any]:
        """As written, without the key; `complete` is false for what an interruption leaves."""
        return {
            "subject": self.subject, "complete": complete, "task": self.task, "weights": self.weights,
            "conditions": self.conditions, "refused": self.refused, "dev_scores": self.dev_scores,
        }  # fmt: skip


def measure(plan: Plan, speed: Speed, folder: Path | None, say: Say) -> Iterator[dict[str, Any]]:
    """Measure every condition of `speed`; after each group the document so far, the last one complete.

    `folder`: the suite's results, whose stored models are used. `say` gets a line per condition and per refusal.
    """
    variants = speed.chosen_variants(plan.device.precision)
    found = Subjects.find(plan, speed, folder, needs_data=variants not in (["eager"], ["bfloat16"]))
    _check_lengths(found, speed)
    document = Document(subject_key(plan), _weights(found), found.run.task.name)
    with tempfile.TemporaryDirectory(prefix="speed-") as exports, ExitStack() as stack:
        workshop = Workshop(Path(exports), found.types)
        for place in _places(plan, speed, document, say):
            if "compiled" in variants:
                stack.enter_context(compiling())
            bench = Bench(found, workshop, place, speed, variants, document, say)
            for _ in bench.run():
                yield document.plain(complete=False)
    yield document.plain(complete=True)


def _check_lengths(found: Subjects, speed: Speed) -> None:
    longest = getattr(found.predecessor.module.config, "max_position_embeddings", None)
    most = max((length for length in speed.lengths if length != DEV), default=0)
    if longest and int(most) > longest:
        raise SuiteError(f"speed.lengths goes to {most}, the encoder only to {longest}: set speed.lengths")


def _weights(found: Subjects) -> dict[str, str]:
    """Which weights each model has, by side and depth."""
    shallow = {f"successor-{model.layers}": model.weights for model in found.successors}
    return {"predecessor": found.predecessor.weights, **shallow}


def _places(plan: Plan, speed: Speed, document: Document, say: Say) -> Iterator[Device]:
    """Every device with every thread count, in the suite's settings; a GPU has one count, it hardly matters there."""
    counts = speed.thread_counts(plan.device.threads, cores())
    names: list[Any] = list(speed.devices or ()) or [plan.device.device]
    for name in names:
        if name == "cuda" and not torch.cuda.is_available():
            _refuse(document, say, {"device": "cuda"}, "torch sees no CUDA device here")
            continue
        for threads in counts if name == "cpu" else counts[:1]:
            place = plan.device.model_copy(update={"device": name, "threads": threads, "precision": "float32"})
            devices.apply(place)
            yield place


def _refuse(document: Document, say: Say, where: dict[str, Any], reason: str) -> None:
    entry = {
        key: where.get(key)
        for key in ("device", "threads", "variant", "predecessor_layers", "successor_layers", "batch_size", "length")
    }
    document.refused.append({**entry, "reason": reason})
    say(f"not timed: {', '.join(f'{k} {v}' for k, v in entry.items() if v is not None)}: {reason}")


@dataclass
class Bench:
    """One device and thread count: models made, checked and timed."""

    found: Subjects
    workshop: Workshop
    place: Device
    speed: Speed
    variants: list[str]
    document: Document
    say: Say

    def run(self) -> Iterator[None]:
        """Time every depth; yields after each batch size and length."""
        self.device_name = devices.device_name(self.place)
        self.probe = self.found.probe(self.place.device)
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

    def _reference(self, model: Model) -> Runner:
        return self.workshop.build("eager", model.module.to(self.place.device), "eager", self.place)

    def _side(self, side: str, model: Model, eager: Runner, variants: list[str]) -> dict[str, Made]:
        """One model in every variant that can be had and agrees with eager; the others are refused."""
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
                _refuse(self.document, self.say, self._where(variant) | {f"{side}_layers": model.layers}, str(refusal))
        return made

    def _score(self, variant: str, side: str, one: Made, eager: Runner) -> None:
        """A rounding variant's dev score beside eager's, once per device: threads do not change what it answers."""
        where = {"device": self.place.device, "variant": variant, "side": side, "layers": one.model.layers,
                 "task": self.found.run.task.name}  # fmt: skip
        if variant not in LOSSY or any(where.items() <= entry.items() for entry in self.document.dev_scores):
            return
        entry: dict[str, Any] = {**where, "run_id": one.model.run_id}
        entry |= dict.fromkeys(("eager_score", "score", "drop", "examples", "reason"))
        if one.model.run_id is None:
            entry["reason"] = "no run kept fine-tuned weights of this model (keep_successors = true keeps them)"
        elif not self.found.splits:
            entry["reason"] = "the dev data is not at hand"
        else:
            base = self._eager_score(side, one.model, eager)
            score, examples = self.found.dev_score(one.runner, self.place.device)
            entry |= {"eager_score": base, "score": score, "drop": base - score, "examples": examples}
            self.say(f"{where['task']} dev score of the {side} in {variant}: {score:.2f}, {base:.2f} in eager float32")
        self.document.dev_scores.append(entry)

    def _eager_score(self, side: str, model: Model, eager: Runner) -> float:
        for entry in self.document.dev_scores:
            same = (entry["device"], entry["side"], entry["layers"]) == (self.place.device, side, model.layers)
            if same and entry["eager_score"] is not None:
                return float(entry["eager_score"])
        return self.found.dev_score(eager, self.place.device)[0]

    def _time(self, made: dict[str, dict[str, Made]], eager: dict[str, Runner], size: int, length: int | str) -> None:
        """Check every variant on the condition's own inputs, measure its memory, and time what agrees together."""
        batches = self.found.batches(size, length, self.place.device)
        own = {side: one.layers for side, one in zip(SIDES, self._models(made), strict=True)}
        where = {"batch_size": size, "length": length, **{f"{side}_layers": n for side, n in own.items()}}
        checked = {}
        for variant, sides in made.items():
            try:
                checked[variant] = attempt(partial(self._prepare, variant, sides, eager, batches))
            except Refused as refusal:
                _refuse(self.document, self.say, self._where(variant) | where, str(refusal))
        if not checked:
            return
        calls = {variant: {side: made[variant][side].runner.call for side in SIDES} for variant in checked}
        timed = time_variants(calls, batches, self.speed, self.place.device)
        lengths = {"dev_lengths": self.found.lengths(size)} if length == DEV else {}
        for variant, numbers in timed.items():
            condition = {**self._where(variant), **where, **lengths, **numbers, **checked[variant]}
            self.document.conditions.append(condition)
            self.say(in_words(condition))

    def _prepare(
        self, variant: str, sides: dict[str, Made], eager: dict[str, Runner], batches: list[Inputs]
    ) -> dict[str, Any]:
        """First call, agreement and memory on a condition's own inputs. Raises `Refused` for what disagrees."""
        first, agreement, memory = {}, {}, {}
        for side, one in sides.items():
            started = time.perf_counter()
            one.runner.call(batches[0])
            devices.synchronise(self.place.device)
            first[side] = time.perf_counter() - started
            if one.agreement is not None:
                found = one.agreement.joined(compare(eager[side], one.runner, batches[:OWN_BATCHES]))
                if reason := found.refusal(variant, side):
                    raise Refused(reason)
                agreement[side] = asdict(found)
            longest = max(batches, key=lambda inputs: inputs["input_ids"].numel())
            memory[side] = {
                "weights_bytes": one.runner.weights,
                "working_bytes": working_memory(one.runner, longest, self.place),
            }
        limits = {"tolerance": TOLERANCE[variant], "same_answers": SAME_ANSWERS.get(variant)}
        return {
            "preparation_seconds": {side: one.seconds for side, one in sides.items()},
            "first_call_seconds": first,
            "agreement": agreement | limits if agreement else None,
            "memory": memory,
        }

    @staticmethod
    def _models(made: dict[str, dict[str, Made]]) -> list[Model]:
        some = next(iter(made.values()))
        return [some[side].model for side in SIDES]

    def _where(self, variant: str) -> dict[str, Any]:
        return {
            "device": self.place.device, "device_name": self.device_name, "variant": variant,
            "precision": PRECISION[variant], "attention": self.place.attention, "threads": self.place.threads,
        }  # fmt: skip


def in_words(condition: dict[str, Any]) -> str:
    """One condition as the line that is said while it is measured."""
    shape = f"batch {condition['batch_size']}, length {condition['length']}, {condition['threads']} thread(s)"
    where = f"{condition['variant']} on {condition['device']}, {shape}, to {condition['successor_layers']} layers"
    if condition["ratio"] is None:
        return f"no speed-up: too few rounds were left, {where}"
    undecided = "" if condition["decided"] else ", undecided"
    interval = f"{condition['ratio_low']:.3f} to {condition['ratio_high']:.3f}{undecided}"
    return f"speed-up {condition['ratio']:.3f} ({interval}) with {where}, {condition['rounds']} rounds"
