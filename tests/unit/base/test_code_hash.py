"""A run's id changes when the code that computes its numbers changes, and at no other time."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import baselines
from benchmarks.base.code_hash import COMPUTES, ENTRANCES, code_hash, hash_of, reached
from benchmarks.base.definitions import unit_of
from benchmarks.base.errors import ROOT
from benchmarks.tasks import kinds
from benchmarks.tasks.kind import Summed
from tests.unit.base.code_copy import every_second, hashes

ALL = set(baselines.names())


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(tree: Path) -> None:
        text = (tree / file).read_text()
        assert old in text, f"{file} has changed: give this test another edit"
        (tree / file).write_text(text.replace(old, new))

    return edit


def rename_a_module(tree: Path) -> None:
    (tree / "benchmarks/training/randomness.py").rename(tree / "benchmarks/training/streams.py")
    for file in tree.rglob("*.py"):
        file.write_text(file.read_text().replace("benchmarks.training.randomness", "benchmarks.training.streams"))


def move_a_function(tree: Path) -> None:
    """`split_rows` leaves held_out for a module of its own."""
    file = tree / "benchmarks/training/held_out.py"
    text = file.read_text()
    node = next(node for node in ast.parse(text).body if getattr(node, "name", "") == "split_rows")
    lines = text.splitlines()
    own = slice(node.lineno - 1, node.end_lineno)
    moved = ["from __future__ import annotations", "import hashlib", "import torch", *lines[own]]
    (tree / "benchmarks/training/shares.py").write_text("\n".join(moved))
    kept = [line for i, line in enumerate(lines) if not own.start <= i < own.stop]
    at = next(i for i, line in enumerate(kept) if line.startswith("from benchmarks."))
    file.write_text("\n".join([*kept[:at], "from benchmarks.training.shares import split_rows", *kept[at:]]) + "\n")


def import_otherwise(tree: Path) -> None:
    """The same function under a module's name, and a library under another alias."""
    file = tree / "benchmarks/training/step.py"
    text = file.read_text().replace("from benchmarks.training.randomness import stream_seed",
                                    "from benchmarks.training import randomness as streams")  # fmt: skip
    file.write_text(text.replace("stream_seed(", "streams.stream_seed("))
    losses = tree / "baselines/parts/losses.py"
    losses.write_text(losses.read_text().replace("functional as F", "functional as fn").replace("F.", "fn."))


def drop_annotations(tree: Path) -> None:
    file = tree / "baselines/parts/losses.py"
    file.write_text(re.sub(r": torch\.Tensor|: float| -> torch\.Tensor", "", file.read_text()))


SAME = {
    "a comma in an error message that checks data": replace(
        "benchmarks/tasks/data.py", " is missing: add it,", " is missing: add it"
    ),
    "an error message where models are made": replace(
        "benchmarks/models/loading.py", "save the model anew", "save it anew"
    ),
    "an error message of the loop": replace(
        "benchmarks/training/loop.py", "loss or gradient is not finite between", "not finite between"
    ),
    "a note of a checkpoint": replace("benchmarks/runs/checkpoint.py", "was damaged and passed over", "was damaged"),
    "another number of kept checkpoints": replace("benchmarks/runs/checkpoint.py", "KEPT = 2", "KEPT = 3"),
    "how a file is synced": replace("results/format/files.py", "os.O_RDONLY", "os.O_RDONLY | 0"),
    "a docstring": replace("benchmarks/training/dropout.py", "Begin the stream of", "Start the stream of"),
    "a comment": replace("benchmarks/training/dropout.py", "# 0 or 1, in place", "# in place"),
    "a progress message": replace("benchmarks/engine/schedule.py", "STOPPING = ", "STOPPING = 'x' + "),
    "a new key of [training]": replace(
        "benchmarks/training/settings.py", "class Training(Config):", "class Training(Config):\n    new: int = 1\n"
    ),
    "the defaults of calibration": replace("benchmarks/preflight/calibration.py", "ROUNDS = 2", "ROUNDS = 3"),
    "a new task": replace("benchmarks/tasks/table.py", "TASKS = {", "NEW = Task\nTASKS = {"),
    "a renamed module": rename_a_module,
    "a moved function": move_a_function,
    "another way to import": import_otherwise,
    "annotations": drop_annotations,
}


