"""The whole path on small real models: plan, run, results folder, export, report; and bad input that costs nothing."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.models.loading import load_finetuned
from benchmarks.plans.planner import make_plan
from benchmarks.runs import tensor_cache
from benchmarks.runs.execute import execute
from benchmarks.runs.tokens import tokenise
from benchmarks.suites.suite import load_suite
from benchmarks.training.batches import evaluation_batches
from tests import tiny
from tests.command import cli

EXPORT_COLUMNS = {
    "suite", "task", "method", "arm", "seed", "status", "protocol", "metric", "value", "score", "steps", "epochs",
    "layers", "parameters", "trainable_parameters", "train_seconds", "examples_per_second", "peak_memory_bytes",
    "run_id",
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Encoder, data and suite, made once."""
    folder = tmp_path_factory.mktemp("inputs")
    encoder = tiny.save_encoder(folder / "encoder")
    glue = tiny.save_glue(folder / "glue", "rte", "stsb")
    return tiny.save_suite(folder, encoder, glue, tasks='["rte", "stsb"]')


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    """A results folder with every run of the suite."""
    results = tmp_path_factory.mktemp("results") / "tiny"
    assert cli("run", inputs, "--results", results, "--workers", "2", "--set", "keep_successors=true") == 0
    return results


def runs(results: Path, pattern: str = "*") -> list[Path]:
    return sorted(path.parent for path in results.glob(f"{pattern}/*/seed-*/result.json"))


def test_every_run_has_its_folder_with_everything_in_it(finished):
    found = runs(finished)
    assert len(found) == 2 * (1 + 4 * 2)  # tasks x (shared predecessor + arms x seeds)
    for folder in found:
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "config.json", "manifest.json", "metrics.jsonl", "predictions.parquet", "result.json", "successor"
        }  # fmt: skip
        result = json.loads((folder / "result.json").read_text())
        config = json.loads((folder / "config.json").read_text())
        assert result["status"] == "done", result
        assert folder.name == f"seed-{config['seed']}-{result['run_id']}"
        assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()] == [3, 6]
        predictions = pd.read_parquet(folder / "predictions.parquet")
        assert len(predictions) == 2 * {"rte": 277, "stsb": 1500}[config["task"]]
    assert not list((finished / ".partial").iterdir())


def test_the_score_can_be_had_again_from_the_predictions(finished):
    for folder in runs(finished, "rte"):
        result = json.loads((folder / "result.json").read_text())
        predictions = pd.read_parquet(folder / "predictions.parquet")
        for protocol in ("last", "selected"):
            rows = predictions[predictions.checkpoint == protocol]
            assert result[protocol]["score"] == pytest.approx(100 * (rows.label == rows.prediction).mean())


def test_the_kept_successor_is_a_plain_model_that_predicts_what_was_stored(inputs, finished):
    run = next(run for run in make_plan(load_suite(str(inputs))).runs if (run.task.name, run.arm) == ("rte", "theseus"))
    folder = finished / run.folder
    model = load_finetuned(folder / "successor", "sdpa")
    assert model.config.num_hidden_layers == 2
    stored = pd.read_parquet(folder / "predictions.parquet")
    stored = stored[stored.checkpoint == "last"]
    rows, batch = next(evaluation_batches(tokenise(run.encoder, run.source, run.max_length)["validation"], "cpu"))
    with torch.inference_mode():
        logits = model(**batch).logits
    assert torch.allclose(logits, torch.tensor([list(stored.logits.iloc[i]) for i in rows.tolist()]), atol=1e-4)


def test_a_second_run_finds_everything_done(inputs, finished, capfd):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("result.json")}
    assert cli("run", inputs, "--results", finished, "--set", "keep_successors=true") == 0
    assert "18 of 18 runs done, nothing to do" in capfd.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("result.json")} == before


