"""Convert pickled weights to safetensors, for public checkpoints without them (PD-BERT, older MiniLM and TinyBERT).

    python -m benchmarks convert google/bert_uncased_L-6_H-768_A-12@390c9308bc5379a91e17922c6a15e2179a268822 pd-bert
    python -m benchmarks run paper --set arms.pd-bert.encoder.path=pd-bert

A pickle can run code when it is read. This command reads it with torch's weights-only unpickler, which accepts tensors
and nothing else, and only because a person asked for it; no run reads a pickle.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import save_file

from benchmarks.base.errors import SuiteError
from benchmarks.base.hub import told
from benchmarks.models.checks import VOCABULARIES
from benchmarks.models.safety import read_json
from benchmarks.models.source import WEIGHTS
from results.format.untrusted import text

PICKLE = "pytorch_model.bin"


def convert(source: str, output: Path) -> Path:
    """Write an encoder's folder `output`; `source` is a folder, or `name@revision` on the hub.

    Raises `SuiteError` if there is no pickle, if it holds more than tensors, or if `output` exists.
    """
    if output.exists():
        raise SuiteError(f"{output} exists: name a new folder")
    folder = Path(source) if Path(source).is_dir() else _from_hub(source)
    for needed in (PICKLE, "config.json"):
        if not (folder / needed).is_file():
            raise SuiteError(f"{folder} has no {needed}: there is nothing to convert")
    try:
        weights = torch.load(folder / PICKLE, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many kinds of error
        raise SuiteError(f"{folder / PICKLE} holds more than tensors, or is damaged: {text(error, 300)}") from None
    if not isinstance(weights, dict) or not all(isinstance(name, str) and _whole(weights[name]) for name in weights):
        raise SuiteError(f"{folder / PICKLE} is not a mapping of names to tensors")
    output.mkdir(parents=True)
    # clone(): tensors that share memory (tied embeddings) cannot be written as they are
    save_file({name: value.clone().contiguous() for name, value in weights.items()}, output / WEIGHTS, {"format": "pt"})
    config = read_json(folder / "config.json", str(folder))
    config.setdefault("model_type", "bert")  # Google's checkpoints of 2018 to 2020 do not name it
    (output / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for name in (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)
    return output


def _whole(value: object) -> bool:
    """Whether it is a tensor all of whose values are in the file: not sparse, quantised, or a few values repeated."""
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_meta or value.is_quantized:
        return False
    return value.nbytes <= value.untyped_storage().nbytes()


def _from_hub(source: str) -> Path:
    name, _, revision = source.partition("@")
    if not revision:
        raise SuiteError(f"{source} is neither a folder nor name@revision")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.txt", PICKLE]))
    except Exception as error:  # the hub client raises a dozen kinds of error
        raise SuiteError(f"{source} {told(error, ' '.join(str(error).split())[:200])}") from None
