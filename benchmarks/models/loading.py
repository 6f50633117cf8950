"""Load a model: an encoder under the seed's fresh head, or a fine-tuned model as it was saved.

Weights come from safetensors only, and no remote code is ever run. The hub is read at a pinned revision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from benchmarks.base.errors import SuiteError
from benchmarks.base.hub import told
from benchmarks.models.source import WEIGHTS, EncoderSource
from benchmarks.tasks import kinds
from benchmarks.tasks.table import Task
from theseus import parameters_by_part

FETCHED = ("*.json", "*.txt")

logging.set_verbosity_error()  # no warning about newly initialized weights: those of the head are meant to be new
logging.disable_progress_bar()


def model_class(kind: str) -> Any:
    """The transformers class that gives an encoder the head of a kind of task."""
    return getattr(transformers, kinds.find(kind).model_class)


def load_pretrained(source: EncoderSource, task: Task, head_seed: int, attention: str) -> Any:
    """The encoder under a head for `task`; `head_seed` alone decides the head's weights. float32, eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(head_seed)
        if source.random:
            config = AutoConfig.for_model("bert", **dict(source.shape), **kinds.find(task.kind).config(task))
            model = model_class(task.kind).from_config(config, attn_implementation=attention).eval()
            return kinds.find(task.kind).wrap(model, None)
        folder = folder_of(source)
        return kinds.find(task.kind).wrap(under_a_new_head(folder, task, attention), folder)


def folder_of(source: EncoderSource) -> Path:
    """The encoder's folder. An encoder on the hub is downloaded, unless `checks.fetch` has done so already."""
    if source.revision is None:
        return Path(source.location)
    try:
        return Path(snapshot_download(source.location, revision=source.revision, allow_patterns=[*FETCHED, WEIGHTS]))
    except Exception as error:  # the hub client raises a dozen kinds of error
        line = " ".join(str(error).split())[:200]
        raise SuiteError(
            f"encoder {source.name}@{source.revision} {told(error, line)}, "
            "or set ENCODER_DIR (for an arm's own: arms.NAME.encoder.path) to a local save_pretrained folder"
        ) from None


def under_a_new_head(folder: Path, task: Task | None, attention: str) -> Any:
    """The encoder of a folder under a new head; a head that was saved with it, perhaps for another task, is dropped, if
    the kind of task does not keep its own.

    Raises `SuiteError` if the file lacks a weight below the head, or has any weight in another shape: transformers
    would fill it with random values.
    """
    kind = kinds.find(task.kind if task else kinds.CLASSIFICATION)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **(kind.config(task) if task else {}))
    own_class: Any = getattr(transformers, kind.model_class)._model_mapping[type(config)]
    weights = load_file(folder / WEIGHTS)
    prefix = f"{own_class.base_model_prefix}."
    own = {name: value for name, value in weights.items() if name.startswith(prefix)}
    given = weights if kind.keeps_head else own or weights
    model, info = own_class.from_pretrained(
        None, config=config, state_dict=given, dtype=torch.float32, attn_implementation=attention,
        output_loading_info=True, ignore_mismatched_sizes=True,  # `_refuse_made_up` refuses them by name
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
    """Names of the weights that the file has in another shape."""
    return {key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]}


def _refuse_made_up(folder: Path, names: set[str]) -> None:
    if names:
        raise SuiteError(
            f"{folder / WEIGHTS} lacks {len(names)} of the model's weights or has them in another shape "
            f"({min(names)}, ...): save the model anew with save_pretrained"
        )


def load_finetuned(folder: Path, attention: str, kind: str = kinds.CLASSIFICATION) -> Any:
    """A model for a kind of task that a run or the user saved, with its head; float32, eval mode.

    Raises `SuiteError` if the file lacks any weight or has it in another shape.
    """
    model, info = model_class(kind).from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, trust_remote_code=False, use_safetensors=True,
        output_loading_info=True, ignore_mismatched_sizes=True,  # `_refuse_made_up` refuses them by name
    )  # fmt: skip
    _refuse_made_up(folder, _missing(info) | _misshapen(info))
    return kinds.find(kind).wrap(model, folder)


def load_tokenizer(source: EncoderSource) -> Any:
    """The encoder's own (fast) tokenizer."""
    return AutoTokenizer.from_pretrained(folder_of(source), trust_remote_code=False)