def test_run_ids_follow_what_can_change_a_number(inputs, capfd):
    def ids(*extra):
        assert cli("plan", inputs, "--json", *extra) == 0
        return {(r["task"], r["arm"], r["seed"]): r["run_id"] for r in json.loads(capfd.readouterr().out)["runs"]}

    base = ids()
    assert base == ids("--set", "title=Another title") == ids("--set", "keep_successors=true")
    changed = ids("--set", "arms.kd.options.alpha=0.1")
    assert {cell for cell in base if base[cell] != changed[cell]} == {cell for cell in base if cell[1] == "kd"}
    teacher = ids("--set", "predecessor.training.learning_rate=0.5")
    moved = {cell[1] for cell in base if base[cell] != teacher[cell]}
    assert moved == {"predecessor", "kd", "pkd", "theseus"}  # fine-tuning does not depend on it
    for setting in (
        "device.threads=2",
        "device.precision=bfloat16",
        "training.batch_size=16",
        "task.rte.max_length=32",
    ):
        other = ids("--set", setting)
        assert all(base[cell] != other[cell] for cell in base if cell[0] == "rte"), setting


def test_a_predecessor_per_seed(inputs, capfd):
    assert cli("plan", inputs, "--json", "--set", "predecessor.per_seed=true") == 0
    rows = json.loads(capfd.readouterr().out)["runs"]
    own = {(r["task"], r["seed"]): r["run_id"] for r in rows if r["arm"] == "predecessor"}
    assert len(own) == 4
    assert all(r["predecessor"] == own[r["task"], r["seed"]] for r in rows if r["arm"] == "theseus")


def test_selection_brings_the_predecessor_along(inputs, capfd):
    assert cli("plan", inputs, "--json", "--tasks", "rte", "--methods", "theseus", "--seeds", "2") == 0
    rows = json.loads(capfd.readouterr().out)["runs"]
    assert [(r["arm"], r["seed"]) for r in rows] == [("predecessor", 1), ("theseus", 2)]


@pytest.mark.slow
def test_numbers_do_not_depend_on_how_many_run_at_once(inputs, finished, tmp_path):
    assert cli("run", inputs, "--results", tmp_path / "one", "--workers", "1", "--tasks", "rte", "--seeds", "1") == 0
    for folder in runs(tmp_path / "one"):
        twin = finished / folder.relative_to(tmp_path / "one")
        for name in ("metrics.jsonl", "config.json"):
            assert (folder / name).read_bytes() == (twin / name).read_bytes()
        assert pd.read_parquet(folder / "predictions.parquet").equals(pd.read_parquet(twin / "predictions.parquet"))


def test_export_has_the_columns_and_rows_of_the_contract(finished, capfdbinary, tmp_path):
    assert cli("export", finished) == 0
    table = pd.read_csv(io.BytesIO(capfdbinary.readouterr().out))
    assert set(table.columns) >= EXPORT_COLUMNS
    assert len(table) == 9 * 2 * 1 + 9 * 2 * 2  # runs x protocols x metrics: RTE has one metric, STS-B two
    assert set(table.protocol) == {"last", "selected"}
    assert cli("export", finished, "--format", "parquet", "--output", tmp_path / "t.parquet") == 0
    assert len(pd.read_parquet(tmp_path / "t.parquet")) == len(table)


def test_the_report_is_written_and_its_path_printed(finished, capfd, tmp_path):
    assert cli("report", finished, "--output", tmp_path) == 0
    path = Path(capfd.readouterr().out.strip())
    assert path.is_file()
    assert "A tiny suite" in path.read_text(encoding="utf-8")


def test_speed_is_paired_and_kept(inputs, tmp_path, capfd):
    arguments = ("--set", "speed={batch_sizes=[1], lengths=[8], min_rounds=10, max_rounds=20}", "--json")
    assert cli("speed", inputs, "--results", tmp_path, *arguments) == 0
    found = json.loads((tmp_path / "speed.json").read_text())["conditions"][0]
    assert json.loads(capfd.readouterr().out)["conditions"][0] == found
    assert (found["predecessor_layers"], found["successor_layers"]) == (4, 2)
    assert len(found["ratios"]) == found["rounds"] == len(found["predecessor_seconds"])
    ratios = [a / b for a, b in zip(found["predecessor_seconds"], found["successor_seconds"], strict=True)]
    assert found["ratios"] == pytest.approx(ratios)
    assert found["ratio_low"] <= found["ratio"] <= found["ratio_high"]
    assert found["ratio"] == pytest.approx(pd.Series(ratios).median())


