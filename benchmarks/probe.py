"""The determinism probe: does training repeat itself here, bit for bit?

Before a suite starts, a few optimizer steps of every arm are taken twice from the same seed, through the shared loop's
own step, in a worker under the suite's device settings, and compared tensor by tensor after every step. Where that
differs, no number of the suite can be expected to repeat, and a resumed run need not end where an undisturbed one does.

The model has the suite's width and random weights, the least depth the arm's method takes and 1,000 words (fewer words
repeat more often, which is harder on the sums of the embeddings' gradient). What is bit-equal is remembered per
machine, so a suite pays for its probe once; a difference is looked at anew each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from typing import Any

import torch
from filelock import FileLock

import baselines
from baselines.method import Given, Method
from benchmarks import device as devices
from benchmarks import kept
from benchmarks.batches import Tokens
from benchmarks.encoder import EncoderSource
from benchmarks.errors import SuiteError
from benchmarks.evaluation import predecessor_outputs
from benchmarks.identity import code_hash, hash_of, packages
from benchmarks.loading import load_pretrained
from benchmarks.plan import Plan, Run
from benchmarks.rates import shape_of
from benchmarks.settings import Device, Training
from benchmarks.stepping import stepping
from benchmarks.streams import stream_seed
from benchmarks.tasks import find_task
from benchmarks.workers import pool_of

STEPS = 4  # a replacing rate that reaches 1 half-way has steps before and after, and a second stage starts
EXAMPLES, LONGEST, VOCABULARY = 8, 32, 1000
SEED = 1


@dataclass(frozen=True)
class Kind:
    """A way of training that is probed once for all runs that share it. `options`: the method's, as JSON; `layers`: of
    the successor, under a predecessor of twice as many."""

    method: str
    options: str
    layers: int
    regression: bool = False
    length_groups: int = 8
    micro_batches: int = 1

    def build(self) -> Method:
        return baselines.find(self.method)(**json.loads(self.options))


def plainly(name: str) -> Kind:
    """A method with the options it has by itself."""
    method = baselines.find(name)()
    options = json.dumps(method.model_dump(mode="json"), sort_keys=True)
    return Kind(name, options, least_depth(method, 12, 6))


def kind_of(run: Run) -> Kind:
    """What has to be probed for a run."""
    layers = least_depth(run.build(), run.suite_encoder.layers, run.modules)
    return Kind(run.method, json.dumps(run.options, sort_keys=True), layers, run.task.regression,
                run.training.length_groups, run.training.micro_batches)  # fmt: skip


def least_depth(method: Method, encoder: int, layers: int) -> int:
    """The fewest successor layers under which a method needs the same sorts of predecessor outputs as at its own depth:
    a student of one layer has no inner one to be patient about."""
    sorts = _sorts(method, encoder, layers)
    for fewer in range(1, layers):
        with contextlib.suppress(ValueError):
            method.check(2 * fewer, fewer)
            if _sorts(method, 2 * fewer, fewer) == sorts:
                return fewer
    return layers


def _sorts(method: Method, encoder: int, layers: int) -> set[str]:
    return {name.partition("-")[0] for name in method.needs(encoder, layers)}


def probe_suite(plan: Plan, runs: Sequence[Run], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """What each arm's manifests say of the probe. Raises `SuiteError` where a strict suite does not repeat itself."""
    kinds = _by_arm(runs)
    found = differences({kind for own in kinds.values() for kind in own}, _shape(plan), plan.device, say)
    firsts = {arm: next(filter(None, map(found.get, sorted(own, key=repr))), None) for arm, own in kinds.items()}
    if told := [f"{arm}: {first}" for arm, first in firsts.items() if first]:
        if plan.suite.strict:
            raise SuiteError(
                f"suite {plan.suite.name} is strict and does not repeat bit for bit here ({told[0]}): "
                "use other [device] settings, or strict = false"
            )
        say(f"warning: training does not repeat bit for bit here ({'; '.join(told)}): numbers may not come out again")
    return {arm: document({arm: first}) for arm, first in firsts.items()}


def _by_arm(runs: Sequence[Run]) -> dict[str, set[Kind]]:
    """The kinds of each arm; a classification stands for regression too, which differs in the loss of a scalar only."""
    kinds: dict[str, set[Kind]] = {}
    for run in runs:
        kinds.setdefault(run.arm, set()).add(kind_of(run))
    return {arm: {kind for kind in own if not kind.regression} or own for arm, own in kinds.items()}


def document(firsts: dict[str, str | None]) -> dict[str, Any]:
    """`determinism_probe` of a manifest. `bit_equal` is false too where a probe could not be made."""
    return {"bit_equal": not any(firsts.values()), "steps": STEPS, "methods": firsts}


