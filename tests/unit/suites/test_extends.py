"""Suites that extend others: what a child takes, what it replaces, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.base.errors import SuiteError
from benchmarks.suites.suite import load_suite
from tests import tiny
from tests.command import refused


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tiny.save_suite(tmp_path, tmp_path / "encoder", tmp_path / "glue", tasks='["rte", "cola"]'))


def write(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return str(folder / f"{name}.toml")


PARENT_EXTRA = """
[task.rte]
max_length = 32
training = { epochs = 7 }
options.kd = { alpha = 0.5 }
options.theseus = { rate = { kind = "linear", base = 0.1, reach = 0.5 } }
"""


def parent(folder: Path) -> None:
    path = tiny.save_suite(folder, folder / "encoder", folder / "glue", tasks='["rte", "cola"]', extra=PARENT_EXTRA)
    text = path.read_text(encoding="utf-8")
    path.write_text('steps = ["finetune", "theseus"]\n' + text, encoding="utf-8")


def test_a_suite_takes_every_key_it_does_not_set_from_its_parent(tmp_path: Path) -> None:
    parent(tmp_path)
    child = load_suite(write(tmp_path, "child", 'extends = "tiny"\nname = "child"\n[training]\nbatch_size = 8\n'))
    base = load_suite(str(tmp_path / "tiny.toml"))
    assert child.name == "child"
    assert child.training == base.training.model_copy(update={"batch_size": 8})
    assert (child.arms, child.tasks, child.steps, child.encoder, child.task) == (
        base.arms, base.tasks, base.steps, base.encoder, base.task
    )  # fmt: skip


def test_arms_and_comparison_are_replaced_as_a_whole_and_the_bases_options_dropped(tmp_path: Path) -> None:
    parent(tmp_path)
    arms = '[arms.theseus]\npreset = "theseus-code"\n[arms.own]\nmethod = "kd"\ntitle = "x"\n'
    text = f'extends = "tiny"\nname = "child"\n{arms}'
    child = load_suite(write(tmp_path, "child", text))
    assert list(child.arms) == ["theseus", "own"]
    assert child.arms["theseus"].build().clip == "all"
    assert child.steps == []  # they name arms of the parent
    assert child.task["rte"].options == {}  # for arms of the parent, even those of the same name
    assert child.task["rte"].training == {"epochs": 7}
    assert child.task["rte"].max_length == 32
    assert child.resolve("rte", "theseus").method.rate.base == 0.3


def test_a_child_may_name_options_of_its_own_arms(tmp_path: Path) -> None:
    parent(tmp_path)
    text = (
        'extends = "tiny"\nname = "child"\nsteps = ["own"]\n[arms.own]\nmethod = "kd"\ntitle = "x"\n'
        "[task.rte]\noptions.own = { alpha = 0.125 }\n"
    )
    child = load_suite(write(tmp_path, "child", text))
    assert child.resolve("rte", "own").method.alpha == 0.125
    assert child.resolve("cola", "own").method.alpha == 0.7
    assert child.steps == ["own"]
    broken = text.replace("options.own", "options.kd")
    refused(write(tmp_path, "broken", broken), "no arm 'kd'")


def test_a_grandchild_extends_what_its_parent_made(tmp_path: Path) -> None:
    parent(tmp_path)
    write(tmp_path, "child", 'extends = "tiny"\nname = "child"\nseeds = [5]\n')
    grandchild = load_suite(
        write(tmp_path, "grandchild", 'extends = "child"\nname = "grandchild"\nprotocol = "selected"\n')
    )
    assert (grandchild.name, grandchild.seeds, grandchild.protocol) == ("grandchild", [5], "selected")
    assert set(grandchild.arms) == {"finetune", "kd", "pkd", "theseus"}


def test_a_suite_may_extend_a_shipped_one(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "mine", 'extends = "minilm"\nname = "mine"\nseeds = [9]\n'))
    assert (suite.seeds, suite.encoder.layers, suite.encoder.hidden_size) == ([9], 6, 384)


def test_a_parent_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"no suite 'minilmm': did you mean 'minilm'\?"):
        load_suite(write(tmp_path, "child", 'extends = "minilmm"\n'))
    with pytest.raises(SuiteError, match="name one suite"):
        load_suite(write(tmp_path, "child", 'extends = ["minilm", "paper"]\n'))


@pytest.mark.parametrize("other", ["child", "second"])
def test_suites_that_extend_each_other_are_refused(tmp_path: Path, other: str) -> None:
    write(tmp_path, "second", 'extends = "child"\n')
    with pytest.raises(SuiteError):
        load_suite(write(tmp_path, "child", f'extends = "{other}"\n'))


def test_an_overridden_section_that_is_no_section_is_refused(tmp_path: Path) -> None:
    parent(tmp_path)
    text = 'extends = "tiny"\nname = "child"\ntask = 3\n[arms.own]\nmethod = "kd"\ntitle = "x"\n'
    refused(write(tmp_path, "child", text), "task")
