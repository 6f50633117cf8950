"""What is read is what is identified: each input is swapped at each instant between the plan and the first step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
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

FILES = ("metrics.jsonl", "predictions.parquet")


Change = Callable[[Path], None]
Input = tuple[
    str, Path, Change
]  # the arm whose run reads it, the file, a change that keeps it readable and moves numbers


class Lab:
    """A finished predecessor, and runs that read every kind of input."""

    def __init__(self, suite: Path) -> None:
        self.suite = str(suite)
        self.plan = make_plan(load_suite(self.suite, ["seeds=[1]"]))
        self.results = suite.parent / "results"
        Store(self.results).open()
        assert execute(self.of("predecessor"), self.results).status == "done"
        self.known: dict[str, dict[str, bytes]] = {}

    def of(self, arm: str) -> Run:
        return next(run for run in self.plan.runs if run.arm == arm)

    def folder(self, arm: str) -> Path:
        return self.results / self.of(arm).folder

    def expected(self, arm: str = "kd") -> dict[str, bytes]:
        """The numbers of an undisturbed run."""
        if arm not in self.known:
            self.known[arm] = self.trained(arm)
        return self.known[arm]

    def trained(self, arm: str = "kd") -> dict[str, bytes]:
        """The run's numbers after it ran from nothing, caches included."""
        shutil.rmtree(self.results / "cache", ignore_errors=True)
        return self.again(arm)

    def again(self, arm: str = "kd") -> dict[str, bytes]:
        shutil.rmtree(self.folder(arm), ignore_errors=True)
        outcome = execute(self.of(arm), self.results)
        assert outcome.status == "done", outcome.reason
        result = json.loads((self.folder(arm) / "result.json").read_text(encoding="utf-8"))
        times = {"train_seconds", "examples_per_second", "peak_memory_bytes"}
        shown = json.dumps({key: value for key, value in result.items() if key not in times})
        return {name: (self.folder(arm) / name).read_bytes() for name in FILES} | {"result": shown.encode()}

    def refused(self, arm: str = "kd") -> str:
        shutil.rmtree(self.folder(arm), ignore_errors=True)
        outcome = execute(self.of(arm), self.results)
        assert outcome.status == "failed", "a number was made of other inputs than the run's id says"
        return str(outcome.reason)

    def files(self) -> dict[str, Input]:
        """The inputs by name, as their runs find them: a converted or merged file is read from the machine's cache."""
        run, start = self.of("kd"), self.folder("predecessor")
        encoder, data = Path(run.encoder.location), Path(str(run.source.folder)) / "rte"
        found: dict[str, Input] = {
            "encoder weights": ("kd", encoder / "model.safetensors", halved),
            "encoder config": ("kd", encoder / "config.json", replaced('"hidden_act": "gelu"', '"hidden_act": "relu"')),
            "tokenizer": ("kd", encoder / "tokenizer.json", replaced('"w5"', '"w05"')),
            "train": ("kd", data / "train.parquet", turned),
            "dev": ("kd", data / "validation.parquet", turned),
            "predecessor weights": ("kd", start / "successor" / "model.safetensors", halved),
            "predecessor manifest": ("kd", start / "manifest.json", replaced(self.of("predecessor").id, "0" * 16)),
        }
        if (given := self.of("predecessor").finetuned) is not None:
            own = Path(self.of("own").encoder.location)
            found["own encoder"] = ("own", own / "model.safetensors", halved)
            found["given weights"] = ("predecessor", Path(given) / "model.safetensors", halved)
            found["given config"] = ("predecessor", Path(given) / "config.json", replaced("gelu", "relu"))
        return found


def plain(folder: Path) -> Path:
    """A suite over a plain folder of weights and one of parquet files."""
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    return tiny.save_suite(folder, encoder, glue)


def other(folder: Path) -> Path:
    """A suite over shards and GLUE's TSV files, with a given predecessor and an arm with an encoder of its own."""
    encoder, glue = tiny.save_encoder(folder / "encoder"), tiny.save_glue(folder / "glue", "rte")
    own, given, shards = (shutil.copytree(encoder, folder / name) for name in ("own", "given", "shards"))
    tiny.bert().save_pretrained(given)
    tiny.bert(seed=1).base_model.save_pretrained(own)
    tiny.bert().base_model.save_pretrained(shards, max_shard_size="50KB")
    (shards / "model.safetensors").unlink()
    arm = f'[arms.own]\nmethod = "pretrained"\ntitle = "Own"\nencoder.name = "own"\nencoder.path = "{own}"\n'
    arm += "encoder.layers = 4\nencoder.hidden_size = 32\n"
    extra = f'{arm}[predecessor.paths]\nrte = "{given}"\n'
    return tiny.save_suite(folder, shards, tiny.save_tsv(glue, "rte", folder / "tsv"), extra=extra)


PLAIN = (
    "encoder weights",
    "encoder config",
    "tokenizer",
    "train",
    "dev",
    "predecessor weights",
    "predecessor manifest",
)
OTHER = (
    "encoder weights",
    "tokenizer",
    "train",
    "dev",
    "predecessor weights",
    "own encoder",
    "given weights",
    "given config",
)
INPUTS = [(plain, name) for name in PLAIN] + [pytest.param(other, name, marks=pytest.mark.slow) for name in OTHER]
SWAPPED = pytest.mark.parametrize(("kind", "name"), INPUTS)