@pytest.mark.parametrize("edit", every_second(SAME))
def test_what_cannot_change_a_number_leaves_every_id_as_it_is(tree, edit):
    before = {file: file.read_text() for file in tree.rglob("*.py")}
    SAME[edit](tree)
    assert {file: file.read_text() for file in tree.rglob("*.py")} != before
    assert hashes(tree) == {name: code_hash(name, "classification") for name in ALL}


def test_a_module_that_is_not_a_package_has_no_modules_in_it(tree):
    """A class's own name `gates` was taken for the package beside its module, until that module was loaded."""
    (tree / "theseus" / "share").mkdir()
    (tree / "theseus" / "share" / "__init__.py").write_text("")
    own = "    share = property(float)\n\n    @share.getter\n    def share(self): ...\n\n"
    replace("theseus/replacing.py", "    @gates.setter", f"{own}    @gates.setter")(tree)
    late = hashes(tree)
    first = "from __future__ import annotations\n"
    replace("baselines/__init__.py", first, f"{first}import theseus.replacing\n")(tree)
    early = hashes(tree)
    assert (early["kd"], early["theseus"]) == (late["kd"], late["theseus"])


def swap(file: str, first: str, second: str) -> Callable[[Path], None]:
    """Two pieces of text change places."""

    def edit(tree: Path) -> None:
        text = (tree / file).read_text()
        assert first in text
        assert second in text
        (tree / file).write_text(text.replace(first, "\0").replace(second, first).replace("\0", second))

    return edit


