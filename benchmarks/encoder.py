"""The pretrained encoder: found, hashed, checked, and loaded as a classifier with the seed's fresh head.

Weights come from safetensors only and no remote code is ever run. The hub is read at a pinned revision.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from benchmarks.errors import ROOT, SuiteError
from benchmarks.settings import Encoder
from benchmarks.tasks import Task
from theseus import find_blocks

WEIGHTS = "model.safetensors"
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")

logging.set_verbosity_error()  # "some weights were newly initialized" is the head, and is meant to be
logging.disable_progress_bar()


@dataclass(frozen=True)
class EncoderSource:
    """`location`: folder, hub name read at `revision`, or "random". `hash`: of weights, config and tokenizer."""

    name: str
    location: str
    revision: str | None
    hash: str
    layers: int
    shape: tuple[tuple[str, int], ...] = ()

    @property
    def random(self) -> bool:
        return self.location == "random"


def from_run(encoder: EncoderSource, run_id: str, layers: int) -> EncoderSource:
    """What run `run_id` will leave behind, as the start of another; where that lies is known when it is executed."""
    return EncoderSource(f"successor of {encoder.name}", f"run {run_id}", None, f"run {run_id}", layers)


def find_encoder(encoder: Encoder, own: str | None = None) -> EncoderSource:
    """Locate, hash and check the encoder. Raises `SuiteError` for a missing, changed or ill-fitting one.

    `own`: the arm whose own checkpoint it is; ENCODER_DIR speaks of the suite's encoder only.
    """
    if encoder.random:
        missing = {"vocab_size", "hidden_size", "num_hidden_layers"} - set(encoder.shape)
        if missing:
            raise SuiteError(
                f"encoder {encoder.name}: encoder.random needs encoder.shape with {', '.join(sorted(missing))}"
            )
        return EncoderSource(
            encoder.name, "random", None, "random", encoder.layers, tuple(sorted(encoder.shape.items()))
        )
    path = _folder(encoder, own)
    if path is None:
        if encoder.revision is None:
            where = f"arms.{own}.encoder.path" if own else "ENCODER_DIR"
            raise SuiteError(f"encoder {encoder.name}: set {where} to its save_pretrained folder, or encoder.revision")
        return EncoderSource(
            encoder.name, encoder.name, encoder.revision, f"{encoder.name}@{encoder.revision}", encoder.layers
        )
    weights = path / WEIGHTS
    for needed in (weights, path / "config.json"):
        if not needed.is_file():
            raise SuiteError(
                f"encoder {encoder.name}: {needed} is missing: point ENCODER_DIR at a save_pretrained folder"
            )
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if encoder.sha256 is not None and found != encoder.sha256:
        raise SuiteError(f"encoder {encoder.name}: {weights} has sha256 {found}, the suite expects {encoder.sha256}")
    try:
        shape = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise SuiteError(f"encoder {encoder.name}: {path / 'config.json'} is not JSON: {error}") from None
    depth = shape.get("num_hidden_layers", shape.get("n_layers", shape.get("n_layer")))
    if depth != encoder.layers:
        raise SuiteError(f"encoder {encoder.name}: {path} has {depth} layers, the suite says {encoder.layers}")
    digest = hashlib.sha256(found.encode())
    for file in sorted(path.iterdir()):  # config and tokenizer, whatever files its kind has
        if file.suffix in {".json", ".txt", ".model"}:
            digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    source = EncoderSource(encoder.name, str(path), None, digest.hexdigest(), encoder.layers)
    _check_loadable(source)
    return source


def _check_loadable(source: EncoderSource) -> None:
    """Blocks to replace and a fitting tokenizer are there: seen now, not after the predecessor's hours."""
    place = f"encoder {source.name} in {source.location}"
    try:
        config = AutoConfig.from_pretrained(source.location, trust_remote_code=False)
        with torch.device("meta"):
            find_blocks(AutoModel.from_config(config))
        words = len(load_tokenizer(source))
    except Exception as error:  # transformers raises what it meets: OSError, ValueError, KeyError, ImportError
        line = " ".join(str(error).split())[:300]
        raise SuiteError(f"{place} cannot be used: {line}") from None
    # Without its files transformers makes up an empty tokenizer and says nothing.
    if not any((Path(source.location) / name).is_file() for name in VOCABULARIES):
        raise SuiteError(f"{place} has no tokenizer (none of {', '.join(VOCABULARIES)}): save one beside the model")
    if words > config.vocab_size:
        raise SuiteError(f"{place}: the tokenizer knows {words} tokens, the model only {config.vocab_size}")


def _folder(encoder: Encoder, own: str | None) -> Path | None:
    given = encoder.path or (None if own else os.environ.get("ENCODER_DIR"))
    if given is None:
        return None
    path = Path(given)
    if not path.is_absolute() and not path.is_dir():
        path = ROOT / given  # a suite names the shipped encoder from the repository's root
    if not path.is_dir():
        raise SuiteError(f"encoder {encoder.name}: {given} is not a folder: correct ENCODER_DIR (or encoder.path)")
    return path


