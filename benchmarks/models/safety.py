"""Check a model folder from outside before transformers reads any of it.

    check_model_folder(Path("my-encoder"), "encoder mine")

Such a folder can do harm in three ways: it can name code to run (`auto_map`, an attention kernel from a hub, an adapter
of another model), it can bring weights as a pickle, which is code, and it can be too large. One line refuses each.
`trust_remote_code` is never on in this project. A folder that wants it is refused, because without it the result would
not be the model that its author tested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.base.errors import SuiteError
from benchmarks.models.source import WEIGHTS
from results.format import limits
from results.format.untrusted import file_digest, no_key_twice, text


def check_folder(folder: Path, name: str, layers: int, sha256: str | None) -> str:
    """sha256 of the encoder's weights. Raises `SuiteError` for a folder that is unsafe to read, or is not the suite's
    encoder."""
    config = check_model_folder(folder, f"encoder {name}")
    depth = config.get("num_hidden_layers", config.get("n_layers", config.get("n_layer")))
    if depth != layers:
        raise SuiteError(f"encoder {name}: {folder} has {text(str(depth), 60)} layers, but the suite says {layers}")
    found = file_digest(folder / WEIGHTS)
    if sha256 is not None and found != sha256:
        raise SuiteError(
            f"encoder {name}: {folder / WEIGHTS} has sha256 {found}, but the suite expects {sha256}: take the weights "
            "that it means, or correct its sha256"
        )
    return found


CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
PICKLES = ("pytorch_model.bin", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
TEXTS = (".json", ".txt", ".model", ".jinja")
NAMES_CODE = ("auto_map", "custom_pipelines")
ATTENTION = ("attn_implementation", "_attn_implementation")
COUNTS = ("num_labels", "num_hidden_layers", "n_layers", "n_layer")


def check_model_folder(folder: Path, place: str) -> dict[str, Any]:
    """The folder's config. Raises `SuiteError` for a folder that has no config or no plain safetensors weights, that
    names code, or that has absurd sizes."""
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise SuiteError(f"{place}: {weights} is missing{_instead(folder)}")
    limits.check_size(weights, limits.WEIGHTS, place)
    for path in sorted(folder.iterdir()):
        if path.suffix in TEXTS and path.is_file():
            limits.check_size(path, limits.MODEL_CONFIG if path.name == CONFIG else limits.MODEL_TEXT, place)
    if (folder / "adapter_config.json").exists():
        raise SuiteError(f"{place}: {folder} is an adapter of another model: merge it and save the whole model")
    if not (folder / CONFIG).is_file():
        raise SuiteError(f"{place}: {folder / CONFIG} is missing: point to a save_pretrained folder")
    settings = {
        name: read_json(folder / name, place) for name in (CONFIG, TOKENIZER_CONFIG) if (folder / name).is_file()
    }
    for name, found in settings.items():
        _check_settings(folder / name, found, place)
    return settings[CONFIG]


def check_shards(folder: Path, index: dict[str, Any], place: str) -> dict[str, list[str]]:
    """The names of the weights in each shard of an index. Raises `SuiteError` for a shard that is missing, that is too
    large, or that is not a safetensors file of the folder."""
    found: dict[str, list[str]] = {}
    named = index.get("weight_map")
    for name, shard in sorted(named.items()) if isinstance(named, dict) else []:
        if not isinstance(shard, str) or "/" in shard or "\\" in shard or not shard.endswith(".safetensors"):
            raise SuiteError(f"{place}: the weights' index names {str(shard)[:80]!r}, which is not a file of {folder}")
        found.setdefault(shard, []).append(name)
    if not found:
        raise SuiteError(f"{place}: the weights' index in {folder} names no weights: save the model anew")
    for shard in found:
        limits.check_size(folder / shard, limits.WEIGHTS, place)
    return found


def _instead(folder: Path) -> str:
    """The end of the message about missing weights: what to do."""
    pickled = next((path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))), None)
    if pickled is None:
        return ": point to a save_pretrained folder"
    if pickled == PICKLES[0]:
        return (
            f", and the pickle {pickled} is not read, because it can run code: "
            f"`python -m benchmarks convert {folder} DIR`, and name DIR"
        )
    return f", and {pickled} is not read, because it can run code: save the model with save_pretrained"


def read_json(path: Path, place: str) -> dict[str, Any]:
    """A JSON object of a model folder. Raises `SuiteError` for anything else, and for deep nesting or repeated keys."""
    limits.check_size(path, limits.MODEL_TEXT, place)
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=no_key_twice)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{place}: {path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SuiteError(f"{place}: {path} does not hold a JSON object")
    return value


def _check_settings(path: Path, settings: dict[str, Any], place: str) -> None:
    for key in NAMES_CODE:
        if settings.get(key):
            raise SuiteError(f"{place}: {path} names code to run ({key}), which is never run: use a built-in model")
    for key in ATTENTION:
        if "/" in str(settings.get(key)):
            raise SuiteError(f"{place}: {path} names an attention kernel on a hub ({key}): remove it from the file")
    counts = [settings.get(key) for key in COUNTS]
    counts += [len(settings[key]) for key in ("id2label", "label2id") if isinstance(settings.get(key), dict)]
    for count in counts:
        if isinstance(count, int) and count > limits.HEAD_OUTPUTS:
            raise SuiteError(
                f"{place}: {path} asks for {count:,} labels or layers; the limit is {limits.HEAD_OUTPUTS:,}"
            )
