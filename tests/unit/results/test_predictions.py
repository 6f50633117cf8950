"""Predictions read back are those written, and a file that is not what it says is refused by name."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports import ReportError, read
from results.format import limits
from results.format.predictions import read_answers
from tests.report.make_results import make_results

GRID = {"arms": ("predecessor", "kd", "theseus"), "seeds": (1, 2), "predictions": True, "speed": False}


def small(tmp_path, tasks=("rte",), **more):
    return make_results(tmp_path, tasks=tasks, **(GRID | more))


def file_of(root, task="rte", arm="kd", seed=1):
    return next(root.glob(f"{task}/{arm}/seed-{seed}-*/predictions.parquet"))


@pytest.mark.parametrize("task", ["cola", "mrpc", "rte", "mnli", "stsb"])
def test_answers_are_what_was_written(tmp_path, task):
    root = small(tmp_path, (task,), arms=("kd",), seeds=(1,), suite={"held_out": 0.1})
    found = read_answers(read(root), "held_out")[task]
    frame = pd.read_parquet(file_of(root, task))
    frame = frame[frame.checkpoint == "held_out"].sort_values(["split", "idx"])
    assert list(found.bounds) == sorted(set(frame.split))
    assert (found.idx == frame.idx).all()
    assert (found.labels == frame.label).all()
    assert found.given["kd"][1] == pytest.approx(frame.prediction.to_numpy())
    assert found.logits["kd"][1] == pytest.approx(np.stack(list(frame.logits)))
    assert found.has("kd", (1,))
    assert not found.has("kd", (1, 2))
    assert not found.has("kd", ())


def test_cosines_are_values_whose_score_is_spearmans(tmp_path):
    root = small(tmp_path, ("stsb",), arms=("kd",), seeds=(1,))
    frame = pd.read_parquet(file_of(root, "stsb"))
    frame = frame[frame.checkpoint == "last"]
    value = stats.spearmanr(frame.prediction, frame.label).statistic
    suite = json.loads((root / "suite.json").read_text())
    suite["tasks"][0]["score"] = "cosine_spearman"
    (root / "suite.json").write_text(json.dumps(suite))
    result = file_of(root, "stsb").with_name("result.json")
    whole = json.loads(result.read_text())
    whole["last"] |= {"score": 100 * value, "metrics": {"cosine_spearman": value}}
    result.write_text(json.dumps(whole))
    found = read_answers(read(root), "last")["stsb"]
    assert (found.kind, found.regression, found.classes) == ("cosine_spearman", True, False)
    assert found.given["kd"][1] == pytest.approx(frame.sort_values("idx").prediction.to_numpy())


def test_order_of_rows_does_not_matter(tmp_path):
    root = small(tmp_path)
    before = read_answers(read(root), "last")["rte"]
    path = file_of(root)
    pd.read_parquet(path).sample(frac=1, random_state=0).to_parquet(path, index=False)
    after = read_answers(read(root), "last")["rte"]
    assert (after.given["kd"][1] == before.given["kd"][1]).all()


def test_runs_without_predictions_are_left_out(tmp_path):
    root = small(tmp_path)
    file_of(root).unlink()
    found = read_answers(read(root), "last")["rte"]
    assert set(found.given["kd"]) == {2}
    assert set(found.given) == {"predecessor", "kd", "theseus"}
    assert read_answers(read(make_results(tmp_path / "none", tasks=("rte",), seeds=(1,))), "last") == {}


def changed(frame: pd.DataFrame, change) -> pd.DataFrame:
    return frame if (new := change(frame)) is None else new


WRONG = {
    "give a score of": lambda f: f.assign(label=np.where(np.arange(len(f)) < 9, 1 - f.label, f.label)),
    "predictions and logits disagree": lambda f: f.assign(prediction=1 - f.prediction),
    "dev splits": lambda f: f.iloc[:-1].assign(split="test"),
    "appears twice": lambda f: f.assign(idx=0),
    "lacks the column": lambda f: f.drop(columns="logits"),
    "logits are not lists": lambda f: f.assign(logits=0.5),
    "equally many": lambda f: f.assign(logits=[[1.0], *[[1.0, 0.0]] * (len(f) - 1)]),
    "finite and equally": lambda f: f.assign(logits=[[float("nan"), 0.0]] * len(f)),
    "column label must hold numbers": lambda f: f.assign(label="entailment"),
    "column idx must hold numbers": lambda f: f.assign(idx=[None, *f.idx[1:]]),
    "column prediction must hold finite": lambda f: f.assign(prediction=float("inf")),
    "rows where the task": lambda f: pd.concat([f] * 4),
}


@pytest.mark.parametrize("says", WRONG)
def test_a_wrong_file_is_one_line_with_its_name(tmp_path, says):
    root = small(tmp_path, arms=("kd",), seeds=(1,))
    path = file_of(root)
    changed(pd.read_parquet(path), WRONG[says]).to_parquet(path, index=False)
    with pytest.raises(ReportError) as error:
        read_answers(read(root), "last")
    assert says in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_beyond_two_classes_have_no_matthews(tmp_path):
    root = small(tmp_path, ("cola",), arms=("kd",), seeds=(1,))
    path = file_of(root, "cola")
    pd.read_parquet(path).assign(label=2).to_parquet(path, index=False)
    with pytest.raises(ReportError, match="class ids from 0 to 1"):
        read_answers(read(root), "last")


def test_bytes_that_are_no_parquet_are_refused(tmp_path):
    root = small(tmp_path)
    file_of(root).write_bytes(b"PAR1 not really")
    with pytest.raises(ReportError, match="not readable as parquet"):
        read_answers(read(root), "last")


def test_size_limits_hold(tmp_path, monkeypatch):
    root = small(tmp_path)
    monkeypatch.setitem(limits.FILES, "predictions.parquet", 1000)
    with pytest.raises(ReportError, match="larger than"):
        read_answers(read(root), "last")
    monkeypatch.setitem(limits.FILES, "predictions.parquet", 2**28)
    for name in ("OUTPUTS", "PREDICTION_VALUES"):
        with monkeypatch.context() as smaller:
            smaller.setattr(limits, name, 1)
            with pytest.raises(ReportError, match="unpacks to more"):
                read_answers(read(root), "last")


def test_runs_of_a_task_answer_the_same_examples(tmp_path):
    root = small(tmp_path)
    path = file_of(root, seed=2)
    frame = pd.read_parquet(path)
    frame["idx"] += 1000
    frame.to_parquet(path, index=False)
    with pytest.raises(ReportError, match="other examples or labels"):
        read_answers(read(root), "last")


def test_only_the_chosen_trial_is_read(tmp_path):
    changes = {"kd": {"trials": [{}, {"training.learning_rate": 1e-4}]}}
    scores = {("rte", "kd", seed, trial): 60.0 + 10 * trial for seed in (1, 2) for trial in (0, 1)}
    root = small(tmp_path, arms=("kd",), arm_changes=changes, scores=scores)
    results = read(root)
    found = read_answers(results, "last")["rte"]
    stated = {run.seed: run.score("last") for run in results.runs if run.trial == 1}
    for seed in (1, 2):
        assert 100 * np.mean(found.given["kd"][seed] == found.labels) == pytest.approx(stated[seed])


def test_a_task_whose_dev_size_is_not_known_is_read(tmp_path):
    root = small(tmp_path)
    suite = json.loads((root / "suite.json").read_text())
    suite["tasks"][0]["dev_examples"] = {"validation": None}
    (root / "suite.json").write_text(json.dumps(suite))
    assert len(read_answers(read(root), "last")["rte"].labels) == 277
