"""Arms of a suite: presets, the trials of a search, and equal budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines import find
from benchmarks.base.errors import SuiteError
from benchmarks.plans.planner import make_plan
from benchmarks.runs.store import Store
from benchmarks.suites.arms import Arm, presets
from benchmarks.suites.suite import load_suite
from benchmarks.training.settings import Training
from tests import tiny
from tests.command import refused

PRESETS = (
    "theseus-paper", "theseus-code", "theseus-readme", "theseus-constant", "theseus-anti", "theseus-curriculum",
    "theseus-blend", "theseus-two-stage", "pkd-skip", "pkd-last", "finetune-from-predecessor", "finetune-frozen",
    "finetune-long", "kd-from-predecessor", "pkd-from-predecessor",
)  # fmt: skip


def arm(**keys: object) -> Arm:
    return Arm.model_validate({"title": "An arm", **keys})


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tiny.save_suite(tmp_path, tmp_path / "encoder", tmp_path / "glue", tasks='["rte", "cola"]'))


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


# settings of one arm on one task, and the predecessor's epochs


def test_settings_of_a_task_go_over_everything_else_and_reach_no_other_task(path: str) -> None:
    made = load_suite(
        path,
        [
            "task.rte.training.epochs=2",
            "task.rte.settings.kd={'training.epochs'=3, 'options.alpha'=0.25}",
            "task.rte.settings.predecessor={'training.epochs'=5}",
        ],
    )
    kd = made.resolve("rte", "kd")
    assert (kd.training.epochs, kd.method.model_dump()["alpha"]) == (3, 0.25)
    assert made.resolve("rte", "theseus").training.epochs == 2
    assert made.resolve("rte", "predecessor").training.epochs == 5
    plain = load_suite(path)
    assert made.resolve("cola", "kd") == plain.resolve("cola", "kd")


def test_a_key_that_is_searched_cannot_be_set_as_well(path: str) -> None:
    grid = "arms={kd={method='kd', title='KD', grid={'options.alpha'=[0.2, 0.5]}}}"
    with pytest.raises(SuiteError, match=r"task\.rte\.settings\.kd: options\.alpha is in the arm's grid too"):
        load_suite(path, [grid, "task.rte.settings.kd={'options.alpha'=0.3}"])


def test_the_long_fine_tuning_has_the_predecessors_epochs_on_top_of_its_own(path: str) -> None:
    made = load_suite(
        path,
        [
            "arms={long={preset='finetune-long'}, short={method='finetune', title='short'}}",
            "training.epochs=2",
            "task.rte.settings.predecessor={'training.epochs'=3.5}",
        ],
    )
    assert [made.resolve("rte", arm).training.epochs for arm in ("long", "short", "predecessor")] == [5.5, 2, 3.5]
    assert made.resolve("cola", "long").training.epochs == 4
