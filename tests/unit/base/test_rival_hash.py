"""A rival in a file of its own: however it reaches the number in `helper.py`, its id follows that number."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.base.code_copy import HASHES, every_second, hashes

HELPER = """
from dataclasses import dataclass
WEIGHT = 0.5
TABLE = {"soft": 0.1}
KINDS = {}

def register(function):
    KINDS[function.__name__] = function
    return function

def weight(x=0):
    return WEIGHT

@dataclass
class Options:
    scale: float = 1.0
    def weight(self):
        return WEIGHT
"""
REACHING = {
    "a name": "from baselines.mine.helper import weight\nclass M(Finetune):\n    def w(self): return weight()",
    "an alias": "from baselines.mine import helper as h\nclass M(Finetune):\n    def w(self): return h.weight()",
    "a dotted path": "import baselines.mine.helper\n"
    "class M(Finetune):\n    def w(self): return baselines.mine.helper.weight()",
    "an import in a function": "class M(Finetune):\n    def w(self):\n"
    "        from baselines.mine.helper import weight as f\n        return f()",
    "the type of a field": "from baselines.mine.helper import Options\n"
    "class M(Finetune):\n    o: Options | None = None",
    "a default that hides its name": "from baselines.mine.helper import weight\n"
    "class M(Finetune):\n    def w(self, weight=weight): return weight()",
    "a comprehension that hides its name": "from baselines.mine.helper import weight as w\n"
    "class M(Finetune):\n    def all(self): return [w for w in [w()]]",
    "a table filled by a decorator": "from baselines.mine.helper import KINDS\n"
    "class M(Finetune):\n    def w(self): return KINDS['late']()",
    "a name built at run time": "from baselines.mine.helper import weight\nclass M(Finetune):\n"
    "    def _a_loss(self): return weight()\n    def w(self): return getattr(self, f'_{self.kind}_loss')()",
    "a top-level if": "import sys\nfrom baselines.mine.helper import weight\n"
    "if sys.maxsize > 1:\n    W = weight()\nelse:\n    W = 0\nclass M(Finetune):\n    def w(self): return W",
    "an entry of a table": "from baselines.mine.helper import TABLE, weight\nTABLE['mine'] = weight()\n"
    "class M(Finetune):\n    def w(self): return TABLE['mine']",
    "an import that may fail": "try:\n    from baselines.mine.helper import weight\n"
    "except ImportError:\n    weight = int\n"
    "class M(Finetune):\n    def w(self): return weight()",
    "an import only at run time": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    weight = int\nelse:\n"
    "    from baselines.mine.helper import weight\nclass M(Finetune):\n    def w(self): return weight()",
    "an import in a class": "class M(Finetune):\n    from baselines.mine.helper import weight as w",
    "a module that is passed on": "from baselines.mine import helper\n"
    "class M(Finetune):\n    def w(self): return getattr(helper, 'weight')()",
    "a constant set twice": "from baselines.mine.helper import weight\nW = 0\nW = weight()\nW += 1\n"
    "class M(Finetune):\n    def w(self): return W",
}  # fmt: skip


@pytest.mark.parametrize("way", every_second(REACHING))
def test_a_rivals_id_follows_every_way_to_a_number(tree, way):
    folder = tree / "baselines/mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    late = "\n@register\ndef late():\n    return WEIGHT\n"
    (folder / "helper.py").write_text(HELPER + late)
    (tree / "baselines/rival.py").write_text(f"from baselines.finetune import Finetune\n{REACHING[way]}\nMETHOD = M\n")
    before = hashes(tree)
    (folder / "helper.py").write_text((HELPER + late).replace("WEIGHT = 0.5", "WEIGHT = 0.9"))
    now = hashes(tree)
    assert {name for name in now if now[name] != before[name]} == {"rival"}


def test_a_star_import_is_refused_because_nobody_can_follow_it(tree):
    (tree / "baselines/rival.py").write_text("from baselines.parts.losses import *\nfrom baselines.kd import METHOD\n")
    done = subprocess.run([sys.executable, "-c", HASHES], cwd=tree, capture_output=True, text=True, timeout=60)
    assert "from baselines.parts.losses import *" in done.stderr.splitlines()[-1]
