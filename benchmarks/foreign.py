"""A model folder that somebody else made, looked at before transformers reads any of it.

    check_model_folder(Path("my-encoder"), "encoder mine")

Such a folder can do harm in three ways: by naming code to run (`auto_map`, an attention kernel from a hub, an
adapter of another model), by bringing weights as a pickle, which is code, and by its size. All are refused in one line.
`trust_remote_code` is never on in this project; a folder that wants it is refused rather than read without, because
what would come out is not the model that its author tested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import limits
from benchmarks.errors import SuiteError

CONFIG = "config.json"
SAFE = "model.safetensors"
PICKLES = ("pytorch_model.bin", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
TEXTS = (".json", ".txt", ".model", ".jinja")
NAMES_CODE = ("auto_map", "custom_pipelines")
ATTENTION = ("attn_implementation", "_attn_implementation")
COUNTS = ("num_labels", "num_hidden_layers", "n_layers", "n_layer")


def check_model_folder(folder: Path, place: str) -> None:
    """Raises `SuiteError` for a folder without plain safetensors weights, one that names code, or an absurd one."""
    weights = folder / SAFE
    if not weights.is_file():
        raise SuiteError(f"{place}: {weights} is missing{_instead(folder)}")
    limits.check_size(weights, limits.WEIGHTS, place)
    for path in sorted(folder.iterdir()):
        if path.suffix in TEXTS and path.is_file():
            limits.check_size(path, limits.MODEL_CONFIG if path.name == CONFIG else limits.MODEL_TEXT, place)
    if (folder / "adapter_config.json").exists():
        raise SuiteError(f"{place}: {folder} is an adapter of another model: merge it and save the whole model")
    for name in (CONFIG, "tokenizer_config.json"):
        if (folder / name).is_file():
            _check_settings(folder / name, read_json(folder / name, place), place)


def _instead(folder: Path) -> str:
    """What to do about weights that are not there."""
    pickled = next((path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))), None)
    if pickled is None:
        return ": point to a save_pretrained folder"
    if pickled == PICKLES[0]:
        return (
            f", and the pickle beside it ({pickled}) is not read, because it can run code: "
            f"`python -m benchmarks convert {folder} DIR`, and name DIR"
        )
    return f", and {pickled} is not read, because it can run code: save the model with save_pretrained"


def read_json(path: Path, place: str) -> dict[str, Any]:
    """A JSON object of a model folder. Raises `SuiteError` for anything else, however deep or twice it is."""
    limits.check_size(path, limits.MODEL_TEXT, place)
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"{place}: {path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SuiteError(f"{place}: {path} holds no JSON object")
    return value


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two equal keys one reader takes the first, another the last: what is checked would not be what is used."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _check_settings(path: Path, settings: dict[str, Any], place: str) -> None:
    for key in NAMES_CODE:
        if settings.get(key):
            raise SuiteError(f"{place}: {path} names code to run ({key}), which is never done: use a built-in model")
    for key in ATTENTION:
        if "/" in str(settings.get(key)):
            raise SuiteError(f"{place}: {path} names an attention kernel on a hub ({key}): remove it from the file")
    counts = [settings.get(key) for key in COUNTS]
    counts += [len(settings[key]) for key in ("id2label", "label2id") if isinstance(settings.get(key), dict)]
    for count in counts:
        if isinstance(count, int) and count > limits.OUTPUTS:
            raise SuiteError(f"{place}: {path} wants {count:,} labels or layers, at most {limits.OUTPUTS:,} are made")
