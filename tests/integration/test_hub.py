"""SUITE=paper's own path: encoder and GLUE from a hub, at the revisions that the suite pins, by the hub's clients."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from benchmarks.base.errors import ROOT
from benchmarks.models.source import WEIGHTS
from benchmarks.suites.suite import load_suite
from tests import tiny
from tests.loopback_hub import Hub, serving

PAPER = load_suite("paper")
SUITE = """
extends = "paper"
name = "from-the-hub"
tasks = ["rte"]
seeds = [1]
successor_layers = 2
[comparison]
reason = "a test"
[encoder]
sha256 = "{sha256}"
layers = 4
hidden_size = 32
[encoder.shape]
vocab_size = 65
hidden_size = 32
num_hidden_layers = 4
num_attention_heads = 2
intermediate_size = 64
[device]
device = "cpu"
[training]
max_steps = 2
evaluate_every = 1
[predecessor]
at_chance = "allow"
[arms.theseus]
preset = "theseus-code"
title = "Theseus"
"""


@dataclass
class Place:
    """The suite of a test, the hub that it reads from and the caches of its machine."""

    hub: Hub
    folder: Path

    @property
    def suite(self) -> Path:
        return self.folder / "from-the-hub.toml"

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`python -m benchmarks run SUITE` in a process of its own, as a user of this hub starts it."""
        command = [
            sys.executable,
            "-m",
            "benchmarks",
            "run",
            str(self.suite),
            "--results",
            str(self.folder / "results"),
        ]
        environment = self.environment | variables
        return subprocess.run(
            [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
        )

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("GLUE_DIR", "ENCODER_DIR")}
        own = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        return inherited | self.hub.environment(self.folder / "home") | own


def glue_on_a_hub(folder: Path, *names: str) -> Path:
    """GLUE as its repository has it: a card that lists configs, and their parquet files."""
    tiny.save_glue(folder, *names)
    configs = []
    for name in names:
        for path in (folder / name).glob("*.parquet"):
            path.rename(path.with_name(f"{path.stem}-00000-of-00001.parquet"))
        splits = [{"split": split, "path": f"{name}/{split}-*"} for split in ("train", "validation")]
        configs.append({"config_name": name, "data_files": splits})
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n# GLUE\n")
    return folder


@pytest.fixture(scope="module")
def offered(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("offered")
    return tiny.save_encoder(folder / "encoder"), glue_on_a_hub(folder / "glue", "rte", "wnli")


@pytest.fixture
def place(offered, tmp_path) -> Iterator[Place]:
    encoder, glue = offered
    with serving(tmp_path / "pushed") as hub:
        hub.add("models", PAPER.encoder.name, encoder, PAPER.encoder.revision)
        hub.add("datasets", PAPER.data.dataset, glue, PAPER.data.revision)
        made = Place(hub, tmp_path)
        made.suite.write_text(SUITE.format(sha256=hashlib.sha256((encoder / WEIGHTS).read_bytes()).hexdigest()))
        yield made


def refusal(done: subprocess.CompletedProcess[str], place: Place) -> str:
    """The one line that a command ended with, before anything was trained."""
    assert done.returncode == 2, done.stderr
    assert not list((place.folder / "results").glob("*/*/seed-*"))
    *before, line = done.stderr.strip().splitlines()
    assert all(said.startswith("warning: ") for said in before), done.stderr
    assert line.startswith("error: ")
    return line


def finished(place: Place, seed: int) -> int:
    """How many runs of a seed are done, the predecessor's included."""
    results = (place.folder / "results").glob(f"*/*/seed-{seed}-*/result.json")
    return sum(json.loads(path.read_text())["status"] == "done" for path in results)


@pytest.mark.slow
def test_the_first_use_downloads_and_later_ones_need_no_hub(place):
    place.hub.cuts = {WEIGHTS: [1000], "rte/train-00000-of-00001.parquet": [500]}  # the clients ask for the rest
    done = place.run()
    assert done.returncode == 0, done.stderr
    assert finished(place, 1) == 2
    assert [len(place.hub.got(name)) for name in (WEIGHTS, "train-00000-of-00001.parquet", "wnli")] == [2, 2, 0]
    (manifest, _) = (place.folder / "results").glob("*/*/seed-1-*/manifest.json")
    assert f"{PAPER.data.dataset}@{PAPER.data.revision}" in manifest.read_text()
    place.hub.asked.clear()
    offline = place.run("--set", "seeds=[2]", HF_HUB_OFFLINE="1")
    assert (offline.returncode, finished(place, 2), place.hub.asked) == (0, 2, []), offline.stderr
    place.hub.close()
    alone = place.run("--set", "seeds=[3]")
    assert (alone.returncode, finished(place, 3)) == (0, 2), alone.stderr
    assert f"warning: the hub at {place.hub.address} cannot be reached" in alone.stderr


def test_weights_of_another_hash_are_refused(place):
    assert "but the suite expects " + "0" * 64 in refusal(place.run("--set", f"encoder.sha256={'0' * 64}"), place)


def gone(kind: str) -> Callable[[Hub], None]:
    def change(hub: Hub) -> None:
        key = next(key for key in hub.files if key[0] == kind)
        hub.files[*key[:2], "f" * 40] = hub.files.pop(key)

    return change


def cut_short(hub: Hub) -> None:
    files = next(files for key, files in hub.files.items() if key[0] == "datasets")
    files["rte/train-00000-of-00001.parquet"] = files["rte/train-00000-of-00001.parquet"][:-100]


def gated(name: str) -> Callable[[Hub], None]:
    return lambda hub: hub.gated.add(name)


ENCODER, DATA = f"encoder {PAPER.encoder.name}@{PAPER.encoder.revision}", f"{PAPER.data.dataset}@{PAPER.data.revision}"
NOT_THERE = {
    "encoder-gone": (gone("models"), (ENCODER, "is gone", "pin another revision", "ENCODER_DIR")),
    "data-gone": (gone("datasets"), (DATA, "is gone", "pin another revision", "GLUE_DIR")),
    "encoder-gated": (gated(PAPER.encoder.name), (ENCODER, "is gated", "hf auth login", "ENCODER_DIR")),
    "data-gated": (gated(PAPER.data.dataset), (DATA, "is gated", "hf auth login", "GLUE_DIR")),
    "no-encoder": (lambda hub: hub.files.clear(), (ENCODER, "is not on the hub", "check its name", "ENCODER_DIR")),
    "no-data": (lambda hub: hub.files.popitem(), (DATA, "is not on the hub", "check its name", "GLUE_DIR")),
    "no-network": (lambda hub: hub.close(), (ENCODER, "out of reach", "connect this machine", "ENCODER_DIR")),
    "data-cut-short": (cut_short, (DATA, "is damaged", "remove its folders", "GLUE_DIR")),
}


@pytest.mark.slow
@pytest.mark.parametrize(("change", "said"), NOT_THERE.values(), ids=NOT_THERE)
def test_what_cannot_be_had_is_one_line_with_what_to_do(change, said, place):
    change(place.hub)
    token = {"HF_TOKEN": "mine"} if DATA in said else {}  # the hub answers 403 to somebody whom it knows, else 401
    line = refusal(place.run(**token), place)
    assert [words for words in said if words not in line] == [], line


@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [(WEIGHTS, ENCODER), ("train-00000-of-00001.parquet", DATA)])
def test_a_download_that_breaks_off_is_one_line_and_works_when_it_is_repeated(name, said, place):
    place.hub.cuts = {name: [1000] + [0] * 6}
    line = refusal(place.run(), place)
    assert said in line
    assert "broke off while it was downloaded: run the command again" in line
    done = place.run()
    assert (done.returncode, finished(place, 1)) == (0, 2), done.stderr


