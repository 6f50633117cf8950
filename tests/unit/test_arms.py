"""Arms of a suite: presets, trials of a search, budgets, suites that extend others, and what is held out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines import find
from benchmarks.arms import Arm, presets
from benchmarks.batches import Tokens
from benchmarks.encoder import EncoderSource
from benchmarks.errors import SuiteError
from benchmarks.held_out import split, split_rows, training_examples
from benchmarks.metrics import best_constant, score
from benchmarks.plan import make_plan
from benchmarks.provenance import check_trainable
from benchmarks.settings import Training
from benchmarks.store import Store
from benchmarks.suite import load_suite
from benchmarks.tasks import AT_CHANCE, find_task
from tests import tiny

PRESETS = (
    "theseus-paper", "theseus-code", "theseus-readme", "theseus-constant", "theseus-anti", "theseus-curriculum",
    "theseus-blend", "theseus-two-stage", "pkd-skip", "pkd-last", "finetune-from-predecessor", "finetune-frozen",
    "kd-from-predecessor", "pkd-from-predecessor",
)  # fmt: skip


def arm(**keys: object) -> Arm:
    return Arm.model_validate({"title": "An arm", **keys})


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tiny.save_suite(tmp_path, tmp_path / "encoder", tmp_path / "glue", tasks='["rte", "cola"]'))


def refused(path: str, message: str, *overrides: str) -> None:
    """One line that names the file and holds `message`."""
    with pytest.raises(SuiteError, match=re.escape(message)) as caught:
        load_suite(path, overrides)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(Path(path).name)


# presets


def test_the_presets_are_these() -> None:
    assert set(presets()) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_an_arm_that_can_be_built_and_trained(name: str) -> None:
    made = Arm.model_validate({"preset": name})
    assert made.title
    method = made.build()
    assert type(method) is find(made.method)
    method.check(12, 6)
    assert method.depth(12, 6) == 6
    Training.model_validate(made.training)


def test_the_readings_of_the_paper_differ_where_it_and_its_code_do() -> None:
    paper, code, readme = (Arm.model_validate({"preset": f"theseus-{name}"}) for name in ("paper", "code", "readme"))
    of_paper, of_code, of_readme = paper.build(), code.build(), readme.build()
    assert (of_paper.init.source, of_code.init.source, of_readme.init.source) == (
        "pretrained", "predecessor", "predecessor"
    )  # fmt: skip
    assert (of_paper.clip, of_paper.undrawn, of_paper.draw) == ("trainable", "skipped", "step")
    for method in (of_code, of_readme):
        assert (method.clip, method.undrawn, method.draw) == ("all", "momentum", "forward")
    assert paper.training["schedule"] == "constant"
    assert code.training["schedule"] == readme.training["schedule"] == "linear"
    assert of_paper.rate.rate(2000).full_from() == of_code.rate.rate(2000).full_from() == 1000
    assert of_readme.rate.rate(1725).full_from() == 1167  # (1 - 0.3) / 0.0006, rounded up: the paper notes' own count


def test_an_unknown_preset_names_the_nearest(path: str) -> None:
    refused(path, "unknown preset 'theseus-cod': did you mean 'theseus-code'?", "arms.kd={preset='theseus-cod'}")


def test_what_an_arm_says_itself_goes_over_its_preset() -> None:
    made = arm(
        preset="theseus-code",
        published="Another row",
        options={"clip": "trainable", "rate": {"reach": 5000}, "replace": [1]},
        training={"warmup": 0.1, "epochs": 2},
    )
    assert (made.method, made.title, made.published) == ("theseus", "An arm", "Another row")
    assert made.training == {"schedule": "linear", "warmup": 0.1, "weight_decay": 0.0, "epochs": 2}
    method = made.build()
    assert (method.clip, method.undrawn, method.draw, method.replace) == ("trainable", "momentum", "forward", [1])
    assert (method.rate.kind, method.rate.base, method.rate.reach) == ("linear", 0.3, 5000)  # section by section
    assert presets()["theseus-code"]["options"]["clip"] == "all"  # and the preset stays as it was
    assert presets()["theseus-code"]["options"]["rate"]["reach"] == 1000


def test_a_preset_can_be_overridden_from_the_command_line(path: str) -> None:
    suite = load_suite(path, ["arms.kd={preset='kd-from-predecessor'}", "arms.kd.options.alpha=0.25"])
    method = suite.arms["kd"].build()
    assert (method.alpha, method.temperature, method.start.source) == (0.25, 10.0, "predecessor")


# trials


def test_the_trials_of_a_grid_are_its_product_the_last_key_fastest() -> None:
    made = arm(
        method="theseus",
        grid={"training.learning_rate": [1e-5, 2e-5], "options.rate.base": [0.1, 0.3], "options.rate.reach": [10, 20]},
    )
    shown = [tuple(trial.values()) for trial in made.trials()]
    assert shown == [
        (1e-5, 0.1, 10), (1e-5, 0.1, 20), (1e-5, 0.3, 10), (1e-5, 0.3, 20),
        (2e-5, 0.1, 10), (2e-5, 0.1, 20), (2e-5, 0.3, 10), (2e-5, 0.3, 20),
    ]  # fmt: skip
    assert all(list(trial) == list(made.grid) for trial in made.trials())


def test_a_trial_is_the_arm_with_its_values_in_place() -> None:
    made = arm(
        method="theseus",
        options={"rate": {"kind": "linear", "base": 0.3, "reach": 100}, "clip": "all"},
        training={"epochs": 2},
        grid={"options.rate.base": [0.1, 0.2], "training.learning_rate": [1e-3, 1e-4]},
    )
    resolved = [made.at_trial(number) for number in range(4)]
    assert [(one.build().rate.base, one.training["learning_rate"]) for one in resolved] == [
        (0.1, 1e-3), (0.1, 1e-4), (0.2, 1e-3), (0.2, 1e-4)
    ]  # fmt: skip
    for one in resolved:
        assert one.grid == {}
        assert one.trials() == [{}]
        assert (one.build().rate.reach, one.build().clip, one.training["epochs"]) == (100, "all", 2)
    assert made.options["rate"]["base"] == 0.3  # the arm itself is not changed by looking
    assert made.training == {"epochs": 2}


def test_an_arm_without_a_grid_has_one_trial() -> None:
    made = arm(method="finetune")
    assert made.trials() == [{}]
    assert made.at_trial(0) == made


def test_a_grid_may_name_sections_the_arm_has_not() -> None:
    made = arm(method="finetune", grid={"options.start.layers": ["bottom", "top"]})
    assert [made.at_trial(number).build().start.layers for number in range(2)] == ["bottom", "top"]


def test_every_trial_is_a_run_of_its_own(tmp_path: Path) -> None:
    """Trial by trial and seed by seed, each under its own id and with its own settings."""
    suite = tiny.save_suite(tmp_path, tiny.save_encoder(tmp_path / "encoder"), tiny.save_glue(tmp_path / "glue", "rte"))
    grid = '{"training.learning_rate"=[1e-3, 2e-3], "options.start.layers"=["bottom", "top"]}'
    plan = make_plan(load_suite(str(suite), [f"arms.finetune.grid={grid}", "unequal_budget=true"]))
    runs = [run for run in plan.runs if run.arm == "finetune"]
    assert [(run.trial, run.seed) for run in runs] == [(t, s) for t in range(4) for s in (1, 2)]
    assert [(run.training.learning_rate, run.options["start"]["layers"]) for run in runs if run.seed == 1] == [
        (1e-3, "bottom"), (1e-3, "top"), (2e-3, "bottom"), (2e-3, "top")
    ]  # fmt: skip
    assert len({run.id for run in plan.runs}) == len(plan.runs) == 1 + 2 * (4 + 3)
    described = next(one for one in suite_json(plan, tmp_path)["arms"] if one["name"] == "finetune")
    assert described["trials"][3] == {"training.learning_rate": 2e-3, "options.start.layers": "top"}


def suite_json(plan: object, folder: Path) -> dict[str, list[dict[str, object]]]:
    Store(folder).write_suite(plan)
    return json.loads((folder / "suite.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ('{"options.alpha"=[0.5, 2]}', "less than or equal to 1 (given: 2) (grid {'options.alpha': 2})"),
        ('{"options.alhpa"=[0.5]}', "did you mean 'alpha'? (grid {'options.alhpa': 0.5})"),
        ('{"training.learning_rate"=[1e-3, 0]}', "(grid {'training.learning_rate': 0})"),
        ('{"training.epoch"=[1]}', "did you mean 'epochs'? (grid {'training.epoch': 1})"),
        ('{"training.epochs"=[1], "options.temperature"=[1.0, 0.0]}', "'options.temperature': 0.0})"),
        ('{"alpha"=[0.5]}', "grid key 'alpha': write options.… or training.…"),
        ('{"options"=[1]}', "grid key 'options': write options.… or training.…"),
        ('{"options.alpha"=[]}', "arms.kd.grid.options.alpha: List should have at least 1 item"),
    ],
)
def test_a_grid_with_a_value_that_does_not_fit_is_refused(path: str, grid: str, message: str) -> None:
    refused(path, message, "unequal_budget=true", f"arms.kd.grid={grid}")


@pytest.mark.parametrize(
    ("section", "grid"),
    [
        ("options={alpha=0.5}", '{"options.alpha.x"=[0.1]}'),
        ("training={learning_rate=1e-3}", '{"training.learning_rate.x"=[0.1]}'),
    ],
)
def test_a_grid_key_below_a_plain_value_is_refused(path: str, section: str, grid: str) -> None:
    refused(path, "grid", "unequal_budget=true", f"arms.kd={{method='kd', title='KD', {section}, grid={grid}}}")


def test_a_value_twice_in_a_grid_is_refused(path: str) -> None:
    """It would be two trials with one id, and so one result that counts as two."""
    refused(path, "grid", "unequal_budget=true", 'arms.kd.grid={"options.alpha"=[0.5, 0.5]}')


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"method": "pretrained"}, "needs an encoder"),
        ({"method": "kd", "encoder": {"name": "x", "layers": 2, "hidden_size": 32}}, "takes the suite's encoder"),
        (
            {"method": "finetune", "intermediate": {"task": "rte"}, "grid": {"training.epochs": [1]}},
            "cannot have a grid",
        ),
        ({"method": "finetune", "trainable_parameters": 0}, "greater than or equal to 1"),
        ({"method": "finetune", "layer": 3}, "did you mean 'layers'"),
    ],
)
def test_arms_that_cannot_be_are_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arm(**keys)


@pytest.mark.parametrize("method", ["finetune", "kd", "pkd", "layerdrop"])
@pytest.mark.parametrize("layers", [4, 7])
def test_a_successor_that_is_not_shallower_than_the_encoder_is_refused(
    tmp_path: Path, method: str, layers: int
) -> None:
    """Theseus's arms are; for the others it would show after the predecessor's hours, or never."""
    suite = tiny.save_suite(tmp_path, tiny.save_encoder(tmp_path / "encoder"), tiny.save_glue(tmp_path / "glue", "rte"))
    with pytest.raises(SuiteError, match="layers"):
        make_plan(load_suite(str(suite), [f"arms.deep={{method='{method}', title='x', layers={layers}}}"]))


# budgets


def test_unequal_numbers_of_trials_are_refused_unless_the_suite_says_so(path: str) -> None:
    grid = 'arms.kd.grid={"options.alpha"=[0.1, 0.2]}'
    refused(path, "unequal numbers of trials (finetune 1, kd 2, pkd 1, theseus 1)", grid)
    assert load_suite(path, [grid, "unequal_budget=true"]).unequal_budget
    everywhere = [f'arms.{name}.grid={{"training.learning_rate"=[1e-3, 1e-4]}}' for name in ("finetune", "pkd")]
    suite = load_suite(path, [grid, *everywhere, 'arms.theseus.grid={"options.clip"=["all", "trainable"]}'])
    assert {len(one.trials()) for one in suite.arms.values()} == {2}
    assert not suite.unequal_budget


# suites that extend others


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
    assert child.arm_for("rte", "theseus").build().rate.base == 0.3


def test_a_child_may_name_options_of_its_own_arms(tmp_path: Path) -> None:
    parent(tmp_path)
    text = (
        'extends = "tiny"\nname = "child"\nsteps = ["own"]\n[arms.own]\nmethod = "kd"\ntitle = "x"\n'
        "[task.rte]\noptions.own = { alpha = 0.125 }\n"
    )
    child = load_suite(write(tmp_path, "child", text))
    assert child.arm_for("rte", "own").build().alpha == 0.125
    assert child.arm_for("cola", "own").build().alpha == 0.7
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


# the share that nobody trains on


@pytest.mark.parametrize(
    ("task", "share", "trained"),
    [("rte", 0.0, 2_490), ("rte", 0.1, 2_241), ("cola", 0.1, 7_696), ("mrpc", 0.5, 1_834), ("mnli", 0.1, 353_432)],
)
def test_how_many_examples_are_trained_on(task: str, share: float, trained: int) -> None:
    assert training_examples(find_task(task), share) == trained


@pytest.mark.parametrize(("examples", "share"), [(100, 0.1), (2_490, 0.1), (7, 0.5), (635, 0.3)])
def test_the_rows_are_split_without_overlap_and_without_loss(examples: int, share: float) -> None:
    train, held_out = split_rows(examples, share)
    assert len(held_out) == round(share * examples)
    assert torch.equal(torch.cat([train, held_out]).sort().values, torch.arange(examples))
    for rows in (train, held_out):
        assert torch.equal(rows, rows.sort().values)


def test_the_same_rows_are_held_out_whatever_the_random_state() -> None:
    first = split_rows(500, 0.1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    second = split_rows(500, 0.1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    spread = first[1].double().mean()
    assert 150 < float(spread) < 350  # not a block from one end
    assert not torch.equal(first[1], torch.arange(50))


def texts(tokens: Tokens) -> list[tuple[tuple[int, ...], float, int]]:
    rows = []
    for row in range(len(tokens)):
        start, end = int(tokens.offsets[row]), int(tokens.offsets[row + 1])
        rows.append((tuple(tokens.ids[start:end].tolist()), float(tokens.labels[row]), int(tokens.idx[row])))
    return rows


@pytest.mark.parametrize("regression", [False, True])
def test_selected_rows_keep_their_words_labels_and_numbers(regression: bool) -> None:
    tokens = tiny.tokens(30, regression=regression)
    everything = texts(tokens)
    for rows in ([3, 0, 29, 17], [5], list(range(30)), [4, 4]):
        chosen = tokens.select(torch.tensor(rows))
        assert texts(chosen) == [everything[row] for row in rows]
        assert len(chosen) == len(rows)
        assert chosen.types is not None
        assert len(chosen.types) == len(chosen.ids)
        ours, labels = chosen.collate(torch.arange(len(rows)), "cpu")
        theirs, others = tokens.collate(torch.tensor(rows), "cpu")
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert torch.equal(labels, others)


def test_a_split_of_tokens_is_what_is_trained_on_and_what_is_not() -> None:
    tokens = tiny.tokens(40)
    train, held_out = split(tokens, 0.25)
    assert held_out is not None
    assert (len(train), len(held_out)) == (30, 10)
    assert sorted(texts(train) + texts(held_out)) == sorted(texts(tokens))
    assert split(tokens, 0.0) == (tokens, None)


# what an arm is declared to train

SHAPE = {"vocab_size": 65, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64,
         "max_position_embeddings": 64}  # fmt: skip
RANDOM = EncoderSource("x", "random", None, "random", 4, tuple(sorted(SHAPE.items())))
# by hand: words, positions, two types and their normalisation; four square maps, two of 32 x 64, two normalisations
EMBEDDINGS = (65 + 64 + 2) * 32 + 2 * 32
LAYER = 4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + 2 * 2 * 32

DECLARED = [
    ("finetune", {}, EMBEDDINGS + 2 * LAYER),
    ("kd", {"start": {"frozen": ["embeddings"]}}, 2 * LAYER),
    ("pkd", {}, EMBEDDINGS + 2 * LAYER),
    ("finetune", {"start": {"source": "predecessor", "frozen": ["embeddings", "head"]}}, 2 * LAYER),
    ("theseus", {}, 2 * LAYER),
    ("theseus", {"clip": "all"}, 2 * LAYER),
    ("theseus", {"replace": [2]}, LAYER),
    ("theseus", {"trainable": ["layers", "embeddings", "head"]}, EMBEDDINGS + 2 * LAYER),
    ("layerdrop", {}, EMBEDDINGS + 4 * LAYER),
    ("predecessor", {}, EMBEDDINGS + 4 * LAYER),
]


@pytest.mark.parametrize(("name", "options", "count"), DECLARED)
def test_the_declared_number_of_trained_parameters_is_checked(
    name: str, options: dict[str, object], count: int
) -> None:
    method = find(name)(**options)
    modules = 4 if name == "predecessor" else 2
    check_trainable(method, RANDOM, RANDOM, find_task("rte"), modules, count)
    check_trainable(method, RANDOM, RANDOM, find_task("rte"), modules, None)
    with pytest.raises(SuiteError, match=f"would train {count:,} parameters without the head") as caught:
        check_trainable(method, RANDOM, RANDOM, find_task("rte"), modules, count - 1)
    assert f"method {name} on rte" in str(caught.value)
    assert f"the suite declares {count - 1:,}" in str(caught.value)


def test_a_method_that_trains_more_than_it_says_is_refused() -> None:
    class Sly(find("finetune")):
        @property
        def trains(self) -> frozenset[str]:
            return frozenset({"layers"})

        def build(self, given: object) -> object:
            model = super().build(given)
            model.requires_grad_(True)
            return model

    head = (32 * 32 + 32) + (32 * 2 + 2)  # pooler and classifier
    everything = EMBEDDINGS + 2 * LAYER + head
    with pytest.raises(SuiteError, match=f"would train {everything:,} parameters, {2 * LAYER:,} stand in"):
        check_trainable(Sly(), RANDOM, RANDOM, find_task("rte"), 2, None)


def test_a_suite_that_declares_a_wrong_number_cannot_be_planned(tmp_path: Path) -> None:
    suite = tiny.save_suite(tmp_path, tiny.save_encoder(tmp_path / "encoder"), tiny.save_glue(tmp_path / "glue", "rte"))
    with pytest.raises(
        SuiteError, match=f"would train {2 * LAYER:,} parameters without the head, the suite declares 1"
    ):
        make_plan(load_suite(str(suite), ["arms.theseus.trainable_parameters=1"]))
    make_plan(load_suite(str(suite), [f"arms.theseus.trainable_parameters={2 * LAYER}"]))


# at chance


def one_hot(classes: np.ndarray, outputs: int) -> np.ndarray:
    return np.eye(outputs, dtype=np.float32)[classes]


@pytest.mark.parametrize(
    ("name", "labels", "best"),
    [
        ("rte", [0, 0, 0, 1], 75.0),
        ("cola", [0, 1, 1, 1], 0.0),  # a constant answer has no correlation
        ("mrpc", [0, 1, 1, 1], 100 * (6 / 7 + 3 / 4) / 2),  # all equivalent: F1 2 * 3 / (3 + 4), accuracy 3 / 4
        ("stsb", [0.5, 4.0, 2.0, 1.0], 0.0),
    ],
)
def test_a_constant_answer_is_at_chance(name: str, labels: list[float], best: float) -> None:
    task = find_task(name)
    true = np.asarray(labels, dtype=np.float64 if task.regression else np.int64)
    assert best_constant(task, {"validation": true}) == pytest.approx(best)
    logits = np.ones((4, 1), np.float32) if task.regression else one_hot(np.ones(4, int), task.outputs)
    if name == "rte":
        logits = one_hot(np.zeros(4, int), 2)
    constant = score(task, {"validation": logits}, {"validation": true})
    assert constant.score == pytest.approx(best)
    assert AT_CHANCE in constant.flags
    right = true[:, None].astype(np.float32) if task.regression else one_hot(true, task.outputs)
    perfect = score(task, {"validation": right}, {"validation": true})
    assert perfect.score == pytest.approx(100.0)
    assert AT_CHANCE not in perfect.flags


def test_a_model_that_answers_at_random_below_the_largest_class_is_at_chance() -> None:
    true = np.array([0, 0, 0, 1])
    worse = score(find_task("rte"), {"validation": one_hot(np.array([0, 0, 1, 1]), 2)}, {"validation": true})
    assert worse.score == 75.0
    assert worse.flags == [AT_CHANCE]  # no better, though it is not constant