def _labels(task: Task) -> dict[str, Any]:
    if task.regression:
        return {"num_labels": 1, "problem_type": "regression"}
    return {"id2label": dict(enumerate(task.labels)), "label2id": {name: i for i, name in enumerate(task.labels)}}


def load_pretrained(source: EncoderSource, task: Task, head_seed: int, attention: str) -> Any:
    """The encoder under a head for `task` whose initial weights `head_seed` alone decides; float32, eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head_seed)
        if source.random:
            config = AutoConfig.for_model("bert", **dict(source.shape), **_labels(task))
            return AutoModelForSequenceClassification.from_config(config, attn_implementation=attention).eval()
        if Path(source.location).is_dir():
            return _without_its_head(Path(source.location), task, attention)
        return AutoModelForSequenceClassification.from_pretrained(
            source.location, revision=source.revision, dtype=torch.float32, attn_implementation=attention,
            trust_remote_code=False, use_safetensors=True, **_labels(task),
        )  # fmt: skip


def _without_its_head(folder: Path, task: Task, attention: str) -> Any:
    """The encoder of a folder under a new head; a head saved with it, for another task perhaps, is left behind."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **_labels(task))
    kind: Any = AutoModelForSequenceClassification._model_mapping[type(config)]
    weights = load_file(folder / WEIGHTS)
    prefix = f"{kind.base_model_prefix}."
    own = {name: value for name, value in weights.items() if name.startswith(prefix)}
    return kind.from_pretrained(
        None, config=config, state_dict=own or weights, dtype=torch.float32, attn_implementation=attention
    )


def load_finetuned(folder: Path, attention: str) -> Any:
    """A classifier saved by a run, or by the user: weights and head as they are; float32, eval mode."""
    return AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, trust_remote_code=False, use_safetensors=True
    )


def load_tokenizer(source: EncoderSource) -> Any:
    """The encoder's own tokenizer (fast)."""
    return AutoTokenizer.from_pretrained(source.location, revision=source.revision, trust_remote_code=False)


def check_predecessor(folder: str, task: Task, source: EncoderSource) -> str:
    """Check that a fine-tuned model can be the predecessor for `task` under the encoder `source`; its hash.

    Its head is kept frozen by Theseus, so it must be the task's own: as many outputs as the task has labels, in
    the task's order where the config names them. Its vocabulary and depth must be the encoder's. Raises `SuiteError`.
    """
    path = Path(folder)
    if not (path / WEIGHTS).is_file() or not (path / "config.json").is_file():
        raise SuiteError(f"predecessor for {task.name}: {folder} is not a save_pretrained folder with {WEIGHTS}")
    place = f"predecessor for {task.name} in {folder}"
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        own = dict(source.shape)
        if not source.random and source.revision is None:
            own = AutoConfig.from_pretrained(source.location, trust_remote_code=False).to_dict()
    except (ValueError, OSError) as error:
        raise SuiteError(f"{place}: {' '.join(str(error).split())[:300]}") from None
    if config.num_hidden_layers != source.layers:
        raise SuiteError(f"{place} has {config.num_hidden_layers} layers, the suite's encoder {source.layers}")
    for name in ("vocab_size", "hidden_size"):
        if own.get(name, getattr(config, name)) != getattr(config, name):
            raise SuiteError(f"{place} has {name} {getattr(config, name)}, the suite's encoder {own[name]}")
    if config.num_labels != task.outputs:
        raise SuiteError(f"{place} has a head of {config.num_labels} outputs, the task needs {task.outputs}")
    names = [config.id2label.get(i) for i in range(task.outputs)]
    generic = [f"LABEL_{i}" for i in range(task.outputs)]
    if not task.regression and names != list(task.labels) and names != generic:
        raise SuiteError(f"{place} orders its labels {names}, the task {list(task.labels)}: its head does not fit")
    return hashlib.sha256((path / WEIGHTS).read_bytes() + (path / "config.json").read_bytes()).hexdigest()


def fetch(source: EncoderSource, sha256: str | None) -> None:
    """Make sure the encoder can be loaded, fetching it from the hub if need be, and that its weights are `sha256`'s.

    Raises `SuiteError` where it cannot.
    """
    if source.revision is None:
        return
    try:
        folder = snapshot_download(
            source.location, revision=source.revision, allow_patterns=["*.json", "*.txt", WEIGHTS]
        )
    except Exception as error:  # the hub client raises a dozen kinds, from sockets to its own
        line = " ".join(str(error).split())[:200]
        raise SuiteError(
            f"encoder {source.name}@{source.revision} cannot be had from the hub ({line}): "
            "set ENCODER_DIR to a local save_pretrained folder"
        ) from None
    if not (Path(folder) / WEIGHTS).is_file():
        raise SuiteError(
            f"encoder {source.name}@{source.revision} has no {WEIGHTS} on the hub, and pickled weights are not read: "
            "convert them (load with transformers, save_pretrained) and give that folder as the arm's encoder.path"
        )
    found = hashlib.sha256((Path(folder) / WEIGHTS).read_bytes()).hexdigest()
    if sha256 is not None and found != sha256:
        raise SuiteError(f"encoder {source.name}: the hub's weights have sha256 {found}, the suite expects {sha256}")
