"""Checks of an encoder or a predecessor before anything is trained from it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled
from transformers import AutoConfig, AutoModel

from benchmarks.base.errors import SuiteError
from benchmarks.base.hub import check_cached, told
from benchmarks.models.contents import own_files
from benchmarks.models.loading import folder_of, load_finetuned, load_tokenizer, model_class, under_a_new_head
from benchmarks.models.safety import check_folder, check_model_folder
from benchmarks.models.source import WEIGHTS, EncoderSource
from benchmarks.tasks import kinds
from benchmarks.tasks.table import Task
from results.format.errors import UserError
from theseus import find_blocks


def check_class(folder: Path, place: str, kind: str = kinds.CLASSIFICATION) -> None:
    """Refuse a model that was saved without a head for a kind of task, such as a SQuAD model for classification
    (docs/fidelity.md, trap 13): if the widths fit, transformers would silently add a random head. Raises
    `SuiteError`."""
    listed = check_model_folder(folder, place).get("architectures") or []
    saved = [str(name) for name in listed] if isinstance(listed, list) else []
    wanted = model_class(kind)
    ending, known = wanted.__name__.removeprefix("AutoModel"), wanted._model_mapping._model_mapping.values()
    if not any(name.endswith(ending) or name in known for name in saved):
        what = "a fine-tuned classifier" if kind == kinds.CLASSIFICATION else f"a model that was fine-tuned on {kind}"
        raise SuiteError(f"{place} was saved as {', '.join(saved) or 'an unknown class'}: give {what}")


VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")


def check_predecessor(folder: str, task: Task, source: EncoderSource) -> str:
    """Check that a fine-tuned model can be the predecessor for `task` under the encoder `source`; returns its hash.

    Theseus keeps its head frozen, so the head must be the task's own: as many outputs as the task has labels, in the
    task's order if the config names them. Its vocabulary and depth must be the encoder's. Raises `SuiteError`.
    """
    path = Path(folder)
    place = f"predecessor for {task.name} in {folder}"
    if not (path / "config.json").is_file():
        raise SuiteError(f"predecessor for {task.name}: {folder} is not a save_pretrained folder with {WEIGHTS}")
    check_class(path, place, task.kind)
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        own = dict(source.shape)
        if not source.random and source.revision is None:
            own = AutoConfig.from_pretrained(source.location, trust_remote_code=False).to_dict()
    except Exception as error:  # transformers raises many kinds
        raise SuiteError(f"{place}: {' '.join(str(error).split())[:300]}") from None
    if config.num_hidden_layers != source.layers:
        raise SuiteError(f"{place} has {config.num_hidden_layers} layers, but the suite's encoder has {source.layers}")
    for name in ("vocab_size", "hidden_size"):
        if own.get(name, getattr(config, name)) != getattr(config, name):
            raise SuiteError(f"{place} has {name} {getattr(config, name)}, but the suite's encoder has {own[name]}")
    kind = kinds.find(task.kind)
    if kind.has_head and not kind.keeps_head:  # that of a language model is the vocabulary, which was compared
        check_head(config, task, place)
    try:
        load_finetuned(path, "eager", task.kind)
    except UserError:
        raise
    except Exception as error:  # as in `check_loadable`
        raise SuiteError(f"{place} cannot be used: {' '.join(str(error).split())[:300]}") from None
    return finetuned_hash(path)


def finetuned_hash(folder: Path) -> str:
    """The hash that identifies a given predecessor, over its weights and settings."""
    names = (WEIGHTS, "config.json", *own_files(folder))
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()


def check_head(config: Any, task: Task, place: str) -> None:
    """Refuse a head whose width is not the task's, or whose labels have another order. Raises `SuiteError`."""
    outputs = kinds.find(task.kind).outputs(task)
    if config.num_labels != outputs:
        raise SuiteError(f"{place} has a head of {config.num_labels} outputs, but the task needs {outputs}")
    names = [config.id2label.get(i) for i in range(task.outputs)]
    said = [str(name).lower() for name in names]  # POSITIVE is positive
    generic = [f"label_{i}" for i in range(task.outputs)]
    if task.labels and said not in ([label.lower() for label in task.labels], generic):
        raise SuiteError(f"{place} orders its labels {names}, but the task's order is {list(task.labels)}")


def fetch(source: EncoderSource, sha256: str | None) -> Path:
    """The encoder's folder. An encoder on the hub is downloaded if it is not here yet, and checked as a plan checks a
    local folder. Raises `SuiteError` if it cannot be downloaded or is not the suite's encoder."""
    folder = folder_of(source)
    if source.revision is None:
        return folder
    check_cached(folder, f"encoder {source.name}@{source.revision}")
    if not (folder / WEIGHTS).is_file():
        if constants.HF_HUB_OFFLINE:  # the client gives a folder that another program has filled in part
            raise SuiteError(
                f"encoder {source.name}@{source.revision} {told(OfflineModeIsEnabled(), '')}, or set ENCODER_DIR (for "
                "an arm's own: arms.NAME.encoder.path)"
            )
        raise SuiteError(
            f"encoder {source.name}@{source.revision} has no {WEIGHTS} on the hub, and pickled weights are not read: "
            f"`python -m benchmarks convert {source.name}@{source.revision} DIR`, and name DIR as its path"
        )
    check_folder(folder, source.name, source.layers, sha256)
    if check_loadable(replace(source, location=str(folder), revision=None)):
        raise SuiteError(
            f"encoder {source.name}: the tokenizer on the hub has no token to pad with: save the model to a folder and "
            "name that as its path; there the end token is taken"
        )
    return folder


def check_loadable(source: EncoderSource) -> dict[str, int]:
    """Raises `SuiteError` unless the folder has blocks to replace, every weight, and a tokenizer that fits. Returns the
    token to pad with, and its id, if the tokenizer has none of its own: its end token."""
    place = f"encoder {source.name} in {source.location}"
    try:
        config = AutoConfig.from_pretrained(source.location, trust_remote_code=False)
        with torch.device("meta"):
            find_blocks(AutoModel.from_config(config))
        tokenizer = load_tokenizer(source)
        words = len(tokenizer)
        under_a_new_head(Path(source.location), None, "eager")
    except UserError as error:
        raise SuiteError(f"{place}: {error}") from None
    except Exception as error:  # transformers raises many kinds: OSError, ValueError, KeyError, ImportError
        line = " ".join(str(error).split())[:300]
        raise SuiteError(f"{place} cannot be used: {line}") from None
    # Without a tokenizer's files transformers silently makes an empty one.
    if not any((Path(source.location) / name).is_file() for name in VOCABULARIES):
        raise SuiteError(f"{place} has no tokenizer (none of {', '.join(VOCABULARIES)}): save one with the model")
    if words > config.vocab_size:
        raise SuiteError(f"{place}: the tokenizer knows {words} tokens, the model only {config.vocab_size}")
    if tokenizer.pad_token_id is not None:
        return {}
    if tokenizer.eos_token_id is None:
        raise SuiteError(f"{place}: the tokenizer has no token to pad with: set pad_token in tokenizer_config.json")
    return {tokenizer.eos_token: tokenizer.eos_token_id}
