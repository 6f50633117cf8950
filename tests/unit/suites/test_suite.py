"""Suite files: what loads, what overrides do, and one line naming the key for everything that is wrong."""

from __future__ import annotations

import pytest

from benchmarks.base.errors import SuiteError
from benchmarks.suites.file import available
from benchmarks.suites.suite import load_suite
from tests import tiny


@pytest.fixture
def path(tmp_path):
    return str(tiny.save_suite(tmp_path, tmp_path / "encoder", tmp_path / "glue"))


@pytest.mark.parametrize("name", available())
def test_every_shipped_suite_loads_and_says_how_to_run_it(name):
    from benchmarks.suites.file import suite_path

    suite = load_suite(name)
    assert suite.name == name
    assert suite_path(name).read_text(encoding="utf-8").startswith("# ")
    if name in {"demo", "minilm", "paper"}:
        assert set(suite.arms) >= {"finetune", "kd", "pkd", "theseus"}
    if not suite.synthetic:
        assert suite.encoder.revision
        assert suite.encoder.revision_source
        assert suite.data.revision
        assert suite.data.revision_source


def test_the_papers_suite_is_table_2():
    suite = load_suite("paper")
    assert sorted(suite.tasks) == ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb"]
    assert (suite.encoder.layers, suite.successor_layers, len(suite.seeds)) == (12, 6, 5)
    assert (suite.protocol, suite.statistic) == ("selected", "median")
    assert suite.resolve("mrpc", "theseus").training.batch_size == 32
    assert suite.resolve("mnli", "predecessor").training.epochs == 4
    assert suite.resolve("mrpc", "predecessor").training.epochs == 4


def test_overrides_reach_any_key(path):
    suite = load_suite(path, ["seeds=[9]", "training.epochs=2", "arms.kd.options.alpha=0.25", "encoder.name=other"])
    assert suite.seeds == [9]
    assert suite.training.epochs == 2
    assert suite.arms["kd"].build().alpha == 0.25
    assert suite.encoder.name == "other"


def test_sections_override_training_in_order(path):
    extra = ["task.rte.training.epochs=5", "arms.kd.training.epochs=7", "predecessor.training.learning_rate=0.5"]
    suite = load_suite(path, extra)
    assert suite.resolve("rte", "finetune").training.epochs == 5
    assert suite.resolve("rte", "kd").training.epochs == 7
    assert suite.resolve("rte", "predecessor").training.learning_rate == 0.5
    assert suite.resolve("rte", "predecessor").training.epochs == 5


def test_a_task_may_have_options_of_its_own(path):
    suite = load_suite(path, ["task.rte.options.kd={alpha = 0.5}"])
    assert suite.resolve("rte", "kd").method.alpha == 0.5
    assert suite.arms["kd"].options == {}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sedes=[1]", r"unknown key 'sedes': did you mean 'seeds'\?"),
        ("training.epoch=1", r"training: unknown key 'epoch': did you mean 'epochs'\?"),
        ("training.epochs=0", "training.epochs"),
        ("training.epochs=nan", "training.epochs"),
        ("training.batch_size='big'", "training.batch_size"),
        ("arms.kd.options.alhpa=0.5", r"arms.kd: unknown option 'alhpa' of method 'kd': did you mean 'alpha'\?"),
        ("arms.kd.options.alpha=1.5", "arms.kd: alpha"),
        ("arms.theseus.options.rate={kind='linear', base=0.3, k=0}", "rate.k"),
        ("arms.theseus.options.rate={kind='linear', base=0.3}", "takes base and one of k and reach"),
        ("arms.theseus.options.rate={kind='constant', p=1.2, reach=10}", "rate.p"),
        ("arms.kd.method=kdd", r"unknown method 'kdd': did you mean 'kd'\?"),
        ("arms.kd.training.epoch=1", r"arms.kd: training: unknown key 'epoch': did you mean 'epochs'\?"),
        ("task.rte.training.lerning_rate=1", "did you mean 'learning_rate'"),
        ("task.rte.options.kdd={}", "no arm 'kdd'"),
        ("task.rte.options.kd={alpha=3}", "task.rte.options.kd"),
        ("task.rte.settings.kdd={}", "task.rte.settings: no arm 'kdd'"),
        ("task.rte.settings.kd={alpha=3}", "task.rte.settings.kd key 'alpha': write options"),
        ("task.rte.settings.kd={'options.alpha'=3}", "alpha.*task.rte.settings.kd"),
        ("task.rte.settings.predecessor={'training.epochs'=0}", "epochs.*task.rte.settings.predecessor"),
        ("tasks=['rt']", r"unknown task 'rt': did you mean 'rte'\?"),
        ("tasks=['rte','rte']", "listed twice"),
        ("seeds=[1,1]", "listed twice"),
        ("seeds=[]", "seeds"),
        ("seeds=[-1]", "seeds"),
        ("successor_layers=3", "does not divide the encoder's 4 layers"),
        ("successor_layers=4", "does not divide"),
        ("name='../x'", "name"),
        ("arms.predecessor={method='finetune', title='x'}", "not an arm"),
        ("device.precision=float8", "device.precision"),
        ("encoder.revision=main", "encoder.revision"),
        ("justakey", "write key=value"),
        ("seeds.x=1", "not a section"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_key(path, override, message):
    with pytest.raises(SuiteError, match=message) as caught:
        load_suite(path, [override])
    assert "\n" not in str(caught.value)


def test_suites_that_are_not_there_or_not_toml(tmp_path):
    with pytest.raises(SuiteError, match=r"no suite 'minlm': did you mean 'minilm'\?"):
        load_suite("minlm")
    (tmp_path / "bad.toml").write_text("x = [", encoding="utf-8")
    with pytest.raises(SuiteError, match="not a TOML file"):
        load_suite(str(tmp_path / "bad.toml"))