OTHER = {
    "the options that a run builds its method with": (
        replace("benchmarks/plans/run.py", "(**self.options)", "()"),
        ALL,
    ),
    "which method a name is": (replace("baselines/__init__.py", '{name}").METHOD', 'kd").METHOD'), ALL),
    "which weights are handed on": (
        replace("benchmarks/runs/execute.py", "(evaluations.weights or successor).save", "successor.save"),
        ALL,
    ),
    "the settings of a worker's device": (
        replace("benchmarks/machine/workers.py", "    devices.apply(device)", "    pass"),
        ALL,
    ),
    "which checkpoint is which": (
        replace(
            "results/format/documents/suite.py", 'PROTOCOLS = ("last", "selected"', 'PROTOCOLS = ("selected", "last"'
        ),
        ALL,
    ),
    "the order of read data": (
        replace(
            "benchmarks/tasks/data.py", "= read_split(source, split)", "= read_split(source, split).shuffle(seed=1)"
        ),
        ALL,
    ),
    "what a package does when it is imported": (
        replace(
            "baselines/__init__.py",
            "import pkgutil",
            "import pkgutil\nimport sys\n\nsys.setrecursionlimit(999)",
        ),
        ALL,
    ),
    "the outputs that a cache keeps": (
        replace(
            "benchmarks/runs/predecessor_outputs.py",
            "predecessor_outputs(predecessor(), tokens",
            "predecessor_outputs(predecessor().half(), tokens",
        ),
        ALL,
    ),
    "which metric computes what": (
        swap(
            "benchmarks/tasks/metrics.py",
            'return {"accuracy": float(sklearn_metrics.accuracy_score(references, predictions))}',
            'return {"f1": float(f1), "accuracy": float(sklearn_metrics.accuracy_score(references, predictions))}',
        ),
        ALL,
    ),
    "the score that result.json reports": (
        replace("benchmarks/training/protocols.py", "score=self.scored.score,", "score=self.scored.score / 2,"),
        ALL,
    ),
    "how many examples are trained on": (
        replace(
            "benchmarks/training/held_out.py", "return task.train_rows - round(", "return task.train_rows - 2 * round("
        ),
        ALL,
    ),
    "the seed that a run passes on": (
        replace("benchmarks/runs/execute.py", "given_for(run.seed,", "given_for(run.seed + 1,"),
        ALL,
    ),
    "the seed of a fit": (
        replace("benchmarks/runs/execute.py", "run.training, run.seed, run.device)", "run.training, 0, run.device)"),
        ALL,
    ),
    "a leak of the held-out share": (
        replace(
            "benchmarks/runs/execute.py",
            "fit_of(run, given, tokens, outputs)",
            "fit_of(run, given, splits[TRAIN], outputs)",
        ),
        ALL,
    ),
    "the order in which data is read": (
        replace("benchmarks/tasks/data.py", 'f"{split}.parquet"))', 'f"{split}.parquet").sort_by("idx"))'),
        ALL,
    ),
    "how kept tokens are padded": (
        replace("benchmarks/runs/tokens.py", 'pad_id=int(arrays[f"{split}-pad_id"])', "pad_id=0"),
        ALL,
    ),
    "which rate ends where": (
        swap(
            "theseus/rates.py",
            "return self.p if step < self.steps else 1.0",
            "return 1.0 if value >= 1.0 - SNAP else value",
        ),
        {"theseus"},
    ),
    "the getter of a property with a setter": (
        replace(
            "theseus/replacing.py",
            "def gates(self) -> list[bool]:",
            "def gates(self) -> list[bool]:\n        return []",
        ),
        {"theseus"},
    ),
    "the levels of a dropout mask": (
        replace("benchmarks/training/dropout.py", "_LEVELS = 2**16", "_LEVELS = 2**15"),
        ALL,
    ),
    "the optimizer's epsilon": (replace("benchmarks/training/step.py", "eps=training.adam_epsilon", "eps=1e-6"), ALL),
    "the order of an epoch": (
        replace(
            "benchmarks/training/randomness.py",
            "return torch.randperm(examples, generator=generator)",
            "return torch.randperm(examples, generator=generator).flip(0)",
        ),
        ALL,
    ),
    "the price of a length group": (replace("benchmarks/training/cuts.py", "PRICE = 8", "PRICE = 9"), ALL),
    "the learning rate's schedule": (
        replace("benchmarks/training/schedule.py", "return peak * step / warmup", "return peak * (step + 1) / warmup"),
        ALL,
    ),
    "the share that is held out": (
        replace("benchmarks/training/held_out.py", 'f"held out/{examples}"', 'f"held/{examples}"'),
        ALL,
    ),
    "a metric": (replace("benchmarks/tasks/metrics.py", "zero_division=0.0", "zero_division=1.0"), ALL),
    "which weights are decayed": (
        replace("benchmarks/training/step.py", "parameter.ndim > 1", "parameter.ndim > 0"),
        ALL,
    ),
    "how a task is read": (
        replace("benchmarks/tasks/table.py", "and not self.labels", "and len(self.labels) < 2"),
        ALL,
    ),
    "the head of a fresh model": (
        replace("benchmarks/models/loading.py", "torch.manual_seed(head_seed)", "torch.manual_seed(head_seed + 1)"),
        ALL,
    ),
    "determinism": (
        replace("benchmarks/machine/device.py", "torch.use_deterministic_algorithms(settings.deterministic)", "pass"),
        ALL,
    ),
    "the task's loss": (
        replace(
            "baselines/parts/losses.py",
            "return F.cross_entropy(full_precision(logits), labels)",
            "return 2 * F.cross_entropy(full_precision(logits), labels)",
        ),
        ALL,
    ),
    "the soft loss": (
        replace("baselines/parts/losses.py", "* temperature**2", "* temperature"),
        ALL,  # it belongs to a kind of task, of which every run's batches know both losses
    ),
    "the patient loss": (
        replace("baselines/parts/losses.py", "F.normalize(full_precision(states), dim=-1)", "full_precision(states)"),
        {"pkd"},
    ),
    "which layers a student follows": (
        replace("baselines/pkd.py", "j * teacher // student", "1 + j * teacher // student"),
        {"pkd"},
    ),
    "which layers are dropped": (
        replace("baselines/layerdrop.py", "draws < self.rate", "draws <= self.rate"),
        {"layerdrop"},
    ),
    "how modules are drawn": (replace("theseus/replacing.py", "torch.rand(", "torch.randn("), {"theseus"}),
    "a replacing rate": (
        replace("theseus/rates.py", "self.base + self.k * step", "self.base + self.k * (step + 1)"),
        {"theseus"},
    ),
    "what a shallow model starts as": (
        replace("baselines/parts/start.py", "part in self.trains", "part in self.trains or True"),
        {"finetune", "kd", "pkd"},
    ),
}


@pytest.mark.parametrize("edit", every_second(OTHER))
def test_what_can_change_a_number_changes_the_ids_of_the_methods_it_reaches(tree, edit):
    change, methods = OTHER[edit]
    change(tree)
    now = hashes(tree)
    assert {name for name in ALL if now[name] != code_hash(name, "classification")} == methods