@pytest.mark.slow
def test_a_fine_tuned_predecessor_is_taken_as_it_is(inputs, finished, tmp_path):
    folder = runs(finished, "rte")
    source = next(path for path in folder if "predecessor" in str(path)) / "successor"
    arguments = ("--tasks", "rte", "--methods", "kd", "--seeds", "1", "--set", f"predecessor.paths.rte={source}")
    assert cli("run", inputs, "--results", tmp_path, *arguments) == 0
    given = json.loads((runs(tmp_path, "rte")[1] / "result.json").read_text())
    assert given["steps"] == 0
    original = json.loads((source.parent / "result.json").read_text())
    assert given["last"]["score"] == original["last"]["score"]


@pytest.mark.slow
def test_a_diverged_run_is_a_result_and_ends_nothing_else(inputs, tmp_path, capfd):
    arguments = ("--tasks", "rte", "--seeds", "1", "--set", "arms.kd.training.learning_rate=1e30")
    assert cli("run", inputs, "--results", tmp_path, *arguments) == 0
    result = json.loads(next(tmp_path.glob("rte/kd/*/result.json")).read_text())
    assert result["status"] == "diverged"
    assert "not finite" in result["reason"] or "loss is" in result["reason"]
    assert json.loads(next(tmp_path.glob("rte/theseus/*/result.json")).read_text())["status"] == "done"
    assert "diverged" in capfd.readouterr().err
    assert cli("report", tmp_path) == 0


def test_a_dry_run_shows_steps_and_keeps_nothing(inputs, tmp_path, capfd):
    shape = (
        "encoder.shape={vocab_size=100, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, "
        "intermediate_size=64, max_position_embeddings=128}"
    )
    random = ("--set", "encoder.random=true", "--set", shape, "--results", tmp_path / "none")
    assert cli("run", inputs, "--dry-run", "--tasks", "rte", *random) == 0
    printed = capfd.readouterr().err
    assert all(f"rte {arm}: loss" in printed for arm in ("predecessor", "finetune", "kd", "pkd", "theseus"))
    assert not (tmp_path / "none").exists()
    assert cli("run", inputs, *random) == 2
    assert "plan and run --dry-run only" in capfd.readouterr().err


@pytest.mark.slow
def test_doctor_says_what_is_here(capfd, monkeypatch, tmp_path):
    monkeypatch.delenv("GLUE_DIR", raising=False)
    assert cli("doctor", "--json") == 0
    found = json.loads(capfd.readouterr().out)
    assert found["determinism"] == {"bit_equal": True, "first_difference": {"float32": None, "bfloat16": None}}
    assert set(found["encoders"]) >= {"demo", "minilm", "paper"}
    for measured in found["workers"].values():
        assert str(measured["chosen"]) in measured["steps_per_second"]
        assert all(rate > 0 for rate in measured["steps_per_second"].values())


