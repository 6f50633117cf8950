"""Find, hash and check the pretrained encoder. `benchmarks.models.loading` makes models from it."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.base import machine_cache
from benchmarks.base.code_hash import hash_of
from benchmarks.base.errors import ROOT, SuiteError
from benchmarks.base.identity import packages
from benchmarks.models import contents
from benchmarks.models.safety import check_folder
from benchmarks.models.settings import Encoder
from benchmarks.models.source import EncoderSource
from benchmarks.models.standard import merged, padded


def _check_loads(source: EncoderSource) -> dict[str, int]:
    """Check that the encoder loads, once per machine, encoder and versions. Returns what `check_loadable` returns."""

    def check() -> dict[str, int]:
        from benchmarks.models.checks import check_loadable  # imports transformers: 4 s that a cached answer saves

        return check_loadable(source)

    versions = packages(("torch", "transformers", "tokenizers", "safetensors"))
    key = [source.hash, versions, hash_of("benchmarks.models.checks:check_loadable")]
    found: dict[str, int] = machine_cache.once("encoder", dict[str, int], key, check)
    return found


def find_encoder(encoder: Encoder, own: str | None = None) -> EncoderSource:
    """Locate, hash and check the encoder. Raises `SuiteError` if it is missing, was changed or does not fit.

    `own`: the arm, if it is an arm's own checkpoint; ENCODER_DIR names the suite's encoder only.
    """
    shape = tuple(sorted(encoder.shape.items()))
    if encoder.random:
        missing = {"vocab_size", "hidden_size", "num_hidden_layers"} - set(encoder.shape)
        if missing:
            raise SuiteError(
                f"encoder {encoder.name}: encoder.random needs encoder.shape with {', '.join(sorted(missing))}"
            )
        return EncoderSource(encoder.name, "random", None, "random", encoder.layers, shape)
    path = _folder(encoder, own)
    if path is None:
        if encoder.revision is None:
            where = f"arms.{own}.encoder.path" if own else "ENCODER_DIR"
            raise SuiteError(f"encoder {encoder.name}: set {where} to its save_pretrained folder, or encoder.revision")
        hashed = f"{encoder.name}@{encoder.revision}"
        return EncoderSource(encoder.name, encoder.name, encoder.revision, hashed, encoder.layers, shape)
    source = _at(merged(path, f"encoder {encoder.name}"), encoder)
    end = _check_loads(source)
    return _at(padded(Path(source.location), end), encoder) if end else source


def _at(path: Path, encoder: Encoder) -> EncoderSource:
    weights = check_folder(path, encoder.name, encoder.layers, encoder.sha256)
    return EncoderSource(encoder.name, str(path), None, contents.hash_of(path, weights), encoder.layers)


def _folder(encoder: Encoder, own: str | None) -> Path | None:
    given = encoder.path or (None if own else os.environ.get("ENCODER_DIR"))
    if given is None:
        return None
    path = Path(given)
    if not path.is_absolute() and not path.is_dir():
        path = ROOT / given  # a suite gives the shipped encoder's path relative to the repository's root
    if not path.is_dir():
        raise SuiteError(f"encoder {encoder.name}: {given} is not a folder: correct ENCODER_DIR (or encoder.path)")
    return path