@pytest.mark.slow
def test_a_file_that_is_damaged_in_the_cache_is_named(place):
    wrong = ("--set", f"encoder.sha256={'0' * 64}")
    refusal(place.run(*wrong), place)
    for name in (WEIGHTS, "tokenizer.json"):
        (link,) = (place.folder / "home").rglob(name)
        blob = link.resolve()
        blob.write_bytes(blob.read_bytes()[:-10])
        assert f"{blob} is damaged: remove this file" in refusal(place.run(), place)
        blob.unlink()
        assert "but the suite expects" in refusal(place.run(*wrong), place)  # it was downloaded again


def fetch(place: Place, *calls: str) -> None:
    """What another program left in the cache."""
    program = f"import datasets, huggingface_hub; {'; '.join(calls)}"
    subprocess.run([sys.executable, "-c", program], env=place.environment, check=True, capture_output=True, timeout=120)


WHOLE = f"huggingface_hub.snapshot_download({PAPER.encoder.name!r}, revision={PAPER.encoder.revision!r})"
PART = f"huggingface_hub.hf_hub_download({PAPER.encoder.name!r}, 'config.json', revision={PAPER.encoder.revision!r})"
ROWS = f"datasets.load_dataset({PAPER.data.dataset!r}, 'rte', revision={{!r}})"


@pytest.mark.slow
def test_an_encoder_that_is_cached_in_part_is_not_taken_for_one_without_weights(place):
    fetch(place, PART)
    line = refusal(place.run(HF_HUB_OFFLINE="1"), place)
    assert f"{ENCODER} is not cached here whole" in line


@pytest.mark.slow
def test_data_of_another_revision_in_the_cache_is_not_taken_for_the_pinned(place, offered):
    place.hub.add("datasets", PAPER.data.dataset, offered[1], "e" * 40)
    fetch(place, WHOLE, ROWS.format("e" * 40))
    line = refusal(place.run(HF_HUB_OFFLINE="1"), place)
    assert DATA in line
    assert f"is of {'e' * 40}: connect this machine" in line


@pytest.mark.slow
def test_a_users_data_set_of_another_revision_is_not_taken_for_the_pinned(place, offered):
    """Not even later: what was refused is not kept under the right name."""
    table = f'[tasks.mine]\ndataset = "{PAPER.data.dataset}"\nconfig = "rte"\nrevision = "{PAPER.data.revision}"\n'
    table += 'dev_split = "validation"\ncolumns = ["sentence1", "sentence2"]\n'
    text = place.suite.read_text().replace('tasks = ["rte"]\n', "").replace("held_out", "# held_out")
    place.suite.write_text(text.replace("[comparison]", f"{table}[comparison]"))
    place.hub.add("datasets", PAPER.data.dataset, offered[1], "e" * 40)
    fetch(place, WHOLE, ROWS.format("e" * 40))
    for _ in range(2):
        line = refusal(place.run(HF_HUB_OFFLINE="1"), place)
        assert f"mine: {DATA} split train" in line
        assert f"is of {'e' * 40}: connect this machine, or name local files" in line


@pytest.mark.slow
def test_rows_that_are_cut_in_the_cache_are_one_line(place):
    fetch(place, WHOLE, ROWS.format(PAPER.data.revision))
    (rows,) = (place.folder / "home" / "datasets").rglob("*-train.arrow")
    rows.write_bytes(rows.read_bytes()[:-1000])
    line = refusal(place.run(), place)
    assert [words for words in (DATA, "is damaged", "remove its folders", "GLUE_DIR") if words not in line] == [], line