def arguments_with(places: dict[str, object], argument: str) -> str:
    for name, place in places.items():
        argument = argument.replace(name, str(place))
    return argument


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status",), "Missing argument 'SUITE'. (the suites are benchmarks/suites/*.toml"),
        (("plan", "{suite}", "--set", "sedes=[1]"), "did you mean 'seeds'"),
        (("plan", "nosuch"), "no suite 'nosuch'"),
        (("run", "{suite}", "--tasks", "rtee"), "did you mean 'rte'"),
        (("run", "{suite}", "--methods", "thesus"), "did you mean 'theseus'"),
        (("run", "{suite}", "--seeds", "7"), "no seed '7'"),
        (("run", "{suite}", "--seeds", "x"), "whole numbers"),
        (("run", "{suite}", "--set", "data.path=/nowhere"), "does not exist"),
        (("run", "{suite}", "--set", "tasks=['cola']"), "cola/train.parquet is missing"),
        (("run", "{suite}", "--set", "encoder.path=/nowhere"), "is not a folder"),
        (("run", "{suite}", "--set", "encoder.layers=6", "--set", "successor_layers=3"), "has 4 layers"),
        (("run", "{suite}", "--set", "encoder.sha256=" + "0" * 64), "has sha256"),
        (("run", "{suite}", "--set", "successor_layers=3"), "does not divide"),
        (("run", "{suite}", "--set", "device.device=cuda"), "no CUDA device"),
        (("run", "{suite}", "--engine", "ray"), "not available yet"),
        (("run", "{suite}", "--engine", "slurm"), "unknown engine"),
        (("run", "{suite}", "--results", "/proc/nowhere"), "cannot write results"),
        (("export", "/nowhere"), "/nowhere"),
        (("run", "{suite}", "--results", "{file}"), "cannot write results"),
        (("plan", "{suite}", "--set", "encoder.random=true"), "encoder.random needs"),
        (("plan", "{suite}", "--set", "encoder.path={albert}"), "has nothing to replace"),
        (("plan", "{suite}", "--set", "encoder.path={bare}"), "has no tokenizer"),
        (("plan", "{suite}", "--set", "speed={min_rounds=9, max_rounds=8}"), "above max_rounds"),
        (("speed", "{suite}", "--set", "speed={lengths=[999]}"), "the encoder only to 64"),
        ((), "Missing command"),
        (("frobnicate",), "No such command"),
        (("run", "{suite}", "--nosuch"), "No such option"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(inputs, tmp_path, capfd, arguments, message):
    places = {
        "{suite}": inputs,
        "{file}": tmp_path / "file",
        "{albert}": tmp_path / "albert",
        "{bare}": tmp_path / "bare",
    }
    filled = [arguments_with(places, argument) for argument in arguments]
    if any("{albert}" in argument or "{bare}" in argument for argument in arguments):
        shutil.copytree(Path(inputs).parent / "encoder", tmp_path / "albert")
        shutil.copytree(Path(inputs).parent / "encoder", tmp_path / "bare")
        config = json.loads((tmp_path / "albert" / "config.json").read_text())
        (tmp_path / "albert" / "config.json").write_text(json.dumps({**config, "model_type": "albert"}))
        for file in (tmp_path / "bare").glob("token*"):
            file.unlink()
    (tmp_path / "file").write_text("not a folder")
    if arguments[:1] == ("run",) and "--results" not in arguments:
        filled += ["--results", str(tmp_path / "untouched")]
    assert cli(*filled) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert not (tmp_path / "untouched").exists() or not runs(tmp_path / "untouched")


def test_a_predecessor_whose_head_does_not_fit_is_refused(inputs, tmp_path, capfd):
    tiny.bert(4, labels=3).save_pretrained(tmp_path / "three")
    model = tiny.bert(4, labels=2)
    model.config.id2label = {0: "not_entailment", 1: "entailment"}
    model.save_pretrained(tmp_path / "swapped")
    tiny.bert(2, labels=2).save_pretrained(tmp_path / "shallow")
    for name, message in (("three", "head of 3 outputs"), ("swapped", "orders its labels"), ("shallow", "2 layers")):
        assert cli("plan", inputs, "--tasks", "rte", "--set", f"predecessor.paths.rte={tmp_path / name}") == 2
        assert message in capfd.readouterr().err


def test_a_plan_without_successor_phase_is_warned_about(inputs, capfd):
    rate = "arms.theseus.options.rate={kind='constant', p=0.5, reach=2500}"
    assert cli("plan", inputs, "--set", rate) == 0
    assert "no successor phase" in capfd.readouterr().err


def test_data_that_changed_never_meets_old_results(inputs, finished, tmp_path, capfd):
    glue = tmp_path / "glue"
    shutil.copytree(Path(inputs).parent / "glue", glue)
    tiny.rewrite(glue / "rte" / "train.parquet", lambda table: table.take(list(reversed(range(2490)))))
    assert cli("plan", inputs, "--json", "--results", finished, "--set", f"data.path={glue}") == 0
    status = {(r["task"], r["status"]) for r in json.loads(capfd.readouterr().out)["runs"]}
    assert status == {("rte", "missing"), ("stsb", "done")}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_runner_leaves_no_worker_behind_and_goes_on_later(inputs, tmp_path, how):
    arguments = ["--tasks", "rte", "--seeds", "1", "--methods", "finetune", "--results", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks", "run", str(inputs), *arguments]
    long = subprocess.Popen([*command, "--set", "training.max_steps=100000"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".partial/*")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    worker = int(next(tmp_path.glob(".partial/*")).name.split("-")[2])  # host-boot-pid-random
    long.send_signal(how)
    said = long.communicate(timeout=60)[1]
    if how != signal.SIGKILL:
        assert long.returncode == 75, said
        assert "give the same command again to continue" in said
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert cli("run", inputs, *arguments) == 0
    assert len(runs(tmp_path)) == 1
    assert not list((tmp_path / ".partial").iterdir())


@pytest.mark.slow
def test_a_failed_run_is_shown_and_tried_again(inputs, finished, tmp_path, capfd):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    arguments = ("run", inputs, "--results", results, "--set", "keep_successors=true", "--tasks", "rte", "--seeds", "1")
    weights = next(results.glob("rte/predecessor/*/successor/model.safetensors"))
    weights.rename(tmp_path / "weights")
    (theseus,) = results.glob("rte/theseus/seed-1-*")
    shutil.rmtree(theseus)
    assert cli(*arguments) == 1
    assert "rte theseus seed 1: failed" in capfd.readouterr().err
    assert json.loads((theseus / "result.json").read_text())["status"] == "failed"
    (tmp_path / "weights").rename(weights)
    assert cli(*arguments) == 0
    assert json.loads((theseus / "result.json").read_text())["status"] == "done"


@pytest.mark.slow
def test_what_does_not_depend_on_a_lost_predecessor_goes_on(inputs, tmp_path, capfd):
    diverging = ("--set", "predecessor.training.learning_rate=1e30", "--tasks", "rte", "--seeds", "1")
    assert cli("run", inputs, "--results", tmp_path, *diverging) == 1
    said = capfd.readouterr().err
    assert "rte predecessor seed 1: diverged" in said
    assert said.count("not started: its predecessor") == 3
    assert [path.parent.name for path in runs(tmp_path)] == ["finetune", "predecessor"]


def test_a_damaged_cache_is_computed_again_and_the_manifest_says_so(inputs, finished, tmp_path, monkeypatch):
    results = tmp_path / "results"
    shutil.copytree(finished, results)
    plan = make_plan(load_suite(str(inputs), ["keep_successors=true"]))
    run = next(run for run in plan.runs if (run.task.name, run.arm, run.seed) == ("rte", "kd", 2))
    before = {name: (results / run.folder / name).read_bytes() for name in ("metrics.jsonl", "predictions.parquet")}
    notes = []
    for damaged in (False, True):
        shutil.rmtree(results / run.folder)
        if damaged:
            for file in results.glob("cache/outputs-*/logits.bin"):
                file.write_bytes(bytes(file.stat().st_size))
            monkeypatch.setattr(tensor_cache, "_verified", {})  # as in another process
        execute(run, results)
        notes.append(json.loads((results / run.folder / "manifest.json").read_text())["cache_rebuilt"])
        assert {name: (results / run.folder / name).read_bytes() for name in before} == before
    assert notes == [None, "logits.bin is not what was written (block 0)"]


@pytest.mark.slow
def test_the_selected_checkpoint_is_what_a_suite_that_reports_it_hands_on(inputs, tmp_path):
    """The saved weights predict what was stored as `selected`, also where that is not the last evaluation."""
    steps = ("--set", "training.max_steps=24", "--set", "training.learning_rate=0.02", "--set", "protocol=selected")
    only = ("--tasks", "rte", "--methods", "predecessor")
    assert cli("run", inputs, "--results", tmp_path, *steps, *only) == 0
    folder = runs(tmp_path)[0]
    result = json.loads((folder / "result.json").read_text())
    assert result["selected"]["step"] < result["last"]["step"], "the test needs a run that gets worse"
    stored = pd.read_parquet(folder / "predictions.parquet")
    run = next(run for run in make_plan(load_suite(str(inputs))).runs if run.task.name == "rte")
    rows, batch = next(evaluation_batches(tokenise(run.encoder, run.source, run.max_length)["validation"], "cpu"))
    with torch.inference_mode():
        logits = load_finetuned(folder / "successor", "sdpa")(**batch).logits
    selected = stored[stored.checkpoint == "selected"].logits
    assert torch.allclose(logits, torch.tensor([list(selected.iloc[i]) for i in rows.tolist()]), atol=1e-4)
