"""`[tasks.NAME]`: tables of a user's own data beside names of built-in tasks, in one file and over several."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.base.errors import SuiteError
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.settings import OwnData
from tests import tiny
from tests.command import refused

OWN = '[tasks.mine]\ntrain = "mine.csv"\ncolumns = ["text"]\n'


def write(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return str(folder / f"{name}.toml")


@pytest.fixture
def base(tmp_path: Path) -> str:
    """A suite whose tasks are tables: one of the user's own, and a built-in one."""
    path = tiny.save_suite(tmp_path, tmp_path / "encoder", tmp_path / "glue")
    text = path.read_text(encoding="utf-8").replace('tasks = ["rte"]\n', "")
    return write(tmp_path, "tiny", f"{text}\n{OWN}[tasks.rte]\n")


def test_tables_are_a_list_of_names_and_the_data_of_each(base: str, tmp_path: Path) -> None:
    suite = load_suite(base)
    assert suite.tasks == ["mine", "rte"]
    assert suite.own("mine") == OwnData(train=str(tmp_path / "mine.csv"), columns=["text"])
    assert suite.own("rte") is None
    assert (suite.resolve("mine", "kd").max_length, suite.resolve("rte", "kd").max_length) == (128, 128)
    assert load_suite(base, ["tasks.mine.max_length=32"]).resolve("mine", "kd").max_length == 32
    assert load_suite(base, ["task.mine.max_length=64"]).resolve("mine", "kd").max_length == 64


def test_a_list_of_names_and_a_choice_on_the_command_line_still_work(base: str, tmp_path: Path) -> None:
    assert load_suite(base, ['tasks=["mine"]']).tasks == ["mine"]
    changed = load_suite(base, ["tasks.mine.train=other.csv"]).own("mine")
    assert changed == OwnData(train=str(tmp_path / "other.csv"), columns=["text"])
    elsewhere = load_suite(base, ["tasks.mine.train=/data/other.csv"]).own("mine")
    assert elsewhere == OwnData(train="/data/other.csv", columns=["text"])
    assert load_suite(base, ["task.mine.training.epochs=2"]).resolve("mine", "kd").training.epochs == 2


def test_a_child_takes_its_parents_data_relative_to_the_parents_file(base: str, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", "tiny", Path(base).read_text(encoding="utf-8").replace("mine.csv", "../mine.csv"))
    child = load_suite(write(tmp_path / "below", "child", 'extends = "tiny"\nname = "child"\ntasks = ["mine"]\n'))
    assert child.own("mine") == OwnData(train=str(tmp_path / "mine.csv"), columns=["text"])
    tables = '[tasks.mine]\ntitle = "Mine"\n[tasks.other]\ntrain = "a.tsv"\ncolumns = ["x"]\n'
    child = load_suite(write(tmp_path / "below", "more", f'extends = "tiny"\nname = "child"\n{tables}'))
    assert child.tasks == ["mine", "other"]
    assert child.own("mine") == OwnData(train=str(tmp_path / "mine.csv"), columns=["text"], title="Mine")


def test_a_table_of_a_child_replaces_a_list_of_its_parent(tmp_path: Path) -> None:
    tiny.save_suite(tmp_path, tmp_path / "encoder", tmp_path / "glue")
    child = load_suite(write(tmp_path, "child", f'extends = "tiny"\nname = "child"\n{OWN}'))
    assert child.tasks == ["mine"]
    assert not child.synthetic


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks.mine.colums=['text']", "tasks.mine: unknown key 'colums': did you mean 'columns'?"),
        ("tasks.mine.kind=spans", "unknown kind of task 'spans': there are: causal-lm, classification"),
        ("tasks.mine.columns=[]", "tasks.mine.columns"),
        ("tasks.mine.columns=['a', 'b', 'c']", "tasks.mine.columns"),
        ("tasks.mine.columns=['text', 'text']", "must be different columns"),
        ("tasks.mine.label=text", "must be different columns"),
        ("tasks.mine.columns=['idx']", "'idx' names another column of every task"),
        ("tasks.mine.labels=['a', 'a']", "a class is listed twice"),
        ("tasks.mine.labels=['a']", "tasks.mine.labels"),
        ("tasks.mine.scale=[5, 0]", "give the lowest score, then the highest"),
        ("tasks.mine.dataset=me/mine", "name either train, the path of a file, or dataset"),
        ("tasks.mine.revision='" + "a" * 40 + "'", "belong to a dataset on the hub"),
        ("tasks.mine={dataset='me/mine', columns=['text']}", "a dataset needs its revision"),
        ("tasks.mine={train='a.csv', dev='b.csv', group='x', columns=['text']}", "leave out one of them"),
        ("tasks.mine={train='a.csv', labels=['a', 'b'], scale=[0, 1], columns=['text']}", "for classification"),
        ("tasks.mine={train='a.csv', kind='regression', score='accuracy', columns=['text']}", "for classification"),
        ("tasks.mine={train='a.csv', score='f1_accuracy', labels=['a', 'b', 'c'], columns=['t']}", "for two classes"),
        ("tasks.mine.dev_share=0.9", "tasks.mine.dev_share"),
        ("tasks.rte={train='a.csv', columns=['text']}", "rte is a built-in task"),
        ("tasks.mine=3", "tasks.mine"),
        ("tasks.other.train=a.csv", "tasks.other.columns: Field required"),
        ("tasks={Mine={train='a.csv', columns=['text']}}", "small letters"),
        ("tasks={mine=3}", "write a table, [tasks.mine]"),
    ],
)
def test_what_is_wrong_is_named_as_the_file_writes_it(base: str, override: str, message: str) -> None:
    refused(base, message, override)


def test_an_unknown_task_is_refused_with_the_nearest_of_all(base: str) -> None:
    with pytest.raises(SuiteError, match=r"unknown task 'mines': did you mean 'mine'\?"):
        load_suite(base, ['tasks=["mines"]'])


def test_a_shipped_suite_may_be_given_ones_own_data(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "child", f'extends = "minilm"\nname = "child"\n{OWN}'))
    assert suite.tasks == ["mine"]
