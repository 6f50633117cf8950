"""Suite files, model folders and text from strangers, as the laboratory meets them: one line, and nothing is run."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from benchmarks.models.checks import check_class, check_predecessor
from benchmarks.models.encoder import find_encoder
from benchmarks.models.safety import check_model_folder
from benchmarks.models.settings import Encoder
from benchmarks.suites.suite import load_suite
from benchmarks.tasks.data import find_source, load_splits
from benchmarks.tasks.settings import Data
from benchmarks.tasks.table import find_task
from results.format import limits, untrusted
from results.format.errors import UserError
from tests import tiny
from tests.command import cli
from tests.faults import corpus
from tests.faults.fuzz import EXAMPLES, fuzz

ROOT = Path(__file__).resolve().parents[2]
SUITE = (ROOT / "benchmarks/suites/demo.toml").read_text(encoding="utf-8")


def refusal(action) -> str:
    """What a `SuiteError` says: one line."""
    with pytest.raises(UserError) as caught:
        action()
    return untrusted.text(str(caught.value), 10**6)


def loads_or_refuses(path: Path, overrides: list[str] | None = None) -> None:
    try:
        suite = load_suite(str(path), overrides or [])
    except UserError as error:
        said = str(error)
    else:
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", suite.name)
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", arm) for arm in suite.arms)
        return
    assert said.strip()


# Suite files


@pytest.fixture
def suite_file(tmp_path) -> Path:
    return tmp_path / "mine.toml"


@pytest.mark.parametrize("name", [*corpus.PATHS, *corpus.XSS, "a" * 65, "A", "é", "-a"])
def test_a_suite_or_arm_cannot_be_named_out_of_its_folder(suite_file, name):
    quoted = json.dumps(name)
    for text in (re.sub(r'^name = .*$', lambda _: f"name = {quoted}", SUITE, count=1, flags=re.MULTILINE),
                 SUITE + f'\n[arms.{quoted}]\nmethod = "kd"\ntitle = "x"\n'):  # fmt: skip
        assert quoted in text
        suite_file.write_text(text, encoding="utf-8")
        assert "mine.toml" in refusal(lambda: load_suite(str(suite_file)))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x = " + corpus.deep(), "not a TOML file"),
        ("x = " + "9" * 10_000, "not a TOML file"),
        ("seeds = [1]\nseeds = [2]", "not a TOML file"),
        ('name = "\x00"', "not a TOML file"),
        (SUITE + "\n[training]\n", "not a TOML file"),
        ("\ufeff\u202e", "not a TOML file"),
    ],
)  # fmt: skip
def test_a_suite_file_that_is_made_to_harm_is_one_line(suite_file, text, match):
    suite_file.write_text(text, encoding="utf-8")
    assert match in refusal(lambda: load_suite(str(suite_file)))


def test_a_suite_file_of_absurd_size_is_not_read(suite_file):
    corpus.zeros(suite_file, 2**40)
    assert "at most 1,048,576 are read" in refusal(lambda: load_suite(str(suite_file)))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-1", "0", "true", '"x"', "[]", "{}", "9" * 5000])
def test_numbers_that_are_none_are_refused(value):
    said = refusal(lambda: load_suite("demo", [f"training.learning_rate={value}"]))
    assert "learning_rate" in said


@pytest.mark.parametrize("text", corpus.ALL)
def test_text_from_a_suite_never_reaches_the_terminal_raw(text, capfd):
    assert cli("plan", "demo", "--set", f"encoder.revision={text}" if text else "encoder.revision=") == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", err)


def test_ten_megabytes_on_a_line_are_cut_and_cleaned(capfd):
    assert cli("plan", "demo", "--set", f"{corpus.long_line()}=1") == 2
    err = capfd.readouterr().err
    assert len(err) < 2 * limits.MESSAGE
    assert err.count("\n") == 1
    assert "\x1b" not in err


@EXAMPLES
def test_any_suite_file_loads_or_is_one_line(examples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("suites")
    lines = SUITE.splitlines()

    def check(at: int, cut: int, new: str, raw: bytes) -> None:
        path = folder / "mine.toml"
        changed = "\n".join([*lines[:at], new, *lines[at + cut :]])
        path.write_bytes(changed.encode("utf-8", "surrogatepass") + raw)
        loads_or_refuses(path)

    keys = re.findall(r"^([\w-]+) =", SUITE, re.MULTILINE)
    values = st.sampled_from(
        ["nan", "inf", "-1", "0", "[]", "{}", "[[1]]", '""', "1979-05-27", "true", '"../x"', "1e400"]
    )
    line = st.builds("{} = {}".format, st.sampled_from(keys), values)
    fuzz(
        check, examples, at=st.integers(0, len(lines)), cut=st.integers(0, 4),
        new=st.one_of(line, st.text(max_size=40), st.sampled_from(corpus.ALL), st.just("")),
        raw=st.binary(max_size=4),
    )  # fmt: skip


@EXAMPLES
def test_any_override_loads_or_is_one_line(examples):
    keys = [
        "name", "seeds", "tasks", "training.epochs", "training.x.y", "arms.kd.options.alpha", "arms.theseus.method",
        "arms.kd.trials", "arms.kd.search", "task.syn-cola.training.epochs", "encoder.shape", "speed.width", "steps",
        "extends", "predecessor.paths", "", "arms", "device.threads", "held_out",
    ]  # fmt: skip
    values = st.one_of(
        st.sampled_from(["nan", "[]", "{}", "[1, 1]", "-1", "1e400", "9" * 5000, '"x"', "{a = {b = [1]}}", "0.3"]),
        st.text(max_size=20), st.sampled_from(corpus.ALL),
    )  # fmt: skip

    def check(pairs: list[tuple[str, str]]) -> None:
        loads_or_refuses(Path("demo"), [f"{key}={value}" for key, value in pairs])

    fuzz(check, examples, pairs=st.lists(st.tuples(st.sampled_from(keys), values), min_size=1, max_size=2))


# Model folders


@pytest.fixture
def encoder(tmp_path) -> Path:
    return tiny.save_encoder(tmp_path / "encoder")


def find(folder: Path):
    return find_encoder(Encoder(name="mine", path=str(folder), layers=4, hidden_size=32))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling_evil.Evil"}}, "names code to run (auto_map)"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.T", None]}}, "names code to run (auto_map)"),
        ("config.json", {"attn_implementation": "evil/kernel"}, "names an attention kernel on a hub"),
        ("config.json", {"num_labels": 10**9}, "1,000,000,000 labels or layers"),
    ],
)
def test_a_folder_that_names_code_or_absurd_shapes_is_refused(encoder, name, changes, match):
    find(encoder)
    change(encoder / name, **changes)
    assert match in refusal(lambda: find(encoder))
    with pytest.raises(UserError, match=re.escape(match)):
        check_class(encoder, "model")


def test_a_pickled_checkpoint_is_refused_with_the_command_that_converts_it(encoder, tmp_path):
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    said = refusal(lambda: find(encoder))
    assert "model.safetensors is missing" in said
    assert f"python -m benchmarks convert {encoder} DIR" in said
    source = find(tiny.save_encoder(tmp_path / "good"))
    assert "benchmarks convert" in refusal(lambda: check_predecessor(str(encoder), find_task("rte"), source))
    (encoder / "pytorch_model.bin").rename(encoder / "model.pt")
    assert "model.pt is not read, because it can run code" in refusal(lambda: find(encoder))


def test_an_adapter_is_refused_because_it_names_another_model(encoder):
    (encoder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}')
    assert "is an adapter of another model" in refusal(lambda: find(encoder))


@pytest.mark.parametrize("text", [corpus.deep(), "{", '{"a": 1, "a": 2}', "[1]", "\ufeff", '"x"', "\x00"])
def test_a_configuration_that_is_none_is_one_line(encoder, text):
    (encoder / "config.json").write_text(text, encoding="utf-8")
    assert "config.json" in refusal(lambda: find(encoder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_files_of_absurd_size_are_refused_unread(encoder, name):
    corpus.zeros(encoder / name, 2**40)
    assert "bytes, at most" in refusal(lambda: check_model_folder(encoder, "encoder mine"))


def test_weights_that_are_a_pickle_under_another_name_are_refused(encoder):
    (encoder / "model.safetensors").write_bytes(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.")
    assert "cannot be used" in refusal(lambda: find(encoder))


def test_a_weight_that_is_not_finite_does_not_pass_for_another(encoder):
    """The hash is of the bytes: a NaN in a file is another encoder, not a missing one."""
    before = find(encoder).hash
    path = encoder / "model.safetensors"
    weights = load_file(path)
    name = min(weights)
    weights[name] = weights[name] * float("nan")
    save_file(weights, path, {"format": "pt"})
    assert find(encoder).hash != before


def test_no_code_of_ours_trusts_remote_code_or_reads_a_pickle():
    """Every call of ours that could says no; `convert`, which a person asks for, reads tensors only."""
    runs_code = {"pickle.load", "pickle.loads", "eval", "exec", "np.load", "joblib.load", "evaluate.load"}
    packages = ("theseus", "baselines", "benchmarks", "reports")
    for path in sorted(path for package in packages for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            where = f"{path.name}:{node.lineno}"
            assert given.get("trust_remote_code", "False") == "False", where
            if re.fullmatch(r"Auto\w+\.from_pretrained", name):
                assert given.get("trust_remote_code") == "False", where
            if name == "torch.load":
                assert given.get("weights_only") == "True", where
            assert name not in runs_code, where


# Data


def test_hostile_text_in_a_data_set_is_only_text(tmp_path, capfd):
    """Markup, escapes and a line of ten megabytes are examples like any other; a wrong column is one clean line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tiny.save_glue(tmp_path / "glue", "rte")
    path = folder / "rte" / "validation.parquet"
    table = pq.read_table(path)
    texts = table["sentence1"].to_pylist()
    bad = [text.encode("utf-8", "ignore").decode() for text in corpus.ALL]
    texts[: len(bad)] = bad
    texts[len(bad)] = corpus.long_line()
    column = table.schema.get_field_index("sentence1")
    pq.write_table(table.set_column(column, "sentence1", pa.array(texts)), path)
    source = find_source(find_task("rte"), Data(path=str(folder)))
    assert load_splits(source)["validation"]["sentence1"][: len(bad)] == bad
    renamed = ["\x1b]0;owned\x07" if name == "sentence1" else name for name in table.column_names]
    pq.write_table(table.rename_columns(renamed), path)
    with pytest.raises(UserError, match="has no column 'sentence1'"):
        load_splits(find_source(find_task("rte"), Data(path=str(folder))))
    encoder = tiny.save_encoder(tmp_path / "encoder")
    suite = tiny.save_suite(tmp_path, encoder, folder, tasks='["rte"]')
    capfd.readouterr()  # what writing the data said
    assert cli("plan", suite) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert "\x07" not in err


@EXAMPLES
def test_plain_text_is_one_short_line_whatever_it_was(examples):
    def check(text: str) -> None:
        shown = untrusted.text(text, limits.MESSAGE)
        assert len(shown) <= limits.MESSAGE
        assert shown == untrusted.text(shown, limits.MESSAGE)
        assert shown.isprintable() or not any(c in shown for c in "\x1b\n\r\t\u202e\x9b")
        shown.encode("utf-8")

    fuzz(check, examples, text=st.one_of(st.text(), st.lists(st.sampled_from(corpus.ALL)).map("".join)))
