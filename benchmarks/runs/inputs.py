"""What is read is what is identified: a run reads private copies of its inputs, and their hash is that in its settings.

    run = private(run, store)      # the run with encoder, predecessor and data in a folder of this process

The plan hashes the user's files and puts the hash into the run's id. Hours may pass until a worker reads them, and a
file may be replaced in that time, or between a check and the read. So a worker copies each file, hashes the bytes that
it copies, and reads the copy. A copy of MiniLM takes 0.1 s, one of BERT-base half a second. `Store.discard` removes
them.
An encoder or data set of the hub is identified by its revision and read from the hub client's cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.models import contents
from benchmarks.models.checks import finetuned_hash
from benchmarks.models.source import EncoderSource
from benchmarks.plans.run import Run
from benchmarks.runs.store import Store
from benchmarks.tasks.data import Source, fingerprint, split_file, splits_of
from results.format import layout
from results.format.documents.codec import from_json
from results.format.documents.run import Manifest
from results.format.untrusted import load

PIECE = 2**20
AGAIN = "put the planned files back, or run the command again, which plans anew"


def private(run: Run, store: Store) -> Run:
    """The run with its inputs in a new folder of this process. Raises `RuntimeError` for inputs that are not those of
    the plan."""
    folder = store.start()
    encoder = _encoder(run.encoder, folder / "encoder")
    own = run.suite_encoder != run.encoder
    return replace(
        run,
        encoder=encoder,
        suite_encoder=_encoder(run.suite_encoder, folder / "suite-encoder") if own else encoder,
        source=_data(run.source, folder / "data"),
        predecessor_folder=_from_run(run.predecessor, run.predecessor_folder, folder / "predecessor", store),
        start_folder=_from_run(run.start, run.start_folder, folder / "start", store),
        finetuned=_finetuned(run, folder / "finetuned"),
    )


def copied(source: Path, names: Iterable[str], target: Path) -> dict[str, str]:
    """Copy files; returns the sha256 of the bytes that were copied, by name."""
    found = {}
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with (source / name).open("rb") as read, (target / name).open("wb") as write:
            while piece := read.read(PIECE):
                digest.update(piece)
                write.write(piece)
        found[name] = digest.hexdigest()
    return found


def _encoder(source: EncoderSource, target: Path) -> EncoderSource:
    if source.random or source.revision is not None or not Path(source.location).is_dir():
        return source  # random weights, the hub, or the successor of another run, which `_from_run` copies
    folder = Path(source.location)
    if contents.whole(copied(folder, contents.names(folder), target)) != source.hash:
        raise RuntimeError(f"the files of encoder {source.name} were changed after this run was planned: {AGAIN}")
    return replace(source, location=str(target))


def _data(source: Source, target: Path) -> Source:
    if source.folder is None:
        return source
    names = [split_file(source.task, split) for split in splits_of(source.task)]
    if fingerprint(source.task, copied(Path(source.folder), names, target)) != source.fingerprint:
        raise RuntimeError(f"the data of {source.task.name} was changed after this run was planned: {AGAIN}")
    return replace(source, folder=str(target))


def _from_run(run_id: str | None, place: str | None, target: Path, store: Store) -> str | None:
    """The copied folder of a run whose weights this one reads, relative to the results folder; `weights_of` compares
    the weights in it with the hash in its manifest."""
    if run_id is None or place is None:
        return None
    folder = store.path / place
    names = [layout.MANIFEST, *(f"{layout.SUCCESSOR}/{name}" for name in contents.names(folder / layout.SUCCESSOR))]
    copied(folder, names, target)
    if from_json(Manifest, load(target / layout.MANIFEST), layout.MANIFEST).run_id != run_id:
        raise RuntimeError(f"the folder of run {run_id}, from which this run starts, holds another run: remove it")
    return os.path.relpath(target, store.path)


def _finetuned(run: Run, target: Path) -> str | None:
    if run.finetuned is None:
        return None
    folder = Path(run.finetuned)
    copied(folder, contents.names(folder), target)
    if finetuned_hash(target) != run.config.finetuned:
        raise RuntimeError(f"the given predecessor was changed after this run was planned: {AGAIN}")
    return str(target)
