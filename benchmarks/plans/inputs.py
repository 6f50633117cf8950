"""Find and check the inputs of a suite's runs: the device, encoders, data and given predecessors.

A fault in a user's files shows here, in seconds, as a `SuiteError` that names the file and the remedy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import device as devices
from benchmarks.machine.device import Machine
from benchmarks.machine.workers import default_workers
from benchmarks.models.encoder import find_encoder
from benchmarks.models.settings import Encoder
from benchmarks.models.source import EncoderSource
from benchmarks.models.standard import merged
from benchmarks.suites.suite import Suite
from benchmarks.tasks.data import Source, check_splits, find_source
from benchmarks.tasks.own.source import own_source
from benchmarks.tasks.table import find_task
from results.format.documents.config import DeviceUsed
from results.format.errors import UserError


@dataclass(frozen=True)
class Finetuned:
    """A predecessor that the user provides: its folder, and a hash of its weights and config."""

    folder: str
    hash: str


@dataclass(frozen=True)
class Inputs:
    """`recorded`: the device as a run's files have it. `workers`: how many should train at once. `own`: the encoders of
    arms that bring one. `sources`: data by task, the tasks that others go on from first. `finetuned`: given
    predecessors by task."""

    machine: Machine
    recorded: DeviceUsed
    workers: int
    encoder: EncoderSource
    own: dict[str, EncoderSource]
    sources: dict[str, Source]
    finetuned: dict[str, Finetuned]


def find_inputs(suite: Suite, wanted_tasks: Collection[str]) -> Inputs:
    """Find and check the inputs. The data of `wanted_tasks` (empty: all) must exist; another task whose data is missing
    is left out."""
    machine = devices.machine(devices.resolve(suite.device))
    recorded, workers = devices.recorded(machine.device), default_workers(machine)
    encoder = find_encoder(suite.encoder)
    own = {name: find_encoder(_own(arm.encoder, suite), own=name) for name, arm in suite.arms.items() if arm.encoder}
    sources = _sources(suite, wanted_tasks)
    finetuned = {}
    if paths := {name: path for name, path in suite.predecessor.paths.items() if name in sources}:
        from benchmarks.models.checks import check_predecessor  # seconds of imports that only a given predecessor needs

        paths = {name: str(merged(Path(path), f"predecessor for {name}")) for name, path in paths.items()}
        found = {name: check_predecessor(path, sources[name].task, encoder) for name, path in paths.items()}
        finetuned = {name: Finetuned(paths[name], found[name]) for name in paths}
    return Inputs(machine, recorded, workers, encoder, own, sources, finetuned)


def _own(encoder: Encoder, suite: Suite) -> Encoder:
    """An arm's own checkpoint, or a random model of its shape if the suite's encoder is random too (dry runs)."""
    if not suite.encoder.random:
        return encoder
    shape = {**suite.encoder.shape, "num_hidden_layers": encoder.layers, "hidden_size": encoder.hidden_size}
    return encoder.model_copy(update={"random": True, "shape": {**shape, **encoder.shape}})


def source_of(suite: Suite, name: str) -> Source:
    """The data of one of the suite's tasks. Raises `SuiteError`, for the user's own data also if it is not right."""
    own = suite.own(name)
    return own_source(name, own) if own else find_source(find_task(name), suite.data)


def _sources(suite: Suite, wanted_tasks: Collection[str]) -> dict[str, Source]:
    found = {}
    for name in dict.fromkeys([*suite.intermediate_tasks, *suite.tasks]):
        wanted = not wanted_tasks or name in wanted_tasks or name in suite.intermediate_tasks
        try:
            source = source_of(suite, name)
        except UserError:
            if wanted or suite.own(name):
                raise
            continue
        if wanted and (source.folder or source.task.synthetic):
            check_splits(source)
        found[name] = source
    return found
