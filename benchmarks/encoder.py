"""The pretrained encoder: found, hashed and checked. `benchmarks.loading` makes models of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks import kept
from benchmarks.errors import ROOT, SuiteError
from benchmarks.foreign import check_model_folder, read_json
from benchmarks.identity import hash_of, packages
from benchmarks.settings import Encoder

WEIGHTS = "model.safetensors"


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
            encoder.name, encoder.name, encoder.revision, f"{encoder.name}@{encoder.revision}", encoder.layers,
            tuple(sorted(encoder.shape.items())),
        )  # fmt: skip
    weights = path / WEIGHTS
    check_model_folder(path, f"encoder {encoder.name}")
    if not (path / "config.json").is_file():
        raise SuiteError(
            f"encoder {encoder.name}: {path / 'config.json'} is missing: point ENCODER_DIR at a save_pretrained folder"
        )
    with weights.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if encoder.sha256 is not None and found != encoder.sha256:
        raise SuiteError(f"encoder {encoder.name}: {weights} has sha256 {found}, the suite expects {encoder.sha256}")
    digest = hashlib.sha256(found.encode())
    for file in sorted(path.iterdir()):  # config and tokenizer, whatever files its kind has
        if file.suffix in {".json", ".txt", ".model"}:
            digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    source = EncoderSource(encoder.name, str(path), None, digest.hexdigest(), encoder.layers)
    check_depth(source, path)
    _check_loads(source)
    return source


def check_depth(source: EncoderSource, folder: Path) -> None:
    """Raises `SuiteError` where the folder's config has another depth than the suite says."""
    shape = read_json(folder / "config.json", f"encoder {source.name}")
    depth = shape.get("num_hidden_layers", shape.get("n_layers", shape.get("n_layer")))
    if depth != source.layers:
        raise SuiteError(f"encoder {source.name}: {folder} has {depth} layers, the suite says {source.layers}")


def _check_loads(source: EncoderSource) -> None:
    """Once per machine, encoder and versions: it takes the modelling library's import and a load of the weights."""

    def check() -> bool:
        from benchmarks.loading import check_loadable

        check_loadable(source)
        return True

    versions = packages(("torch", "transformers", "tokenizers", "safetensors"))
    kept.once("encoder", [source.hash, versions, hash_of("benchmarks.loading")], check)


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


def check_classifier(folder: Path, place: str) -> None:
    """Refuse a model that was saved without a classifier, such as a SQuAD model (docs/fidelity.md, trap 13): where the
    widths fit, transformers makes up a random head and says nothing. Raises `SuiteError`."""
    check_model_folder(folder, place)
    listed = read_json(folder / "config.json", place).get("architectures") or []
    saved = [str(name) for name in listed] if isinstance(listed, list) else []
    if not any(name.endswith("ForSequenceClassification") for name in saved):
        raise SuiteError(f"{place} was saved as {', '.join(saved) or 'nothing known'}: give a fine-tuned classifier")
