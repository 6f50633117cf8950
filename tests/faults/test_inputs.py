"""What is read is what is identified: each input is swapped at each instant between the plan and the first step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file

from benchmarks.plans.planner import make_plan
from benchmarks.plans.run import Run
from benchmarks.runs import execute as executing
from benchmarks.runs import tensor_cache
from benchmarks.runs.execute import execute
from benchmarks.runs.store import Store
from benchmarks.suites.suite import load_suite
from tests import tiny

FILES = ("result.json", "metrics.jsonl", "predictions.parquet")


class Lab:
    """A finished predecessor, and a KD run that reads every kind of input."""

    def __init__(self, folder: Path) -> None:
        self.encoder = tiny.save_encoder(folder / "encoder")
        self.glue = tiny.save_glue(folder / "glue", "rte")
        suite = str(tiny.save_suite(folder, self.encoder, self.glue))
        self.plan = make_plan(load_suite(suite, ["seeds=[1]"]))
        self.run = self.of("kd")
        self.results = folder / "results"
        Store(self.results).open()
        assert execute(self.of("predecessor"), self.results).status == "done"
        self.expected = self.trained()

    def of(self, arm: str) -> Run:
        return next(run for run in self.plan.runs if run.arm == arm)

    def trained(self) -> dict[str, bytes]:
        """The KD run's numbers after it ran from nothing, caches included."""
        shutil.rmtree(self.results / self.run.folder, ignore_errors=True)
        shutil.rmtree(self.results / "cache", ignore_errors=True)
        return self.again()

    def again(self) -> dict[str, bytes]:
        outcome = execute(self.run, self.results)
        assert outcome.status == "done", outcome.reason
        return self.numbers()

    def numbers(self) -> dict[str, bytes]:
        folder = self.results / self.run.folder
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        times = {"train_seconds", "examples_per_second", "peak_memory_bytes"}
        shown = json.dumps({key: value for key, value in result.items() if key not in times})
        return {name: (folder / name).read_bytes() for name in FILES[1:]} | {"result": shown.encode()}

    def files(self) -> dict[str, tuple[Path, Callable[[Path], None]]]:
        """Every input file, with a change that keeps it readable and moves the numbers."""
        start = self.results / str(self.run.predecessor_folder)
        return {
            "encoder weights": (self.encoder / "model.safetensors", halved),
            "encoder config": (self.encoder / "config.json", replaced('"hidden_act": "gelu"', '"hidden_act": "relu"')),
            "tokenizer": (self.encoder / "tokenizer.json", replaced('"w5"', '"w05"')),
            "train": (self.glue / "rte" / "train.parquet", turned),
            "dev": (self.glue / "rte" / "validation.parquet", turned),
            "predecessor weights": (start / "successor" / "model.safetensors", halved),
            "predecessor manifest": (start / "manifest.json", replaced(str(self.run.predecessor), "0" * 16)),
        }


INPUTS = (
    "encoder weights",
    "encoder config",
    "tokenizer",
    "train",
    "dev",
    "predecessor weights",
    "predecessor manifest",
)


def halved(path: Path) -> None:
    save_file({name: value / 2 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


def turned(path: Path) -> None:
    """The same rows with the labels of other rows."""

    def change(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("label")
        return table.set_column(at, table.schema.field(at), table["label"].take(list(range(len(table)))[::-1]))

    tiny.rewrite(path, change)


@contextmanager
def swapped(path: Path, change: Callable[[Path], None]) -> Iterator[None]:
    """Another file in its place, then the first one again."""
    kept = path.with_name(f"{path.name}.kept")
    shutil.copy2(path, kept)
    try:
        change(path)
        assert path.read_bytes() != kept.read_bytes()
        yield
    finally:
        kept.replace(path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("inputs"))


def refused(lab: Lab) -> str:
    shutil.rmtree(lab.results / lab.run.folder, ignore_errors=True)
    outcome = execute(lab.run, lab.results)
    assert outcome.status == "failed", "a number was made of other inputs than the run's id says"
    return str(outcome.reason)


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_is_swapped_before_it_is_read_ends_the_run(lab: Lab, name: str) -> None:
    path, change = lab.files()[name]
    shutil.rmtree(lab.results / "cache", ignore_errors=True)
    with swapped(path, change):
        said = refused(lab)
    assert any(words in said for words in ("changed after this run was planned", "not those", "holds another run")), (
        said
    )
    assert str(path.parent.parent) not in said
    assert lab.again() == lab.expected  # and nothing of the other input was kept


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_is_other_only_while_it_is_read_ends_the_run(
    lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, change = lab.files()[name]
    read = executing.private

    def other(run: Run, store: Store) -> Run:
        with swapped(path, change):
            return read(run, store)

    monkeypatch.setattr(executing, "private", other)
    shutil.rmtree(lab.results / "cache", ignore_errors=True)
    refused(lab)
    monkeypatch.undo()
    assert lab.again() == lab.expected


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_is_swapped_after_it_was_read_changes_nothing(
    lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, change = lab.files()[name]
    read = executing.private
    kept = path.with_name(f"{path.name}.kept")

    def then_other(run: Run, store: Store) -> Run:
        made = read(run, store)
        shutil.copy2(path, kept)
        change(path)
        return made

    monkeypatch.setattr(executing, "private", then_other)
    try:
        assert lab.trained() == lab.expected
    finally:
        kept.replace(path)


@pytest.mark.parametrize("kind", ["tokens", "outputs"])
def test_a_cache_that_is_changed_between_two_runs_of_a_process_is_made_again(lab: Lab, kind: str) -> None:
    shutil.rmtree(lab.results / lab.run.folder)
    assert lab.again() == lab.expected  # this process has verified the cache
    file = max((lab.results / "cache").glob(f"{kind}-*/*.bin"), key=lambda path: path.stat().st_size)
    with file.open("r+b") as opened:
        opened.write(b"\x05" * 64)
    shutil.rmtree(lab.results / lab.run.folder)
    assert lab.again() == lab.expected


def test_a_cache_that_is_written_to_while_it_is_read_ends_the_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    train = executing.train

    def meanwhile(*arguments: object) -> object:
        file = next((lab.results / "cache").glob("tokens-*/train-ids.bin"))
        with file.open("r+b") as opened:
            opened.seek(80)
            later = opened.read(40)
            opened.seek(0)
            opened.write(later)  # other words of the vocabulary
        return train(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(executing, "train", meanwhile)
    assert "was changed while the run read it" in refused(lab)
    monkeypatch.undo()
    assert lab.again() == lab.expected
    assert tensor_cache.changed() is None


def test_a_file_that_no_run_reads_changes_no_id(lab: Lab) -> None:
    (lab.encoder / "notes.txt").write_text("tuned on Tuesday", encoding="utf-8")
    (lab.encoder / "modules.json").write_text("[]", encoding="utf-8")
    suite = str(lab.encoder.parent / "tiny.toml")
    assert [run.id for run in make_plan(load_suite(suite, ["seeds=[1]"])).runs] == [run.id for run in lab.plan.runs]