def test_two_functions_of_one_name_are_told_apart_by_who_calls_them(tree):
    """Both texts stay; only the caller takes the other one."""
    for name, value in (("one", 1), ("two", 2)):
        (tree / f"theseus/{name}.py").write_text(f"def value():\n    return {value}\n")
    step = tree / "benchmarks/training/step.py"
    own = step.read_text()
    found = []
    for name in ("one", "two"):
        other = "two" if name == "one" else "one"
        head = f"from theseus.{name} import value\nfrom theseus import {other}\n\nclass Stepper:\n"
        step.write_text(own.replace("class Stepper:\n", f"{head}    rates = value(), {other}.value\n"))
        found.append(hashes(tree))
    assert all(found[0][name] != found[1][name] for name in ALL)


def imported_from_what_computes(file: Path) -> set[str]:
    """ "module:name" of each definition in a room that computes which a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(COMPUTES):
            found |= {f"{node.module}:{alias.name}" for alias in node.names}
    return found


def test_all_that_a_run_computes_with_is_part_of_its_id():
    """A run's worker calls nothing that computes and does not count."""
    files = [*(ROOT / "benchmarks/runs").glob("*.py"), ROOT / "benchmarks/machine/workers.py"]
    counted = set().union(*(reached(*ENTRANCES, f"baselines.{name}") for name in ALL))
    used = {name for name in set().union(*map(imported_from_what_computes, files)) if ".settings:" not in name}
    assert used <= counted


def test_code_that_counts_uses_nothing_elsewhere_but_what_is_known_to_move_no_number():
    """Stops, caches (held to the values that they keep), the names of files and records, and what config.json has."""
    counted = reached(*ENTRANCES, *(f"baselines.{name}" for name in ALL))
    found = set()
    for key in counted:
        module, _, own = key.partition(":")
        found |= {f"{used}:{name}" for used, name in unit_of(module, own).uses if f"{used}:{name}" not in counted}
    known = {  # stops, caches, checks, errors, what is written, and the state of a run under way
        "base.code_hash", "base.errors", "base.identity", "base.stop", "machine.workers", "models.source",
        "runs.checkpoint", "runs.execute", "runs.predecessor_outputs", "runs.tensor_cache", "tasks.data", "tasks.table",
    }  # fmt: skip
    modules = {use.partition(":")[0] for use in found}
    assert {module for module in modules if not module.startswith("results.format.")} <= {
        f"benchmarks.{m}" for m in known
    }
    kept = {use for use in found if use.startswith(("benchmarks.runs", "benchmarks.tasks.data", "benchmarks.machine"))}
    assert {use.rpartition(":")[2] for use in kept} <= {
        "RunSaver", "Computed", "cache_key", "weights_hash", "_disagreement", "stored", "TRAIN", "_check", "_generate",
        "to_finish", "_follow_parent", "Store", "place_of",
    }  # fmt: skip


@pytest.mark.parametrize("kind", kinds.names())
def test_what_a_kind_of_task_computes_with_is_part_of_its_runs_ids(kind):
    """What a kind uses without counting it checks or converts a user's rows, whose content is in the id by itself, or
    only names what is stored. The formula of a score from sums is none of these."""
    counted = reached(*ENTRANCES, kinds.module_of(kind))
    found = set()
    for key in counted:
        module, _, own = key.partition(":")
        if module.startswith("benchmarks.tasks."):
            found |= {f"{used}:{name}" for used, name in unit_of(module, own).uses if f"{used}:{name}" not in counted}
    known = ("benchmarks.base.", "benchmarks.tasks.own.", "benchmarks.tasks.settings", "benchmarks.tasks.table",
             "benchmarks.tasks.data", "results.format.documents.", "results.format.layout", "results.format.limits",
             "results.format.untrusted", "results.format.errors", "benchmarks.demo")  # fmt: skip
    assert {use for use in found if not use.startswith(known)} == set()
    if isinstance(kinds.find(kind), Summed):
        assert {"results.format.scores:Sums", "results.format.scores:score"} <= counted


@pytest.mark.parametrize("root", ["benchmarks.nowhere", "benchmarks.training.loop:nothing"])
def test_a_root_that_does_not_exist_is_refused(root):
    with pytest.raises(ValueError, match=r"nowhere|nothing"):
        hash_of(root)