def differences(
    kinds: set[Kind], shape: dict[str, int], device: Device, say: Callable[[str], None] | None = None
) -> dict[Kind, str | None]:
    """The first tensor that differs when each kind trains twice, or None; remembered per machine."""
    keys = {kind: _key(kind, shape, device) for kind in sorted(kinds, key=repr)}
    found: dict[Kind, str | None] = dict.fromkeys(kinds)
    if all(kept.read("probe", key) for key in keys.values()):
        return found
    with _one_at_a_time():
        unknown = [kind for kind, key in keys.items() if not kept.read("probe", key)]
        if unknown and say is not None:
            say(f"probing whether training repeats bit for bit ({len(unknown)} kinds, once)")
        for kind, first in zip(unknown, looked_at(unknown, shape, device) if unknown else [], strict=True):
            found[kind] = first
            if first is None:
                with contextlib.suppress(OSError):  # a home that cannot be written to: probed again next time
                    kept.write("probe", keys[kind], {"bit_equal": True, "steps": STEPS})
    return found


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Of runners that start together on a machine one probes and the others read what it found."""
    lock = FileLock(kept.folder() / "probe.lock")
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # a home that cannot be written to remembers nothing either
            kept.folder().mkdir(parents=True, exist_ok=True)
            held.enter_context(lock)
        yield


def looked_at(kinds: list[Kind], shape: dict[str, int], device: Device) -> list[str | None]:
    """`difference` of each, in one worker."""
    with pool_of(1, device) as pool:
        try:
            return pool.submit(look, kinds, shape, device).result()
        except BrokenProcessPool:
            return ["not probed: the worker process was killed"] * len(kinds)


def look(kinds: list[Kind], shape: dict[str, int], device: Device) -> list[str | None]:
    """`difference` of each, in this process."""
    return [_difference_or_error(kind, shape, device) for kind in kinds]


def _difference_or_error(kind: Kind, shape: dict[str, int], device: Device) -> str | None:
    try:
        return difference(kind.build(), kind, shape, device)
    except Exception as error:  # an op without a deterministic form, or no memory: the runs will say so too
        return f"not probed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def difference(method: Method, kind: Kind, shape: dict[str, int], device: Device) -> str | None:
    """The first tensor in which two equal trainings differ in any bit, and where; None if there is none."""
    first, second = (list(_trained(method, kind, shape, device)) for _ in range(2))  # one after the other, as runs are
    return next((name for (name, one), (_, other) in zip(first, second, strict=True) if one != other), None)


def _trained(method: Method, kind: Kind, shape: dict[str, int], device: Device) -> Iterator[tuple[str, str]]:
    """Name and hash of all that a training computes, in the order in which it does."""

    def model_of(depth: int) -> Any:
        sizes = {**shape, "num_hidden_layers": depth, "vocab_size": min(shape["vocab_size"], VOCABULARY)}
        source = EncoderSource("probe", "random", None, "random", depth, tuple(sorted(sizes.items())))
        return load_pretrained(source, find_task("stsb" if kind.regression else "rte"), SEED, device.attention)

    deep, shallow = 2 * kind.layers, kind.layers if method.own_encoder else 2 * kind.layers
    given = Given(lambda: model_of(deep), lambda: model_of(shallow), kind.layers, stream_seed(SEED, "gates"), STEPS)
    tokens = _sentences(
        min(LONGEST, shape.get("max_position_embeddings", LONGEST)),
        min(shape["vocab_size"], VOCABULARY),
        kind.regression,
    )
    needs = method.needs(deep, kind.layers)
    outputs = predecessor_outputs(model_of(deep).to(device.device), tokens, needs, device) if needs else {}
    for name in sorted(outputs):
        yield f"the predecessor's {name}", _bits(outputs[name])
    model = method.build(given).to(device.device).train()
    training = Training(length_groups=kind.length_groups, micro_batches=kind.micro_batches, learning_rate=1e-3)
    with stepping(method, model, tokens, outputs, training, SEED, STEPS, device) as step:
        for index in range(STEPS):
            stepped = step(index, torch.arange(EXAMPLES))
            yield f"loss of step {index + 1}", _bits(stepped.loss)
            yield f"gradient norm of step {index + 1}", _bits(stepped.gradient_norm)
            for name, values in model.state_dict().items():
                yield f"{name} after step {index + 1}", _bits(values)


def _sentences(longest: int, vocabulary: int, regression: bool) -> Tokens:
    """Random words in sentences of 4 to `longest` of them."""
    generator = torch.Generator().manual_seed(SEED)
    lengths = torch.randint(min(4, longest), longest + 1, (EXAMPLES,), generator=generator)
    words = torch.randint(0, vocabulary, (int(lengths.sum()),), generator=generator, dtype=torch.int32)
    labels = torch.randint(0, 2, (EXAMPLES,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return Tokens(words, None, offsets, labels.float() if regression else labels, torch.arange(EXAMPLES), 0)


def _bits(values: torch.Tensor) -> str:
    """A hash of the values as they lie in memory: NaN equals itself, and 0 is not -0."""
    flat = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.sha256(flat.numpy().data).hexdigest()


def _shape(plan: Plan) -> dict[str, int]:
    """The encoder's sizes; of one on the hub that says nothing of itself the width, with BERT's other sizes."""
    width = plan.suite.encoder.hidden_size
    usual = {"vocab_size": VOCABULARY, "hidden_size": width, "intermediate_size": 4 * width,
             "num_attention_heads": max(1, width // 64), "max_position_embeddings": LONGEST}  # fmt: skip
    return {**usual, **(shape_of(plan.encoder) or {})}


def _key(kind: Kind, shape: dict[str, int], device: Device) -> dict[str, Any]:
    """What decides whether a kind repeats itself: settings, device, code and packages."""
    return {"kind": asdict(kind), "shape": shape, "device": device.model_dump(mode="json"), "steps": STEPS,
           "name": devices.device_name(device), "class": devices.device_class(device), "torch": torch.__version__,
           "packages": packages(("torch", "transformers", "numpy")), "code": code_hash(kind.method),
           "probe": hash_of("benchmarks.probe")}  # fmt: skip