def halved(path: Path) -> None:
    save_file({name: value / 2 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})


def replaced(old: str, new: str) -> Change:
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
def swapped(path: Path, change: Change) -> Iterator[None]:
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
def labs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], Path]], Lab]:
    return cache(lambda kind: Lab(kind(tmp_path_factory.mktemp("inputs"))))


@pytest.fixture
def lab(labs: Callable[[Callable[[Path], Path]], Lab]) -> Lab:
    return labs(plain)


REASONS = ("changed after this run was planned", "not those", "holds another run")


@SWAPPED
def test_an_input_that_is_swapped_before_it_is_read_ends_the_run(labs, kind, name) -> None:
    lab = labs(kind)
    arm, path, change = lab.files()[name]
    expected = lab.expected(arm)
    shutil.rmtree(lab.results / "cache", ignore_errors=True)
    with swapped(path, change):
        said = lab.refused(arm)
    assert any(words in said for words in REASONS), said
    assert str(path.parent.parent) not in said
    assert lab.again(arm) == expected  # and nothing of the other input was kept


@pytest.mark.slow
@SWAPPED
def test_an_input_that_is_other_only_while_it_is_read_ends_the_run(labs, kind, name, monkeypatch) -> None:
    lab = labs(kind)
    arm, path, change = lab.files()[name]
    expected, read = lab.expected(arm), executing.private

    def changed(run: Run, store: Store) -> Run:
        with swapped(path, change):
            return read(run, store)

    monkeypatch.setattr(executing, "private", changed)
    shutil.rmtree(lab.results / "cache", ignore_errors=True)
    lab.refused(arm)
    monkeypatch.undo()
    assert lab.again(arm) == expected


@pytest.mark.slow
@SWAPPED
def test_an_input_that_is_swapped_after_it_was_read_changes_nothing(labs, kind, name, monkeypatch) -> None:
    lab = labs(kind)
    arm, path, change = lab.files()[name]
    expected, read = lab.expected(arm), executing.private
    kept = path.with_name(f"{path.name}.kept")

    def then_other(run: Run, store: Store) -> Run:
        made = read(run, store)
        shutil.copy2(path, kept)
        change(path)
        return made

    monkeypatch.setattr(executing, "private", then_other)
    try:
        assert lab.trained(arm) == expected
    finally:
        kept.replace(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RTE/train.tsv", "RTE/dev.tsv"])
def test_what_was_converted_at_the_plan_is_what_is_read(labs, name) -> None:
    """The user's own file may change after the plan: the next plan converts it, and gives other ids."""
    lab = labs(other)
    expected = lab.expected()
    with swapped(Path(str(lab.of("kd").source.given)) / name, replaced("w1 ", "w2 ")):
        assert lab.trained() == expected
        again = make_plan(load_suite(lab.suite, ["seeds=[1]"]))
    assert not {run.id for run in again.runs} & {run.id for run in lab.plan.runs}


CACHED = pytest.mark.parametrize("kind", ["tokens", "outputs"])


def cached(lab: Lab, kind: str) -> Path:
    """The largest file of a cache."""
    return max((lab.results / "cache").glob(f"{kind}-*/*.bin"), key=lambda path: path.stat().st_size)


def overwritten(path: Path) -> None:
    """Other values of the same kind, with which a run would go on: those of other rows."""
    content = path.read_bytes()
    with path.open("r+b") as opened:
        opened.write(content[80:120])


@CACHED
def test_a_cache_that_is_changed_between_two_runs_of_a_process_is_made_again(lab: Lab, kind: str) -> None:
    assert lab.again() == lab.expected()  # this process has verified the cache
    with cached(lab, kind).open("r+b") as opened:
        opened.write(b"\x05" * 64)
    assert lab.again() == lab.expected()


@CACHED
@pytest.mark.parametrize("back", [False, True])
def test_a_cache_that_is_written_to_while_it_is_read_ends_the_run(
    lab: Lab, kind: str, back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first values are there again at its end."""
    expected, train = lab.expected(), executing.train

    def meanwhile(*arguments: object) -> object:
        path = cached(lab, kind)
        content = path.read_bytes()
        overwritten(path)
        try:
            return train(*arguments)  # type: ignore[arg-type]
        finally:
            if back:
                with path.open("r+b") as opened:
                    opened.write(content)

    monkeypatch.setattr(executing, "train", meanwhile)
    assert "was changed while the run read it" in lab.refused()
    monkeypatch.undo()
    assert lab.again() == expected
    assert tensor_cache.changed() is None


def test_a_file_that_no_run_reads_changes_no_id(lab: Lab) -> None:
    encoder = Path(lab.of("kd").encoder.location)
    (encoder / "notes.txt").write_text("tuned on Tuesday", encoding="utf-8")
    (encoder / "modules.json").write_text("[]", encoding="utf-8")
    assert [run.id for run in make_plan(load_suite(lab.suite, ["seeds=[1]"])).runs] == [run.id for run in lab.plan.runs]
