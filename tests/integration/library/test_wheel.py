"""The wheel: it holds `theseus` alone with its types, says so in its metadata, and works elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import theseus

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OLDEST = [requirement.replace(">=", "==") + ".*" for requirement in PROJECT["dependencies"]]
USE = """
import sys
import torch
from transformers import BertConfig, BertForSequenceClassification
import theseus
from theseus import LinearRate, Theseus

assert theseus.__file__.startswith(sys.prefix), theseus.__file__
shape = dict(hidden_size=32, num_attention_heads=2, intermediate_size=64, vocab_size=65, num_hidden_layers=4)
gated = Theseus(BertForSequenceClassification(BertConfig(**shape)), layers=2, rate=LinearRate(0.5, 0.1), seed=0)
optimizer = torch.optim.AdamW(gated.trainable_parameters(), lr=1e-3)
ids = torch.randint(0, 65, (4, 9))
for _ in range(4):
    gated.model(input_ids=ids, labels=torch.zeros(4, dtype=torch.int64)).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    gated.step()
gated.model.save_pretrained("saved")
model = BertForSequenceClassification.from_pretrained("saved").eval()
assert torch.equal(model(input_ids=ids).logits, gated.model.eval()(input_ids=ids).logits)
assert model.config.theseus["steps"] == 4
print(theseus.__version__)
"""
TYPED = """
from theseus import LinearRate, Theseus
rate: float = LinearRate(0.5, 0.1)(3)
def gates(theseus: Theseus) -> list[bool]:
    reveal_type(Theseus.__init__)
    return theseus.gates
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for package in ("theseus", "baselines", "benchmarks", "reports"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, folder], cwd=source, check=True, capture_output=True, timeout=120)
    [built] = folder.glob("*.whl")
    return built


def packed(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(archive.read(name).decode())


def test_it_holds_theseus_alone_and_says_that_it_is_typed(wheel):
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "theseus").rglob("*.py")}
    assert packed(wheel) == ours | {"theseus/py.typed"}


def test_its_bill_of_materials_lists_what_it_needs_with_hashes(wheel):
    subprocess.run([sys.executable, ROOT / ".ci/sbom.py", wheel], check=True, capture_output=True, timeout=60)
    bill = json.loads(wheel.with_suffix(".cdx.json").read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["hashes"][0]["content"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    parts = {part["name"]: part for part in bill["components"]}
    locked = dict(
        re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {"torch", "transformers", "numpy", "tokenizers"} <= set(parts)
    assert not {"pytest", "ruff"} & set(parts)
    assert {name: part["version"] for name, part in parts.items()} == {name: locked[name] for name in parts}
    assert all(part["hashes"] for part in parts.values())
    references = {part["bom-ref"] for part in (*parts.values(), bill["metadata"]["component"])}
    assert {edge["ref"] for edge in bill["dependencies"]} == references


def test_its_metadata_names_what_its_code_works_with(wheel):
    said = metadata(wheel)
    required = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.match(r"[\w-]+", line).group() for line in required} == {"torch", "transformers"}
    assert set(said.get_all("Provides-Extra", [])) == {"trainer", "peft", "sentence-transformers"}
    assert said["Version"] == theseus.__version__ == PROJECT["version"]
    assert said.get_all("Project-URL")


def environment(folder: Path) -> Path:
    """The python of a new environment."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_it_works_beside_the_locked_packages_and_a_type_checker_sees_its_types(wheel, tmp_path):
    python = environment(tmp_path / "bare")
    run(python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    own = next(path for path in (tmp_path / "bare").rglob("site-packages"))
    (own / "locked.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path), encoding="utf-8")
    assert run(python, "-c", USE, cwd=tmp_path).endswith(theseus.__version__)
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    seen = run(sys.executable, "-m", "mypy", "--python-executable", python, "--strict", "typed.py", cwd=tmp_path)
    assert "predecessor: torch.nn.modules.module.Module, layers:" in seen
    assert "Success" in seen


@pytest.mark.nightly
@pytest.mark.parametrize("pins", [OLDEST, []], ids=["oldest", "newest"])
def test_it_works_in_a_bare_environment(wheel, pins, tmp_path):
    python = environment(tmp_path / "bare")
    run(python, "-m", "pip", "install", "-q", wheel, *pins, cwd=tmp_path)
    assert run(python, "-c", USE, cwd=tmp_path).endswith(theseus.__version__)
    run(python, "-m", "pip", "install", "-q", f"{wheel}[trainer]", *pins, cwd=tmp_path)
    run(python, "-c", "from theseus import TheseusCallback; import accelerate", cwd=tmp_path)
