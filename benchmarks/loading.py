"""Models of an encoder: loaded as a classifier with the seed's fresh head, or fine-tuned and as it was saved.

Weights come from safetensors only and no remote code is ever run. The hub is read at a pinned revision.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from benchmarks.encoder import WEIGHTS, EncoderSource, check_classifier, check_depth
from benchmarks.errors import SuiteError
from benchmarks.foreign import check_model_folder
from benchmarks.tasks import Task
from theseus import find_blocks, parameters_by_part

FETCHED = ("*.json", "*.txt")
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")

logging.set_verbosity_error()  # "some weights were newly initialized" is the head, and is meant to be
logging.disable_progress_bar()


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
        return _under_a_new_head(folder_of(source), task, attention)


def folder_of(source: EncoderSource) -> Path:
    """The encoder's folder; what lies on the hub is taken from there, or from where `fetch` has put it."""
    if source.revision is None:
        return Path(source.location)
    try:
        return Path(snapshot_download(source.location, revision=source.revision, allow_patterns=[*FETCHED, WEIGHTS]))
    except Exception as error:  # the hub client raises a dozen kinds, from sockets to its own
        line = " ".join(str(error).split())[:200]
        raise SuiteError(
            f"encoder {source.name}@{source.revision} cannot be had from the hub ({line}): "
            "set ENCODER_DIR (for an arm's own: arms.NAME.encoder.path) to a local save_pretrained folder"
        ) from None


def _under_a_new_head(folder: Path, task: Task | None, attention: str) -> Any:
    """The encoder of a folder under a new head; a head saved with it, for another task perhaps, is left behind.

    Raises `SuiteError` where a weight below the head is not in the file, or any weight is there in another shape:
    transformers would make it up.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **(_labels(task) if task else {}))
    kind: Any = AutoModelForSequenceClassification._model_mapping[type(config)]
    weights = load_file(folder / WEIGHTS)
    prefix = f"{kind.base_model_prefix}."
    own = {name: value for name, value in weights.items() if name.startswith(prefix)}
    model, info = kind.from_pretrained(
        None, config=config, state_dict=own or weights, dtype=torch.float32, attn_implementation=attention,
        output_loading_info=True, ignore_mismatched_sizes=True,  # they are refused by name below
    )  # fmt: skip
    parts = parameters_by_part(model)
    needed = {id(parameter) for part in ("embeddings", "layers") for parameter in parts[part]}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in needed}
    _refuse_made_up(folder, (names & _missing(info)) | _misshapen(info))
    return model


def _missing(info: dict[str, Any]) -> set[str]:
    """Names of the weights that are not in the file."""
    return set(info["missing_keys"])


def _misshapen(info: dict[str, Any]) -> set[str]:
    """Names of the weights that are there in another shape."""
    return {key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]}


def _refuse_made_up(folder: Path, names: set[str]) -> None:
    if names:
        raise SuiteError(
            f"{folder / WEIGHTS} lacks {len(names)} of the model's weights or has them in another shape "
            f"({min(names)}, ...): save the model anew with save_pretrained"
        )


def load_finetuned(folder: Path, attention: str) -> Any:
    """A classifier saved by a run, or by the user: weights and head as they are; float32, eval mode.

    Raises `SuiteError` where any weight is not in the file.
    """
    model, info = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, trust_remote_code=False, use_safetensors=True,
        output_loading_info=True, ignore_mismatched_sizes=True,  # they are refused by name below
    )  # fmt: skip
    _refuse_made_up(folder, _missing(info) | _misshapen(info))
    return model


def load_tokenizer(source: EncoderSource) -> Any:
    """The encoder's own tokenizer (fast)."""
    return AutoTokenizer.from_pretrained(folder_of(source), trust_remote_code=False)


def check_predecessor(folder: str, task: Task, source: EncoderSource) -> str:
    """Check that a fine-tuned model can be the predecessor for `task` under the encoder `source`; its hash.

    Its head is kept frozen by Theseus, so it must be the task's own: as many outputs as the task has labels, in
    the task's order where the config names them. Its vocabulary and depth must be the encoder's. Raises `SuiteError`.
    """
    path = Path(folder)
    place = f"predecessor for {task.name} in {folder}"
    if not (path / "config.json").is_file():
        raise SuiteError(f"predecessor for {task.name}: {folder} is not a save_pretrained folder with {WEIGHTS}")
    check_model_folder(path, place)
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
    check_classifier(path, place)
    check_head(config, task, place)
    load_finetuned(path, "eager")
    return hashlib.sha256((path / WEIGHTS).read_bytes() + (path / "config.json").read_bytes()).hexdigest()


def check_head(config: Any, task: Task, place: str) -> None:
    """Refuse a head of another width than the task's, or one that names its labels in another order."""
    if config.num_labels != task.outputs:
        raise SuiteError(f"{place} has a head of {config.num_labels} outputs, the task needs {task.outputs}")
    names = [config.id2label.get(i) for i in range(task.outputs)]
    generic = [f"LABEL_{i}" for i in range(task.outputs)]
    if not task.regression and names != list(task.labels) and names != generic:
        raise SuiteError(f"{place} orders its labels {names}, the task {list(task.labels)}: its head does not fit")


def fetch(source: EncoderSource, sha256: str | None) -> None:
    """Make sure the encoder can be loaded, fetching it from the hub if need be; check what was fetched as a local
    folder is checked at plan time. Raises `SuiteError` where it cannot be had or is not what the suite says."""
    if source.revision is None:
        return
    folder = folder_of(source)
    if not (folder / WEIGHTS).is_file():
        raise SuiteError(
            f"encoder {source.name}@{source.revision} has no {WEIGHTS} on the hub, and pickled weights are not read: "
            f"`python -m benchmarks convert {source.name}@{source.revision} DIR`, and name DIR as its path"
        )
    check_model_folder(folder, f"encoder {source.name}")
    with (folder / WEIGHTS).open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if sha256 is not None and found != sha256:
        raise SuiteError(f"encoder {source.name}: the hub's weights have sha256 {found}, the suite expects {sha256}")
    check_depth(source, folder)
    check_loadable(replace(source, location=str(folder), revision=None))


def check_loadable(source: EncoderSource) -> None:
    """Raises `SuiteError` unless blocks to replace, every weight and a fitting tokenizer are there."""
    place = f"encoder {source.name} in {source.location}"
    try:
        config = AutoConfig.from_pretrained(source.location, trust_remote_code=False)
        with torch.device("meta"):
            find_blocks(AutoModel.from_config(config))
        words = len(load_tokenizer(source))
        _under_a_new_head(Path(source.location), None, "eager")
    except SuiteError as error:
        raise SuiteError(f"{place}: {error}") from None
    except Exception as error:  # transformers raises what it meets: OSError, ValueError, KeyError, ImportError
        line = " ".join(str(error).split())[:300]
        raise SuiteError(f"{place} cannot be used: {line}") from None
    # Without its files transformers makes up an empty tokenizer and says nothing.
    if not any((Path(source.location) / name).is_file() for name in VOCABULARIES):
        raise SuiteError(f"{place} has no tokenizer (none of {', '.join(VOCABULARIES)}): save one beside the model")
    if words > config.vocab_size:
        raise SuiteError(f"{place}: the tokenizer knows {words} tokens, the model only {config.vocab_size}")
