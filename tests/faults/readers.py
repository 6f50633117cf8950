"""Every reader of a file that somebody else may have written, each with a good file: `readers(folder)`.

`COVERED` names the modules that open such files. A test compares it with the modules that call a parser at all, so that
a new reader cannot be forgotten; `OURS` are the modules that parse files which ship with the code.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.base import machine_cache
from benchmarks.engine.lease import Leases
from benchmarks.models.checks import check_predecessor
from benchmarks.models.convert import convert
from benchmarks.models.encoder import find_encoder
from benchmarks.models.settings import Encoder
from benchmarks.models.standard import merged
from benchmarks.plans.older_runs import older_runs
from benchmarks.plans.planner import make_plan
from benchmarks.preflight import disk_space
from benchmarks.preflight.token_facts import TokenFacts, ask
from benchmarks.runs import tensor_cache
from benchmarks.runs.checkpoint import Checkpoint, Checkpoints, ForeignCheckpoint
from benchmarks.runs.store import Store
from benchmarks.submission import load_test
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.data import Source, find_source, load_splits
from benchmarks.tasks.own.files import READERS
from benchmarks.tasks.own.source import own_source
from benchmarks.tasks.own.summary import summary
from benchmarks.tasks.pooling import check_parts, pooling_of, write
from benchmarks.tasks.settings import Data, OwnData
from benchmarks.tasks.table import find_task
from reports import export_table, read
from reports.drift.baseline import accepted, baseline_document, checksum, load_baseline
from reports.drift.snapshot import snapshot
from results.format import layout
from results.format.bundles.importing import import_bundle
from results.format.bundles.pack import pack
from results.format.bundles.safetensors_header import check_safetensors
from results.format.documents.codec import written
from results.format.errors import UserError
from results.format.predictions import read_answers
from results.format.untrusted import text
from tests import tiny
from tests.faults.bundles import consistent

COVERED = {
    "benchmarks/base/machine_cache.py", "benchmarks/engine/lease.py", "benchmarks/models/checks.py",
    "benchmarks/models/convert.py", "benchmarks/models/loading.py", "benchmarks/models/safety.py",
    "benchmarks/models/standard.py", "benchmarks/plans/older_runs.py", "benchmarks/preflight/disk_space.py",
    "benchmarks/preflight/tokenizer_probe.py", "benchmarks/runs/checkpoint.py", "benchmarks/runs/execute.py",
    "benchmarks/runs/inputs.py", "benchmarks/runs/store.py", "benchmarks/runs/tensor_cache.py",
    "benchmarks/submission.py", "benchmarks/suites/file.py", "benchmarks/tasks/data.py", "benchmarks/tasks/formats.py",
    "benchmarks/tasks/own/files.py", "benchmarks/tasks/own/source.py", "benchmarks/tasks/pooling.py",
    "reports/drift/baseline.py",
    "reports/drift/snapshot.py", "results/format/bundles/archive.py", "results/format/bundles/importing.py",
    "results/format/bundles/safetensors_header.py", "results/format/imported.py", "results/format/predictions.py",
    "results/format/reader.py", "results/format/untrusted.py",
}  # fmt: skip
OURS = {
    "benchmarks/demo/causal.py": "a text of its user's, from which it makes a model",
    "benchmarks/gpu/study.py": "an encoder that the plan has checked",
    "benchmarks/tasks/bi_encoder.py": "only an example",
    "benchmarks/models/minilm.py": "a wheel whose hash is pinned",
    "benchmarks/plans/checks.py": "options that the suite has checked",
    "benchmarks/preflight/determinism.py": "options that the suite has checked",
    "benchmarks/suites/arms.py": "presets that ship with the code",
    "benchmarks/tasks/lengths.py": "counts that ship with the code",
    "benchmarks/tasks/table.py": "tables that ship with the code",
    "results/format/published_numbers.py": "claims that ship with the code",
    "benchmarks/preflight/cost.py": "a config that the plan has checked",
    "results/format/bundles/pack.py": "writes only",
}
PARSERS = r"json\.loads?\(|tomllib\.|read_(?:table|csv|metadata)\(|ParquetFile\(|safe_open\(|[ (]load_file\(" \
    r"|torch\.load\(|ZipFile\(|validate_json\(|from_pretrained\(|\.open\(encoding" \
    r"|(?:untrusted|safety) import .*\b(?:load|parse|read_json)\b"  # fmt: skip


OWN = [name for name in READERS if name != ".json"]  # another name of .jsonl


@dataclass(frozen=True)
class Reader:
    """One file and what reads it. `sealed` puts right the checksum of a changed document, so that what lies behind the
    check is reached; `silent`: it may refuse nothing, because a file that cannot be read counts as missing."""

    path: Path
    read: Callable[[], object]
    sealed: Callable[[Any], Any] = lambda document: document
    silent: bool = False


def readers(folder: Path) -> dict[str, Reader]:
    """The readers by the name of their file. The files agree with each other."""
    return _of_results(folder / "results") | _of_a_laboratory(folder / "lab") | _of_inputs(folder / "in")


def _of_results(root: Path) -> dict[str, Reader]:
    consistent(root)
    weights = next(root.glob("rte/theseus/seed-1-*")) / "successor"
    weights.mkdir()
    (weights / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    tiny.bert(2).save_pretrained(weights)
    bundle = pack(root, root.parent / "bundle.zip", weights=True).file
    baseline = root.parent / "accepted.json"
    found = read(root)
    document = baseline_document(accepted(found, ()), found.digest)
    baseline.write_text(json.dumps(document), encoding="utf-8")
    run = next(root.glob("rte/kd/seed-1-*"))
    (run / layout.MARK).write_text(json.dumps({"bundle_sha256": "0" * 64, "files": {}}), encoding="utf-8")

    def everything() -> None:
        results = read(root)
        snapshot(results)
        read_answers(results, "last")
        export_table(root)

    def imported() -> None:
        try:
            import_bundle(bundle, root.parent / "to", root.parent, False)
        finally:
            shutil.rmtree(root.parent / "to", ignore_errors=True)

    def sealed(raw: Any) -> Any:
        with contextlib.suppress(ValueError):  # it holds an infinity, which has no checksum
            return raw | {"checksum": checksum(raw)}
        return raw

    names = (layout.CONFIG, layout.MANIFEST, layout.RESULT, layout.METRICS, layout.PREDICTIONS, layout.MARK)
    made = {f"report {name}": Reader(run / name, everything) for name in names}
    made |= {f"report {name}": Reader(root / name, everything) for name in (layout.SUITE, layout.SPEED)}
    header = weights / "model.safetensors"
    return made | {
        "accepted baseline": Reader(baseline, lambda: load_baseline(baseline), sealed),
        "bundle": Reader(bundle, imported),
        "bundled weights": Reader(header, lambda: check_safetensors(header)),
    }


def _of_a_laboratory(folder: Path) -> dict[str, Reader]:
    """What a plan and a run find in the results folder, in their own caches and in the machine's."""
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    plan = make_plan(load_suite(str(tiny.save_suite(folder, encoder, glue))))
    deep, run = plan.runs[0], next(run for run in plan.runs if run.predecessor)
    store = Store(folder / "results")
    place = store.path / deep.folder
    (place / "successor").mkdir(parents=True)
    score = {"step": 6, "epoch": 1.0, "metrics": {"accuracy": 0.5}, "score": 50.0, "flags": []}
    result = {"schema": 1, "run_id": deep.id, "status": "done", "last": score, "selected": score}
    (place / layout.RESULT).write_text(json.dumps(result), encoding="utf-8")
    manifest = {"schema": 1, "run_id": deep.id, "seconds": {"setup": 1.0, "training": 1.0, "evaluation": 1.0}}
    (place / layout.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    (place / layout.CONFIG).write_text(written(deep.config), encoding="utf-8")
    store.write_suite(plan)

    def planned() -> None:
        store.belongs_to("tiny")
        store.settled(deep)
        store.took([deep])
        store.cannot_start(run)
        older_runs(plan.runs[1:], store.path)
        store.write_suite(plan)

    kept = Checkpoints(folder / "checkpoints", deep.id, {"a": 1}, 0.0)
    kept.save(1, Checkpoint({"w": torch.zeros(3)}, {"step": 1}))

    def resumed() -> None:
        try:
            kept.load()
        except ForeignCheckpoint as error:  # which ends its run with this line
            raise UserError(text(str(error))) from None

    state = next((folder / "checkpoints").glob("step-*"))

    def cached() -> None:
        def write(create: Callable[..., torch.Tensor]) -> None:
            create("w", (3,), torch.float32).zero_()

        tensor_cache.stored(folder / "cache", "kind", {"a": 1}, write)

    cached()
    index = next((folder / "cache").glob("kind-*/*.json"))
    machine_cache.write("lengths", 1, [1, 2, 3])
    lease = folder / "leased" / layout.LEASES / "0123456789abcdef.1"
    lease.parent.mkdir(parents=True)
    lease.write_text(json.dumps({"beat": "0" * 12, "machine": "m", "pid": 1, "started": "", "token": "t"}), "utf-8")
    names = (layout.RESULT, layout.MANIFEST, layout.CONFIG)
    return {f"plan {name}": Reader(place / name, planned, silent=True) for name in names} | {
        f"plan {layout.SUITE}": Reader(store.path / layout.SUITE, planned),
        "checkpoint.json": Reader(next(state.glob("*.json")), resumed),
        "checkpoint state": Reader(next(state.glob("*.safetensors")), kept.load, silent=True),
        "cache index": Reader(index, cached, silent=True),
        "machine cache": Reader(
            machine_cache.path_of("lengths", 1), lambda: machine_cache.read("lengths", list[int], 1), silent=True
        ),
        "lease": Reader(lease, lambda: Leases(folder / "leased").elsewhere(), silent=True),
    }


def _of_inputs(folder: Path) -> dict[str, Reader]:
    """What a suite names: its own file, an encoder, a predecessor, data."""
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    suite = tiny.save_suite(folder, encoder, glue)
    brought = folder / "predecessor"
    shutil.copytree(encoder, brought)
    tiny.bert().save_pretrained(brought)
    sharded = folder / "sharded"
    shutil.copytree(encoder, sharded)
    tiny.bert().base_model.save_pretrained(sharded, max_shard_size="50KB")
    (sharded / "model.safetensors").unlink(missing_ok=True)
    settings = Encoder(name="tiny", path=str(encoder), layers=4, hidden_size=32)
    source = find_encoder(settings)

    def encoded() -> None:
        disk_space.parameters.cache_clear()
        disk_space.parameters(Path(find_encoder(settings).location))

    def loaded() -> None:
        load_splits.cache_clear()
        load_splits(find_source(find_task("rte"), Data(path=str(glue))))

    own = {name: _own_file(folder / f"own{name}") for name in OWN}
    facts = Path(str(own_source("own", _own(own[".csv"])).folder)) / "facts.json"

    pooled = folder / "pooled"
    pooled.mkdir()
    write(pooled, "cls", 32)

    def brought_along() -> None:
        check_predecessor(str(brought), find_task("rte"), source)

    return (
        _of_forms(folder)
        | _of_tokenizers(folder, brought)
        | {
            "suite file": Reader(suite, lambda: load_suite(str(suite))),
            "encoder config.json": Reader(encoder / "config.json", encoded),
            "encoder weights": Reader(encoder / "model.safetensors", encoded),
            "index of shards": Reader(
                sharded / "model.safetensors.index.json", lambda: merged(sharded, "encoder tiny")
            ),
            "shard": Reader(min(sharded.glob("model-*.safetensors")), lambda: merged(sharded, "encoder tiny")),
            "predecessor config.json": Reader(brought / "config.json", brought_along),
            "predecessor weights": Reader(brought / "model.safetensors", brought_along),
            "data": Reader(glue / "rte/validation.parquet", loaded),
            "pooling": Reader(pooled / layout.POOLING, lambda: pooling_of(pooled)),
            "list of parts": Reader(pooled / layout.MODULES, lambda: check_parts(pooled)),
            **{f"own {name}": Reader(path, partial(_converted, path)) for name, path in own.items()},
            "facts of own data": Reader(facts, partial(_converted, own[".csv"]), silent=True),
        }
    )


def _of_forms(folder: Path) -> dict[str, Reader]:
    """Data in the other forms that people have, test splits, and weights of the old kind."""
    glue = folder / "forms"
    tiny.save_glue(glue, "rte", "wnli", "stsb")
    for name in ("rte", "stsb"):
        tiny.save_tsv(glue, name, glue)
        (glue / name / "validation.parquet").unlink()
    whole = glue / "wnli/validation.parquet"
    parts = [whole.with_name(f"validation-0000{part}-of-00002.parquet") for part in (0, 1)]
    for part, path in enumerate(parts):
        pq.write_table(pq.read_table(whole).slice(40 * part, 40), path)
    whole.unlink()
    rows = pq.read_table(parts[0]).take([0] * 146).drop_columns(["idx"]).append_column("idx", pa.array(range(146)))
    pq.write_table(rows, glue / "wnli/test.parquet")
    pickle = folder / "old" / "pytorch_model.bin"
    shutil.copytree(folder / "encoder", pickle.parent)
    (pickle.parent / "model.safetensors").rename(folder / "old.safetensors")
    torch.save({"bert.w": torch.ones(3), "bert.b": torch.zeros(2, 2)}, pickle)

    def converted(name: str) -> None:
        load_splits.cache_clear()
        source = find_source(find_task(name), Data(path=str(glue)))
        try:
            load_splits(source)
        finally:
            shutil.rmtree(str(source.folder))

    def unpickled() -> None:
        try:
            convert(str(pickle.parent), folder / "new")
        finally:
            shutil.rmtree(folder / "new", ignore_errors=True)

    hidden = Source(find_task("wnli"), str(glue), "nyu-mll/glue", None, "")
    return {
        "tsv": Reader(glue / "RTE/dev.tsv", lambda: converted("rte")),
        "tsv of scores": Reader(glue / "STS-B/dev.tsv", lambda: converted("stsb")),
        "part of a split": Reader(parts[1], lambda: converted("wnli")),
        "test split": Reader(glue / "wnli/test.parquet", lambda: load_test(hidden, "WNLI.tsv")),
        "pickled weights": Reader(pickle, unpickled),
    }


def _of_tokenizers(folder: Path, model: Path) -> dict[str, Reader]:
    """What the plan asks of a tokenizer: in this process whether it loads, in one of its own what it does to text."""
    source = find_source(find_task("wnli"), Data(path=str(tiny.save_glue(folder / "asked", "wnli"))))
    load_splits(source)
    fast, slow = folder / "fast", folder / "slow"
    for place in (fast, slow):
        shutil.copytree(model, place)
    (slow / "tokenizer.json").unlink()
    (slow / "vocab.txt").write_text("\n".join(tiny.WORDS) + "\n", encoding="utf-8")
    (slow / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")

    def asked(place: Path) -> None:
        encoder = find_encoder(Encoder(name="tiny", path=str(place), layers=4, hidden_size=32))
        context = multiprocessing.get_context("fork")  # one with an interpreter of its own takes seconds to start
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=lambda: theirs.send(ask([(encoder, source)], 5)))
        process.start()
        theirs.close()
        try:
            (answer,) = ours.recv()
        except EOFError:
            answer = "it was stopped"
        process.join()
        if isinstance(answer, str):
            raise UserError(answer)
        TokenFacts(**answer)

    return {
        f"{place.name} {name}": Reader(place / name, lambda place=place: asked(place))
        for place, name in ((fast, "tokenizer.json"), (fast, "tokenizer_config.json"), (slow, "vocab.txt"))
    }


def _own_file(path: Path) -> Path:
    """Eight rows in the format that the name says."""
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(8)], "label": ["no", "yes"] * 4, "who": range(8)})
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path, index=False)
        case ".csv" | ".tsv":
            frame.to_csv(path, sep="," if path.suffix == ".csv" else "\t", index=False)
        case _:
            frame.to_json(path, orient="records", lines=True)
    return path


def _own(path: Path) -> OwnData:
    return OwnData(train=str(path), columns=["text"], group="who", dev_share=0.5)


def _converted(path: Path) -> None:
    load_splits.cache_clear()
    summary(own_source("own", _own(path)))
