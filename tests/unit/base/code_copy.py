"""The ids of methods as a copy of our code gives them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HASHES = """
import json
import baselines
from benchmarks.base.code_hash import code_hash
print(json.dumps({name: code_hash(name) for name in baselines.names()}))
"""


def hashes(tree: Path) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", HASHES], cwd=tree, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
